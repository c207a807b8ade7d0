"""The latency model: each operator takes as long as its arithmetic or its traffic, whichever is longer, and a
start.

Σ over operators of max(MACs · c[kind], bytes · c_traffic) + c_op, with five coefficients. They were found to
hold across architectures where MACs alone are 20 % off (Pixel 3, 31 models; see tools/reproduce_tables.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, astuple, dataclass

from devicekit.graph.macs import op_macs
from devicekit.graph.model import Graph
from devicekit.predict.work import KINDS, Kind, Work

MMAC, MIB = 10**6, 2**20


@dataclass(frozen=True)
class Coefficients:
    """Microseconds per million multiply-accumulates of a kind, per MiB moved, and per operator."""

    product_us_per_mmac: float
    conv_us_per_mmac: float
    depthwise_us_per_mmac: float
    traffic_us_per_mib: float
    op_us: float

    def values(self) -> tuple[float, ...]:
        return astuple(self)

    def to_json(self) -> dict[str, float]:
        return asdict(self)

    def per_mmac(self, kind: Kind) -> float:
        return {
            "product": self.product_us_per_mmac,
            "conv": self.conv_us_per_mmac,
            "depthwise": self.depthwise_us_per_mmac,
            "other": 0.0,
        }[kind]


def latency_us(works: Iterable[Work], coefficients: Coefficients) -> float:
    """Returns the latency of one inference in microseconds."""
    return sum(_time_us(work, coefficients) for work in works)


def shares(works: Iterable[Work], coefficients: Coefficients) -> dict[Kind, float]:
    """Returns which part of the latency each kind of operator takes, 0..1."""
    times: dict[Kind, float] = dict.fromkeys(KINDS, 0.0)
    for work in works:
        times[work.kind] += _time_us(work, coefficients)
    total = sum(times.values())
    return {kind: time / total if total else 0.0 for kind, time in times.items()}


def _time_us(work: Work, coefficients: Coefficients) -> float:
    arithmetic = work.macs / MMAC * coefficients.per_mmac(work.kind)
    traffic = work.bytes / MIB * coefficients.traffic_us_per_mib
    return max(arithmetic, traffic) + work.count * coefficients.op_us


def precision_of(graph: Graph) -> str:
    """Returns what most multiply-accumulates compute on: "float32", "int8", "dynamic_int8" (float
    activations, 8-bit weights), "int16x8", another dtype's name; "mixed" where none has nine tenths of them.

    Weights that are only stored narrower (float16 behind DEQUANTIZE) are computed in float32.
    """
    subgraph = graph.main
    counts: dict[str, int] = {}
    for op in subgraph.ops:
        count = op_macs(op, subgraph)
        if not count or len(op.inputs) < 2 or op.inputs[1] < 0 or min(op.outputs, default=-1) < 0:
            continue
        weights, output = subgraph.tensors[op.inputs[1]], subgraph.tensors[op.outputs[0]]
        pair = (output.dtype, weights.dtype)
        name = {("float32", "int8"): "dynamic_int8", ("int16", "int8"): "int16x8"}.get(pair, output.dtype)
        counts[name] = counts.get(name, 0) + count
    if not counts:
        return "mixed"
    name = max(counts, key=counts.__getitem__)
    return name if counts[name] >= 0.9 * sum(counts.values()) else "mixed"


def isa_of(abi: str | None) -> str:
    """Returns the instruction set that a profile's device.abi stands for: "arm64", "arm32", "x86_64"."""
    return _ISA.get(abi or "", "arm64")


_ISA: Mapping[str, str] = {
    "arm64-v8a": "arm64",
    "aarch64": "arm64",
    "armeabi-v7a": "arm32",
    "armv7l": "arm32",
    "armv6l": "arm32",
    "x86_64": "x86_64",
}
