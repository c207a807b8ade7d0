"""Mixed precision: the smallest set of ops kept in float with which int8 meets the thresholds.

A value that spoils int8 lies in a tensor, and a tensor is float only where the op that gives it and the ops
that take it are. So what is tried is neighbourhoods: one op, or one input, with its readers. Where the
outputs themselves are too coarse in 8 bits (probabilities below 1/256, boxes beside scores), they leave in
float.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from devicekit.graph.model import Graph, Op
from devicekit.graph.read import read_graph, read_graph_bytes
from devicekit.quantize.bench import Bench, judged
from devicekit.quantize.build import Built
from devicekit.quantize.coarseness import coarseness
from devicekit.quantize.fidelity import Fidelity
from devicekit.quantize.proof import float_ops
from devicekit.quantize.recipes import FLOAT_IO, MIXED, Recipe, Variant, scope_of

# The search may take this long for each recipe, two thirds of it for ranking. A trial takes 0.06 s for the
# digits and 0.6 s for a MobileNetV2 on a busy machine (measured, November 2026): not all of its 66 are tried.
SEARCH_S = 30.0
RANKING_SHARE = 2 / 3
# Neighbourhoods are ranked on as many samples as int8 runs in this time; sets are accepted on all.
RANKING_S = 0.2
# With more than this share of the ops in float, dynamic_int8 or weight_int8 are the better answer.
MAX_SHARE = 0.5
SHOWN = 4  # ops that a note names

Scopes = frozenset[str]


def is_needed(bench: Bench, built: Built) -> bool:
    """Returns whether a recipe came out quantized and misses the thresholds."""
    if bench.wanted is None or built.findings or built.fidelity is None:
        return False
    return bench.wanted.shortfall(built.fidelity) > 0


def build(bench: Bench, built: Built, recipe: Recipe) -> Built | str:
    """Returns the candidate that keeps a few ops in float and meets the thresholds; else why there is none.

    `built` is what `recipe` gave with all ops in 8 bits.
    """
    assert bench.wanted and built.path and built.fidelity
    if bench.data.is_random:
        return "no mixed precision on random inputs: give real samples with --data"
    search = _Search(bench, built, recipe)
    kept = search.smallest()
    if kept is None:
        return search.why_not()
    mixed = judged(bench, built.recipe + MIXED, search.model(kept), keep_float=kept)
    return replace(mixed, notes=(*search.notes(kept, mixed), *mixed.notes))


@dataclass
class _Trial:
    kept: Scopes
    fidelity: Fidelity | None  # None where the model does not run, or other ops became float as well

    @property
    def gain(self) -> float:
        return -1.0 if self.fidelity is None else self.fidelity.cosine


@dataclass
class _Search:
    bench: Bench
    built: Built
    recipe: Recipe
    trials: list[_Trial] = field(default_factory=list)
    looked_at: int = 0
    is_hopeless: bool = False
    float_outputs: bool = False
    ran_out: bool = False
    start: float = 0.0

    def __post_init__(self) -> None:
        assert self.built.path
        self.seconds = min(SEARCH_S, self.bench.timeout_s / 2)
        self.deadline = time.monotonic() + self.seconds
        self.ranking_deadline = time.monotonic() + self.seconds * RANKING_SHARE
        self.float_graph = self.bench.graph
        self.int8_graph = read_graph(self.built.path)
        self.by_metric = self.built.fidelity is not None and self.built.fidelity.change is not None
        self.ops = _integer_ops(self.float_graph, self.int8_graph)
        self.most = int(len(self.ops) * MAX_SHARE)
        sets = _neighbourhoods(self.float_graph, self.ops)
        self.sets = [one for one in sets if len(one) <= self.most]

    def smallest(self) -> Scopes | None:
        """Returns the scopes to keep in float, None where no set of at most half of the ops is enough."""
        every, none = frozenset(self.ops), frozenset[str]()
        if not self._is_enough(every):
            self.float_outputs = not self.built.recipe.endswith(FLOAT_IO)
            self.is_hopeless = not self.float_outputs or not self._is_enough(every)
        if self.is_hopeless:
            return None
        if self.float_outputs and self._is_enough(none):
            return none
        prefixes = self._prefixes(self._ranked())
        found = self._first_enough(prefixes)
        return None if found is None else self._without_the_needless(found)

    def _ranked(self) -> list[Scopes]:
        """Returns the neighbourhoods that help, the most telling first."""
        count = self._ranking_count()
        whole = _Trial(frozenset(), self.bench.compared(self._int8, count))
        for kept in self._most_suspect_first():
            if time.monotonic() > self.ranking_deadline:
                self.ran_out = True
                break
            self.trials.append(self._tried(kept, count))
            self.looked_at += 1
            if not self.by_metric and len(kept) == 1 and self._key(self.trials[-1])[0] == 0:
                break  # no set is smaller
        self.start = whole.gain
        helping = [trial for trial in self.trials if self._key(trial) < self._key(whole)]
        return [trial.kept for trial in sorted(helping, key=self._key)]

    def _most_suspect_first(self) -> list[Scopes]:
        """Returns the neighbourhoods, those around the tensors that 8 bits spoil most first."""
        bench = self.bench
        shares = coarseness(bench.model, bench.calibration_rows[0], self.float_graph, self.int8_graph)
        names = {
            scope: [self.float_graph.main.tensors[index].name for index in op.outputs]
            for scope, op in self.ops.items()
        }
        worst = {scope: max(shares.get(name, 0.0) for name in names[scope]) for scope in names}
        return sorted(self.sets, key=lambda kept: -max(worst[scope] for scope in kept))

    def _key(self, trial: _Trial) -> tuple[float, int, float]:
        """Sorts trials: what is enough first, by the fewest ops; the rest by their distance."""
        assert self.bench.wanted
        if trial.fidelity is None:
            return (2.0, 0, 0.0)
        # A few samples say little of a metric. Of several outputs or channels that are bad one may be
        # mended, and the worst remains: what is nearest in all is the best guess.
        is_short = self.by_metric or self.bench.wanted.shortfall(trial.fidelity) > 0
        return (float(is_short), 0 if is_short else len(trial.kept), trial.fidelity.distance)

    def _prefixes(self, ranked: Sequence[Scopes]) -> list[Scopes]:
        """Returns the unions of the first 1, 2, … neighbourhoods, as far as they stay within the share."""
        prefixes: list[Scopes] = []
        kept: Scopes = frozenset()
        for one in ranked:
            if len(kept | one) > self.most:
                continue
            if kept | one != kept:
                kept = kept | one
                prefixes.append(kept)
        return prefixes

    def _first_enough(self, prefixes: Sequence[Scopes]) -> Scopes | None:
        """Returns the shortest prefix that is enough: lengths double until one is, then halves are tried."""
        low, last = -1, len(prefixes) - 1
        for high in _doubling(last):
            if self._is_over():
                return None
            if self._is_enough(prefixes[high]):
                break
            low = high
        else:
            return None
        while high - low > 1 and not self._is_over():
            middle = (low + high) // 2
            low, high = (low, middle) if self._is_enough(prefixes[middle]) else (middle, high)
        return prefixes[high]

    def _without_the_needless(self, kept: Scopes) -> Scopes:
        """Returns the set without the ops that it is enough without."""
        for scope in sorted(kept):
            if self._is_over():
                break
            if len(kept) > 1 and self._is_enough(kept - {scope}):
                kept = kept - {scope}
        return kept

    def _is_enough(self, kept: Scopes) -> bool:
        assert self.bench.wanted
        trial = self._tried(kept, self.bench.count, by_metric=True)
        return trial.fidelity is not None and self.bench.wanted.shortfall(trial.fidelity) == 0

    def _tried(self, kept: Scopes, count: int, *, by_metric: bool = False) -> _Trial:
        try:
            model = self.model(kept)
            others = _scopes(read_graph_bytes(model, Path("trial.tflite"))) - kept
            if others - _scopes(self.int8_graph):
                return _Trial(kept, None)
            return _Trial(kept, self.bench.compared(model, count, by_metric=by_metric))
        except MemoryError:
            raise
        except Exception:  # litert-quantizer raises whatever its Python meets: this set cannot be built
            return _Trial(kept, None)

    def model(self, kept: Scopes) -> bytes:
        variant = Variant(keep_float=tuple(sorted(kept)), float_outputs=self.float_outputs)
        return self.bench.quantized(self.built.recipe, self.recipe, variant)

    @property
    def _int8(self) -> bytes:
        assert self.built.path
        return self.built.path.read_bytes()

    def _ranking_count(self) -> int:
        """Returns how many samples int8 runs in RANKING_S, one at least."""
        start = time.monotonic()
        self.bench.compared(self._int8, 1)
        one = time.monotonic() - start
        return max(1, min(self.bench.count, int(RANKING_S / max(one, 1e-4))))

    def _is_over(self) -> bool:
        return time.monotonic() > self.deadline

    def _is_cut_short(self) -> bool:
        return self._is_over() or self.ran_out

    def notes(self, kept: Scopes, mixed: Built) -> list[str]:
        """Returns what the candidate trades: which ops for which size and fidelity."""
        before, score = self.built.fidelity, mixed.fidelity
        assert before and self.built.size_bytes and score and mixed.size_bytes
        digits = 4 if abs(score.cosine - before.cosine) >= 1e-4 else 6
        trade = f"cosine {before.cosine:.{digits}f} → {score.cosine:.{digits}f}"
        if before.top1_agreement is not None and score.top1_agreement is not None:
            trade += f", same class {before.top1_agreement * 100:.1f} → {score.top1_agreement * 100:.1f} %"
        trade += f", {self.built.size_bytes / 1024:.1f} → {mixed.size_bytes / 1024:.1f} KiB"
        ops = [f"{op.label} ({_readable(scope)})" for scope, op in self.ops.items() if scope in kept]
        listed = ", ".join(ops[:SHOWN]) + (f" and {len(ops) - SHOWN} more" if len(ops) > SHOWN else "")
        what = f"{len(kept)} of {len(self.ops)} ops" if kept else "outputs"
        what += " and the outputs" if kept and self.float_outputs else ""
        notes = [f"{what} in float: {trade}", *([f"in float: {listed}"] if kept else [])]
        if len(kept) > 1 and self._is_cut_short():
            notes.append(f"{self._ending()}: fewer ops in float may do")
        return notes

    def why_not(self) -> str:
        """Returns why no set was found, with what the best single neighbourhood gains."""
        if self.is_hopeless:
            if not self.float_outputs:
                return "no mixed precision: with all ops in float it is missed still"
            return (
                "no mixed precision: with all ops in float, inputs in 8 bits miss it still; dynamic_int8 and "
                "weight_int8 keep them in float"
            )
        if self._is_cut_short():
            return f"no mixed precision found: {self._ending()}"
        gained = max((trial.gain - self.start for trial in self.trials), default=0.0)
        return (
            f"no mixed precision: up to {self.most} of {len(self.ops)} ops in float are not enough (keeping "
            f"any single op and its readers in float gains at most {max(gained, 0.0):.2g} of cosine)"
        )

    def _ending(self) -> str:
        tried = f"{self.looked_at} of {len(self.sets)} tried alone"
        return f"the search ended after {self.seconds:g} s, with {tried}"


def _doubling(last: int) -> Iterator[int]:
    """Yields 0, 1, 3, 7, … and `last`."""
    index = 0
    while index < last:
        yield index
        index = 2 * index + 1
    if last >= 0:
        yield last


def _integer_ops(float_graph: Graph, int8_graph: Graph) -> dict[str, Op]:
    """Returns the ops of the float model, by scope, that the int8 one computes in integers."""
    scopes = {
        scope_of(op, int8_graph.main)
        for op in int8_graph.main.ops
        if any(int8_graph.main.tensors[i].dtype in ("int8", "int16") for i in op.outputs if i >= 0)
    }
    return {scope: op for op in float_graph.main.ops if (scope := scope_of(op, float_graph.main)) in scopes}


def _neighbourhoods(graph: Graph, ops: dict[str, Op]) -> list[Scopes]:
    """Returns every op and every input with the ops that read it, as scopes; each set once."""

    def readers(outputs: Iterable[int]) -> set[str]:
        return {scope for scope, op in ops.items() if set(outputs) & set(op.inputs)}

    sets = [frozenset({scope, *readers(op.outputs)}) for scope, op in ops.items()]
    sets += [frozenset(readers([index])) for index in graph.main.inputs]
    return [one for one in dict.fromkeys(sets) if one]


def _scopes(graph: Graph) -> Scopes:
    ops = {id(op) for op in float_ops(graph)}
    return frozenset(scope_of(op, graph.main) for op in graph.main.ops if id(op) in ops)


def _readable(scope: str) -> str:
    """Returns the first tensor name of a scope: Keras' path, such as digits/stem/Relu."""
    return scope.split(";")[0]
