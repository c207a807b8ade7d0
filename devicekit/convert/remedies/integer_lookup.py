"""IntegerLookup and other tables from integers to integers: LiteRT's hash tables know strings only.

Keys that lie close together become a table to index; others are compared with the input one by one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from devicekit.convert.remedies.emit import Emitter, captures_of
from devicekit.convert.remedies.remedy import NotApplicable, Remedy

# An indexed table takes 4 bytes per integer between the lowest key and the highest.
MAX_SPAN = 2**16
# Comparing takes a byte per key and element of the input.
MAX_KEYS = 2**10


def _find(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any] | None:
    """int [...] -> int [...]: the values of the keys, the default where there is no such key."""
    table, wanted, default = inputs
    kinds = op.get_attr("Tin"), op.get_attr("Tout")
    if not all(kind.is_integer for kind in kinds) or not hasattr(table, "numpy"):
        return None
    keys, values = table_items(table, *kinds)
    fallback = tf.get_static_value(default)
    if fallback is None or not len(keys):
        return None
    low, high = int(keys.min()), int(keys.max())
    if high - low < MAX_SPAN:
        dense = np.full(high - low + 1, fallback, values.dtype)
        dense[keys - low] = values
        is_inside = tf.logical_and(wanted >= low, wanted <= high)
        index = tf.where(is_inside, wanted - low, tf.zeros_like(wanted))
        found = tf.gather(tf.constant(dense), tf.cast(index, tf.int32))
        return [tf.where(is_inside, found, tf.fill(tf.shape(found), tf.constant(fallback)))]
    if len(keys) > MAX_KEYS:
        raise NotApplicable(f"{len(keys)} keys spread over {high - low} are too many to compare with")
    is_key = tf.cast(tf.equal(wanted[..., None], tf.constant(keys)), kinds[1])
    return [tf.reduce_sum(is_key * tf.constant(values - fallback), -1) + tf.constant(fallback)]


def table_items(table: Any, key_kind: Any, value_kind: Any) -> tuple[Any, Any]:
    """Returns the keys [N] and values [N] of a lookup table, by its handle."""
    with tf.init_scope():
        keys, values = tf.raw_ops.LookupTableExportV2(table_handle=table, Tkeys=key_kind, Tvalues=value_kind)
        return keys.numpy(), values.numpy()


def _keys(function: Any) -> list[int]:
    """Returns the keys of the integer tables that a function looks up in."""
    keys: list[int] = []
    captured = captures_of(function)
    for op in function.graph.get_operations():
        table = captured.get(op.inputs[0].ref()) if op.type == "LookupTableFindV2" else None
        if table is not None and op.get_attr("Tin").is_integer and op.get_attr("Tout") != tf.string:
            found, _ = table_items(table, op.get_attr("Tin"), op.get_attr("Tout"))
            keys += [int(key) for key in found[:MAX_KEYS]]
    return keys


REMEDY = Remedy(
    name="integer_lookup",
    does="integer lookup tables as indexing, or as comparisons with the keys",
    rules={"LookupTableFindV2": _find},
    keys=_keys,
)
