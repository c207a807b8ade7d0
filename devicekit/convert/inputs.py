"""The inputs of a model to convert: batch 1, fixed sizes, names that a signature can hold.

Runs in the conversion child only: it imports TensorFlow.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from devicekit.errors import ConvertError, UsageError
from devicekit.text import nearest


def input_specs(
    path: Path, inputs: Sequence[tuple[str, Any, Any]], shapes: Mapping[str, Sequence[int]]
) -> tuple[Any, ...]:
    """Returns a tf.TensorSpec of batch 1 per (name, shape, dtype).

    `shapes` fixes what an input leaves open, by its name as given or cleaned. Raises ConvertError where a
    size stays open, UsageError where `shapes` names no input or contradicts one.
    """
    import tensorflow as tf

    names = clean_names(name for name, _, _ in inputs)
    known = {**dict(zip(names, names, strict=True)), **{i[0]: n for i, n in zip(inputs, names, strict=True)}}
    given = {_known(path, name, known): tuple(sizes) for name, sizes in shapes.items()}
    specs = []
    for name, (_, shape, dtype) in zip(names, inputs, strict=True):
        dims = tf.TensorShape(shape)
        if name in given:
            sizes: list[int | None] = list(_fixed(path, name, dims, given[name]))
        else:
            sizes = [None] if dims.rank is None else list(dims.as_list())
            sizes = [1, *sizes[1:]] if sizes else []
            if dims.rank is None or None in sizes:
                raise _open_shape(path, name, dims)
        specs.append(tf.TensorSpec(sizes, tf.as_dtype(dtype), name=name))
    return tuple(specs)


def _known(path: Path, name: str, known: Mapping[str, str]) -> str:
    if name in known:
        return known[name]
    near = nearest(name, known)
    hint = f"; did you mean {near}?" if near else ""
    raise UsageError(
        f'--shape {name}: {path.name} has no input "{name}"{hint}',
        remedy=f"name one of its inputs: {', '.join(dict.fromkeys(known.values()))}",
    )


def _fixed(path: Path, name: str, dims: Any, sizes: Sequence[int]) -> Sequence[int]:
    """Returns `sizes` where they suit the model's own shape and hold a batch of 1. Raises UsageError."""
    shown = ",".join(map(str, sizes))
    if sizes[:1] != (1,):
        raise UsageError(
            f"--shape {name}={shown}: the first size is the batch, expected 1",
            remedy=f"write --shape {name}={','.join(['1', *map(str, sizes[1:])])}",
        )
    own = [None] if dims.rank is None else [None, *dims.as_list()[1:]]
    suits = dims.rank is None or (
        len(own) == len(sizes) and all(mine in (None, size) for mine, size in zip(own, sizes, strict=True))
    )
    if not suits:
        raise UsageError(
            f'--shape {name}={shown}: {path.name} takes "{name}" as {shape_text(dims)}',
            remedy="give as many sizes, and change only those that are ?",
        )
    return sizes


def _open_shape(path: Path, name: str, dims: Any) -> ConvertError:
    sizes = ["1", *(str(dim or 224) for dim in dims.as_list()[1:])] if dims.rank else ["1", "224", "224", "3"]
    return ConvertError(
        str(path),
        found=f'input "{name}" has no fixed shape: {shape_text(dims)}',
        remedy=f"fix it with the sizes that you feed: --shape {name}={','.join(sizes)}",
    )


def no_batch_of_one(path: Path, name: str, shape: Any) -> ConvertError:
    """Returns the error for an input whose batch is fixed to another size."""
    return ConvertError(
        str(path),
        found=f'input "{name}" takes no batch of 1: its shape is {shape_text(shape)}',
        remedy="export the SavedModel with a first dimension of None or 1",
    )


def shape_text(shape: Any) -> str:
    """Returns a tf.TensorShape as [?, 224, 224, 3]."""
    if shape.rank is None:
        return "unknown"
    return str(["?" if dim is None else dim for dim in shape]).replace("'", "")


def clean_names(names: Iterable[str]) -> list[str]:
    """Returns the names as identifiers (what a signature can hold), each once."""
    cleaned: list[str] = []
    for name in names:
        base = re.sub(r"\W", "_", name, flags=re.ASCII)
        # TensorFlow renames "_x" and "1x".
        base = base if base[:1].isalpha() else f"tensor_{base.lstrip('_')}"
        number = sum(1 for other in cleaned if re.fullmatch(rf"{re.escape(base)}(_\d+)?", other))
        cleaned.append(base if base not in cleaned else f"{base}_{number}")
    return cleaned
