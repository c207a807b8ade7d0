"""The inputs of a model to convert: batch 1, fixed sizes, names that a signature can hold.

Runs in the conversion child only: it imports TensorFlow.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from devicekit.errors import ConvertError, UsageError
from devicekit.words import nearest

# What a remedy puts for open sizes, by rank: a sequence, a sequence of features, an image, a video.
_USUAL_SIZES = {2: (1, 128), 3: (1, 128, 64), 4: (1, 224, 224, 3), 5: (1, 16, 112, 112, 3)}


def input_specs(
    path: Path, inputs: Sequence[tuple[str, Any, Any]], shapes: Mapping[str, Sequence[int]]
) -> tuple[Any, ...]:
    """Returns a tf.TensorSpec of batch 1 per (name, shape, dtype).

    `shapes` fixes what an input leaves open, by its name as given or cleaned. Raises ConvertError where a
    size stays open, UsageError where `shapes` names no input or contradicts one.
    """
    names = clean_names(name for name, _, _ in inputs)
    known = {**dict(zip(names, names, strict=True)), **{i[0]: n for i, n in zip(inputs, names, strict=True)}}
    given = {_known(path, name, known): tuple(sizes) for name, sizes in shapes.items()}
    specs, still_open = [], {}
    for name, (_, shape, dtype) in zip(names, inputs, strict=True):
        dims = tf.TensorShape(shape)
        if name in given:
            sizes: list[int | None] = list(_fixed(path, name, dims, given[name]))
        else:
            sizes = [None] if dims.rank is None else list(dims.as_list())
            sizes = [1, *sizes[1:]] if dims.rank else sizes
            if None in sizes:
                still_open[name] = dims
        specs.append(tf.TensorSpec(sizes, tf.as_dtype(dtype), name=name))
    if still_open:
        raise _open_shapes(path, still_open, {name: given[name] for name in names if name in given})
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
        is_signal = dims.rank == 1 and len(sizes) == 1
        raise UsageError(
            f"--shape {name}={shown}: the first size is the batch, expected 1",
            remedy=f'export the model with a batch: "{name}" as [?, {shown}]'
            if is_signal
            else f"write --shape {name}={','.join(['1', *map(str, sizes[1:])])}",
        )
    own = [None, *dims.as_list()[1:]] if dims.rank else []
    suits = dims.rank is None or (
        len(own) == len(sizes) and all(mine in (None, size) for mine, size in zip(own, sizes, strict=True))
    )
    if not suits:
        is_open = None in own[1:]
        raise UsageError(
            f'--shape {name}={shown}: {path.name} takes "{name}" as {shape_text(dims)}',
            remedy="give as many sizes, and change only those that are ?"
            if is_open
            else f"leave out --shape {name}: all its sizes are fixed",
        )
    return sizes


def _open_shapes(
    path: Path, still_open: Mapping[str, Any], given: Mapping[str, Sequence[int]]
) -> ConvertError:
    """Returns the error for inputs that leave sizes open; its remedy repeats the shapes that were given."""
    shapes = {**given, **{name: _usual_sizes(dims) for name, dims in still_open.items()}}
    options = [f"--shape {name}={','.join(map(str, sizes))}" for name, sizes in shapes.items()]
    found = [f'input "{name}" has no fixed shape: {shape_text(dims)}' for name, dims in still_open.items()]
    return ConvertError(
        str(path),
        found="; ".join(found),
        remedy=f"fix it with the sizes that you feed: {' '.join(options)}",
    )


def _usual_sizes(dims: Any) -> Sequence[int]:
    """Returns the sizes of a shape with usual ones in place of those that are open."""
    if dims.rank is None:
        return _USUAL_SIZES[4]
    usual = _USUAL_SIZES.get(dims.rank, (1, *[128] * (dims.rank - 1)))
    return [1, *(mine or size for mine, size in zip(dims.as_list()[1:], usual[1:], strict=True))]


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
