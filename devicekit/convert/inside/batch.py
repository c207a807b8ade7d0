"""Compares a batch with its samples one by one: fixing the batch to 1 must not change what a model computes.

Runs in the conversion child only: it imports TensorFlow.
"""

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

import numpy as np
import tensorflow as tf

from devicekit.convert.inside.load import Loaded
from devicekit.convert.remedies.emit import all_ops
from devicekit.convert.remedies.proof import FLOOR, RANDOM_FEEDS, Feed, distance, feeds, run, wide

_RANDOM = re.compile("Random|Multinomial|TruncatedNormal|Rng")
BATCH = RANDOM_FEEDS  # what else is fed, such as zeros, leaves some outputs to rounding
# Kernels for one sample and for several add in another order: differences of 1e-7 to 1e-6, in half precision
# of 1e-3 (November 2026). Samples that are mixed up differ by tenths.
MAX_DIFFERENCE = 1e-2


def mixed_samples(loaded: Loaded, function: Any) -> tuple[str, ...]:
    """Returns a note per output that a batch gives otherwise than its samples one by one, as on a device.

    Such a model mixes the samples of a batch, or its Keras takes a batch of 1 for something else. Where
    there is nothing to compare with, there is no note: models of a fixed batch, those that run on no inputs
    that can be drawn, and random ones.
    """
    specs = function.structured_input_signature[0]
    if not loaded.takes_batches or any(spec.dtype.name == "string" or not spec.shape.rank for spec in specs):
        return ()
    if any(_RANDOM.search(op.type) for op in all_ops(function.graph)):
        return ()
    try:
        singles = list(islice(feeds(specs), BATCH))
        apart = [run(function, feed) for feed in singles]
        together = _in_batch(loaded, singles)
    except MemoryError:
        raise
    except Exception:  # whatever a layer raises that takes no batch, or not these inputs
        return ()
    differences = {name: _difference(found, [one[name] for one in apart]) for name, found in together.items()}
    return tuple(
        f'output "{name}" of a batch of {BATCH} differs by {difference:.2g} from that of its samples '
        "one by one: the .tflite gives what Keras gives for one"
        for name, difference in differences.items()
        if difference > MAX_DIFFERENCE
    )


def _difference(found: Any, singles: list[Any]) -> float:
    """Returns how far the samples of a batch are from `singles`; 0 for an output that has no batch axis."""
    if singles[0].ndim == 0 or found.shape[1:] != singles[0].shape[1:] or len(found) != len(singles):
        return 0.0
    return max(distance(found[i : i + 1], one, floor=FLOOR) for i, one in enumerate(singles))


def _in_batch(loaded: Loaded, singles: list[Feed]) -> Mapping[str, Any]:
    columns = (np.concatenate(column) for column in zip(*singles, strict=True))
    tensors = [tf.constant(column, spec.dtype) for column, spec in zip(columns, loaded.inputs, strict=True)]
    return {name: wide(value.numpy()) for name, value in loaded.call(*tensors).items()}
