"""The range that a model's own first steps tell of an input: one that divides by 255 takes 0..255.

Rescaling and Normalization layers do, and so do the same steps written out: x / 127.5 - 1, (x - mean) / std.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from devicekit.errors import LoadError
from devicekit.graph.model import Graph, Subgraph
from devicekit.graph.read import read_constant

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# What is divided by to come to 0..1 or -1..1, and where 0 comes to then: bytes, and 16-bit sound.
_BYTES = (
    *((255.0, 0.0), (256.0, 0.0), (255.0, -0.5), (256.0, -0.5)),
    *((127.5, -1.0), (128.0, -1.0), (127.0, -1.0), (127.5, 0.0)),
)
_SOUND = ((32768.0, 0.0), (32767.0, 0.0))
_NEAR = 0.02  # 0 comes this near to where it should
_SAME = 0.01  # a scale this near to one of those is meant to be it
# The means of ImageNet's channels in bytes: what only subtracts such takes bytes (preprocessing "caffe").
_MEAN_OF_BYTES = (90.0, 140.0)
# A uniform distribution with a spread of 1 ends here, on either side of its mean.
_UNIFORM = 3**0.5
# How far data may lie beyond, as a share of the range; and how little of it they may fill. Photographs of one
# scene hardly fill less than an eighth of 0..255; prepared once too often, they fill 1/255. Sound may be
# quiet: what was prepared for -1..1 stays within that.
OUTSIDE = 0.25
FILLED = 1 / 8
_PREPARED = 1.05
_MIN_ROWS = 8  # fewer samples show no spread


@dataclass(frozen=True)
class Told:
    """`low` and `high` of an input by its last axis, or one number for all; `by` says what tells it.

    `is_exact` says that values end there (bytes), not that most lie within (a mean and a spread).
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    by: str
    is_exact: bool

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> "Told":
        return cls(**{**document, "low": tuple(document["low"]), "high": tuple(document["high"])})

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def is_bytes(self) -> bool:
        return self.is_exact and (self.low, self.high) == ((0.0,), (255.0,))

    @property
    def in_words(self) -> str:
        """Returns "0..255", or "about -2..5" for the widest of several."""
        about = "" if self.is_exact else "about "
        return f"{about}{min(self.low):.3g}..{max(self.high):.3g}"


NOTHING_TOLD: Mapping[str, Told] = {}


@dataclass(frozen=True)
class Step:
    """One step that a model begins with: "mul", "add", "sub" or "div" by a constant."""

    kind: str
    constant: "NDArray[Any]"


def told_by(steps: Sequence[Step], by: str) -> Told | None:
    """Returns the range of the input that `steps` begin with; None where they tell none."""
    if exact := _of_whole(steps):
        return Told((exact[0],), (exact[1],), by, is_exact=True)
    return _of_spread(steps, by)


def _of_whole(steps: Sequence[Step]) -> tuple[float, float] | None:
    """Returns the range that the steps by one number each tell, taken as far as they go."""
    import numpy as np

    scale, offset, best = 1.0, 0.0, None
    for step in steps:
        if step.constant.size != 1:
            break
        scale, offset = _applied(scale, offset, step.kind, np.float64(step.constant.flat[0]))
        best = _known_range(scale, offset) or best
    return best


def _applied(scale: Any, offset: Any, kind: str, constant: Any) -> tuple[Any, Any]:
    """Returns scale and offset of y = scale * x + offset after one more step."""
    if kind in ("add", "sub"):
        return scale, offset + (constant if kind == "add" else -constant)
    if kind == "div":
        constant = 1 / constant if constant.all() else constant * 0
    return scale * constant, offset * constant


def _known_range(scale: float, offset: float) -> tuple[float, float] | None:
    if scale <= 0:
        return None
    for known, low, high in ((_BYTES, 0.0, 255.0), (_SOUND, -32768.0, 32767.0)):
        if any(abs(scale * size - 1) < _SAME and abs(offset - zero) < _NEAR for size, zero in known):
            return low, high
    if (abs(scale - 2) < _SAME and abs(offset + 1) < _SAME) or abs(scale / 255 - 1) < _SAME:
        return 0.0, 1.0
    return None


