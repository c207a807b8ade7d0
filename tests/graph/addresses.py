"""Where the interpreter put each tensor, and how that differs from the plan.

`python -m tests.graph.addresses THREADS FILE` prints what `spans` returns.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from devicekit.graph.arena import plan_arena
from devicekit.graph.model import Graph
from devicekit.graph.placement import Placement
from devicekit.graph.read import read_graph

ROOT = Path(__file__).parents[2]
Spans = list[tuple[int, int, int]]


def spans(path: Path, threads: int = 1) -> Spans:
    """Returns (index, address, bytes) of each tensor that has memory on built-in kernels, and of buffers.

    Before the first inference. A scalar comes as a copy, whose address says nothing: it is left out, as are
    string tensors and empty ones.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(str(path), experimental_op_resolver_type=resolver, num_threads=threads)
    interpreter.allocate_tensors()
    found = []
    for detail in interpreter.get_tensor_details():
        try:
            array = interpreter.tensor(detail["index"])()
        except ValueError:
            continue
        if getattr(array, "ndim", 0) and array.nbytes:
            found.append((int(detail["index"]), array.__array_interface__["data"][0], array.nbytes))
    return found


def addresses(path: Path, threads: int = 1) -> Spans:
    """Returns `spans` from a process of its own."""
    argv = [sys.executable, "-m", "tests.graph.addresses", str(threads), str(path)]
    done = subprocess.run(argv, check=True, capture_output=True, text=True, cwd=ROOT)
    return [(index, address, size) for index, address, size in json.loads(done.stdout)]


def misplaced(
    path: Path, threads: int = 1, *, found_by: Callable[[Path, int], Spans] = addresses
) -> list[str]:
    """Returns what the plan of the .tflite at `path` has elsewhere than the interpreter; [] for nothing."""
    graph = read_graph(path)
    plan = plan_arena(graph, threads=threads)
    constants = {tensor.index for tensor in graph.main.tensors if tensor.is_constant}
    found = [span for span in found_by(path, threads) if span[0] not in constants]
    problems: list[str] = []
    covered: list[tuple[int, int]] = []
    for name, placements, size in (
        ("arena", plan.placements, plan.arena_bytes),
        ("persistent arena", plan.persistent, plan.persistent_bytes),
    ):
        base = _base(placements, found, covered, graph)
        if base is None:
            problems += [f"{name}: no place where all of it lies"] if placements else []
            continue
        covered.append((base, base + size))
        spans = {(address - base, count) for _, address, count in found}
        problems += [
            f"{name}: {placement} is not there"
            for placement in placements
            if (placement.offset, placement.size_bytes) not in spans and not _is_scalar(placement, graph)
        ]
    apart = sum(
        size
        for _, address, size in found
        if not any(begin <= address and address + size <= end for begin, end in covered)
    )
    if apart > plan.heap_bytes:  # some comes with the first inference
        problems.append(f"heap: {apart} bytes, planned {plan.heap_bytes}")
    return problems


def _base(
    placements: tuple[Placement, ...],
    found: list[tuple[int, int, int]],
    covered: list[tuple[int, int]],
    graph: Graph,
) -> int | None:
    """Returns the address at which the arena begins, by the first of its tensors that has a number."""
    at = {index: address for index, address, _ in found}
    for placement in placements:
        if placement.tensor in at:
            return at[placement.tensor] - placement.offset
    free = [
        (address, size)
        for _, address, size in found
        if not any(begin <= address < end for begin, end in covered)
    ]
    wanted = {(p.offset, p.size_bytes) for p in placements}
    for address, _ in free:  # only buffers, which are known by their sizes
        if wanted <= {(other - address, size) for other, size in free}:
            return address
    return None


def _is_scalar(placement: Placement, graph: Graph) -> bool:
    return placement.tensor >= 0 and not graph.main.tensors[placement.tensor].shape


if __name__ == "__main__":
    print(json.dumps(spans(Path(sys.argv[2]), int(sys.argv[1]))))
