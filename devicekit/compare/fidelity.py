"""How close the outputs of one .tflite are to those of another, on the same inputs by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devicekit import progress
from devicekit import words as fmt
from devicekit.child import ChildFailed, default_memory_bytes, run_child
from devicekit.compare.subject import Subject
from devicekit.errors import UsageError
from devicekit.graph.model import Tensor
from devicekit.quantize.build import EVALUATION_S
from devicekit.quantize.fidelity import Fidelity
from devicekit.quantize.sources import sample_shape


@dataclass(frozen=True)
class Likeness:
    """`fidelity` to the first model, or why there is none. `inputs` says what was fed, in words."""

    fidelity: Fidelity | None
    reason: str | None = None
    inputs: str | None = None
    notes: tuple[str, ...] = ()


def likeness(first: Subject, other: Subject, *, data: str | None, timeout_s: float) -> Likeness:
    """Returns how close `other` is to `first`. Both run in a child process.

    Each takes the inputs in its own dtypes: what is quantized there is quantized, outputs are dequantized.
    Raises UsageError for data that does not suit `first`.
    """
    reason = _difference(first, other)
    if reason is not None:
        return Likeness(None, reason)
    progress.report("compare", detail=f"{other.label} with {first.label}")
    request = {
        "models": {first.label: str(first.path), other.label: str(other.path)},
        "data": data,
        "evaluation_s": EVALUATION_S,
    }
    state: dict[str, Any] = {"running": None}
    try:
        for event in run_child(
            "devicekit.compare.worker", request, timeout_s=timeout_s, memory_bytes=default_memory_bytes()
        ):
            state.update(event)
    except ChildFailed as failure:
        if state["running"] is not None:
            return Likeness(None, f"running {state['running']} failed: {failure.detail}")
        name = Path(data).name if data else "random inputs"
        raise UsageError(
            f"{name}: using it failed: {failure.detail}", remedy=f"correct {name}, or give fewer samples"
        ) from failure
    if "refused" in state:
        return Likeness(None, state["refused"])
    return Likeness(Fidelity.from_json(state["fidelity"]), None, state["inputs"], tuple(state["notes"]))


def _difference(first: Subject, other: Subject) -> str | None:
    """Returns in what the inputs or outputs of two models differ; None where they suit each other."""
    for side in ("input", "output"):
        mine = getattr(first.graph, f"{side}_tensors")
        theirs = getattr(other.graph, f"{side}_tensors")
        if set(mine) != set(theirs):
            return f"{side}s are {', '.join(theirs)} in {other.label}, {', '.join(mine)} in {first.label}"
        for name, tensor in mine.items():
            if _form(tensor) != _form(theirs[name]):
                found, expected = _in_words(theirs[name]), _in_words(tensor)
                return f"{side} {name} is {found} in {other.label}, {expected} in {first.label}"
    return None


def _form(tensor: Tensor) -> tuple[str, tuple[int, ...]]:
    """Returns the kind of numbers (a quantized tensor holds real ones) and the shape of one sample."""
    is_real = bool(tensor.scale) or tensor.dtype.startswith("float")
    return "real" if is_real else tensor.dtype, sample_shape(tensor)


def _in_words(tensor: Tensor) -> str:
    return f"{tensor.dtype} {fmt.shape(tensor.shape_signature or tensor.shape)}"


def tensors_in_words(tensors: Mapping[str, Tensor]) -> str:
    """Returns "image float32 [1, 8, 8, 1], …"."""
    return ", ".join(f"{name} {_in_words(tensor)}" for name, tensor in tensors.items())