def _of_spread(steps: Sequence[Step], by: str) -> Told | None:
    """Returns the range of an input that is brought to mean 0 and spread 1, as (x - mean) / spread."""
    import numpy as np

    if steps[0].kind not in ("sub", "add"):
        return None
    scale, offset = np.ones(1), np.zeros(1)
    for step in steps:
        if step.constant.ndim and step.constant.size != step.constant.shape[-1]:
            break  # along another axis than the last
        constant = np.asarray(step.constant, np.float64).reshape(-1)
        if constant.size > 1 and scale.size not in (1, constant.size):
            break
        scale, offset = _applied(scale, offset, step.kind, constant)
    if not np.all(np.isfinite(scale)) or np.any(scale <= 0):
        return None
    mean = -offset / scale
    if np.allclose(scale, 1):
        is_bytes = mean.size > 1 and bool(np.all((mean > _MEAN_OF_BYTES[0]) & (mean < _MEAN_OF_BYTES[1])))
        return Told((0.0,), (255.0,), by, is_exact=True) if is_bytes else None
    low, high = np.broadcast_arrays(mean - _UNIFORM / scale, mean + _UNIFORM / scale)
    return Told(tuple(map(float, low)), tuple(map(float, high)), by, is_exact=False)


def told_ranges(graph: Graph) -> dict[str, Told]:
    """Returns what a .tflite's own first ops tell of its float inputs, by name.

    The converter may have folded them into the weights of a convolution: then they tell nothing here.
    """
    found = {}
    for name, tensor in graph.input_tensors.items():
        steps = list(_steps(graph, graph.main, tensor.index)) if tensor.dtype == "float32" else []
        told = told_by([step for step, _ in steps], steps[0][1]) if steps else None
        if told is not None:
            found[name] = told
    return found


_PASSING = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
_KINDS = {"MUL": "mul", "ADD": "add", "SUB": "sub", "DIV": "div"}


def _steps(graph: Graph, subgraph: Subgraph, index: int) -> Iterator[tuple[Step, str]]:
    """Yields the steps behind tensor `index`, as long as one op alone reads it, each with the op's label."""
    import numpy as np

    while True:
        readers = [op for op in subgraph.ops if index in op.inputs]
        if len(readers) != 1 or not readers[0].outputs:
            return
        [op] = readers
        if op.name in _KINDS and len(op.inputs) == 2:
            other = subgraph.tensors[op.inputs[1 - op.inputs.index(index)]]
            if not other.is_constant or other.dtype != "float32":
                return
            try:
                constant = np.frombuffer(read_constant(graph.path, other), np.float32).reshape(other.shape)
            except LoadError:  # a graph that was read from bytes
                return
            kind = _KINDS[op.name]
            if op.inputs[1] == index and kind in ("sub", "div"):
                return
            yield Step(kind, constant), op.label
        elif op.name not in _PASSING or op.inputs[0] != index:
            return
        index = op.outputs[0]


def draw(told: Told, shape: Sequence[int], generator: "np.random.Generator") -> "NDArray[Any]":
    """Returns uniform numbers within the range, float64 of `shape`."""
    import numpy as np

    low, high = (np.asarray(end if len(end) > 1 else end[0]) for end in (told.low, told.high))
    drawn: NDArray[Any] = low + generator.random(tuple(shape)) * (high - low)
    return drawn


def strays(told: Told, values: "NDArray[Any]") -> str | None:
    """Returns in words how an input's values [N, …] do not suit the range; None where they do."""
    import numpy as np

    low, high = (np.asarray(end if len(end) > 1 else end[0]) for end in (told.low, told.high))
    span = high - low
    outside = float(((values < low - OUTSIDE * span) | (values > high + OUTSIDE * span)).mean())
    least, most = float(values.min()), float(values.max())
    told_words = f"the model itself ({told.by}) takes {told.in_words}"
    too_small = most - least < FILLED * float(np.max(span))
    if told.low[0] < 0:
        too_small = max(abs(least), abs(most)) <= _PREPARED
    if told.is_exact and (outside > 0 or too_small):
        return f"values span {least:.3g}..{most:.3g}, {told_words}"
    if not told.is_exact and len(values) >= _MIN_ROWS:
        spread = values.reshape(-1, values.shape[-1]).std(axis=0) if values.ndim > 1 else values.std()
        wanted = span / (2 * _UNIFORM)
        shares = np.broadcast_to(np.asarray(spread), np.broadcast_shapes(np.shape(spread), np.shape(wanted)))
        ratio = float(np.median(shares / wanted))
        if outside > 0.5 or ratio < FILLED / 2 or ratio > 2 / FILLED:
            return f"values span {least:.3g}..{most:.3g}, {told_words}"
    return None
