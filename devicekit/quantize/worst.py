"""The samples on which a candidate is furthest from the float model: where to look first."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devicekit.quantize.channels import find_channels
from devicekit.quantize.scores import Scores, hits

Outputs = Mapping[str, NDArray[Any]]


def worst_samples(reference: Outputs, candidate: Outputs, scores: Scores) -> list[int]:
    """Returns the samples, the worst first: labels that only the float model hits, then by the error.

    An error counts against the spread of its channel where channels are judged, else against the mean size
    of the output.
    """
    errors = np.max([_errors(values, candidate[name]) for name, values in reference.items()], axis=0)
    ours, theirs = hits(candidate, scores), hits(reference, scores)
    is_lost = np.zeros(len(errors), bool) if ours is None or theirs is None else theirs & ~ours
    return [int(index) for index in np.lexsort((-errors, ~is_lost)) if errors[index] > 0]


def write_worst(
    path: Path,
    indices: Sequence[int],
    *,
    samples: Sequence[Outputs],
    reference: Outputs,
    candidate: Outputs,
    labels: NDArray[Any] | None,
) -> None:
    """Writes a .npz of K samples: "index", the inputs as --data takes them ("x" where there is one), the
    float model's outputs as "float/NAME", the candidate's as "out/NAME", and "y" with labels.
    """
    chosen = list(indices)
    names = {name: "x" if len(samples[0]) == 1 else name for name in samples[0]}
    inputs = {key: np.concatenate([samples[index][name] for index in chosen]) for name, key in names.items()}
    arrays: dict[str, Any] = {"index": np.array(chosen), **inputs}
    arrays |= {f"float/{name}": values[chosen] for name, values in reference.items()}
    arrays |= {f"out/{name}": candidate[name][chosen] for name in reference}
    if labels is not None:
        arrays["y"] = labels[chosen]
    np.savez_compressed(path, **arrays)


def _errors(reference: NDArray[Any], candidate: NDArray[Any]) -> NDArray[Any]:
    """Returns the error of each sample of an output [N, ...]: [N]."""
    if reference.shape != candidate.shape or reference.dtype.kind not in "fiub":
        return np.zeros(len(reference))
    wanted, found = (np.nan_to_num(values.astype(np.float64)) for values in (reference, candidate))
    difference = wanted - found
    channels = find_channels(reference, is_random=False)
    if channels is not None and channels.axis:
        difference = np.moveaxis(difference, channels.axis, -1)
        difference = difference / np.where(channels.units > 0, channels.units, 1)
        size = 1.0
    else:
        size = float(np.sqrt((wanted**2).mean())) or 1.0
    errors: NDArray[Any] = np.sqrt((difference.reshape(len(wanted), -1) ** 2).mean(axis=1)) / size
    return errors
