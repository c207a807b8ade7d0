"""Proof that a file is quantized as its recipe says, by the dtypes of its tensors alone."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from devicekit.finding import Finding
from devicekit.graph.model import Graph, Op, Subgraph, Tensor
from devicekit.quantize.holes import MIN_TABLE_ELEMENTS
from devicekit.quantize.recipes import scope_of
from devicekit.quantize.spans import is_too_narrow

# Ops that carry weights -> the inputs that hold them; their other constants are biases, which int8 keeps
# int32, the rest float. Source: the operand order of LiteRT's kernels (tensorflow/lite/kernels/*.cc).
WEIGHTS: dict[str, tuple[int, ...]] = {
    "CONV_2D": (1,),
    "DEPTHWISE_CONV_2D": (1,),
    "FULLY_CONNECTED": (0, 1),  # 0: the kernel of an einsum, which the converter multiplies from the left
    "TRANSPOSE_CONV": (1,),
    "CONV_3D": (1,),
    "CONV_3D_TRANSPOSE": (1,),
    "BATCH_MATMUL": (0, 1),
    "EMBEDDING_LOOKUP": (1,),
    "GATHER": (0,),
    "SVDF": (1, 2),
    "UNIDIRECTIONAL_SEQUENCE_RNN": (1, 2),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": tuple(range(1, 9)),
    "BIDIRECTIONAL_SEQUENCE_LSTM": (*range(1, 9), *range(18, 26)),
    "LSTM": tuple(range(1, 9)),
}
# Float weights below this many elements say nothing: every quantizer may leave them, and holes.py smaller
# tables, which weigh less than what describes their quantization.
SMALL = 16
SMALL_TABLE = MIN_TABLE_ELEMENTS
# Constants of ops that carry no weights (the window of a spectrogram, a scaling) are taken for weights from
# this many elements on: the longest FFT of audio models has 4096, what is larger is worth quantizing.
LARGE = 4096
# Float constants below this share of all weights are not worth a note.
NEGLIGIBLE = 0.01

# What each recipe promises: the dtypes of weights; of the activations of ops with weights; of inputs and
# outputs.
_WEIGHT_DTYPES = {
    "float16": {"float16"},
    "dynamic_int8": {"int8"},
    "weight_int8": {"int8"},
    "weight_int4": {"int4", "int8"},
    "int8": {"int8"},
    "int8_float_io": {"int8"},
    "int16x8": {"int8"},
    "int16x8_float_io": {"int8"},
}
_ACTIVATIONS = {"int8": "int8", "int8_float_io": "int8", "int16x8": "int16", "int16x8_float_io": "int16"}
_QUANTIZED_IO = {"int8": "int8", "int16x8": "int16"}
_CONVERSIONS = {"QUANTIZE", "DEQUANTIZE"}


@dataclass(frozen=True)
class _Weight:
    op: Op
    tensor: Tensor

    @property
    def elements(self) -> int:
        return self.tensor.element_count

    @property
    def counts(self) -> bool:
        """Returns whether it is worth a word: all that is quantized, and what is float but for small ones."""
        small = SMALL_TABLE if self.op.name == "GATHER" else SMALL
        return self.elements >= small or self.tensor.dtype != "float32"

    @property
    def decides(self) -> bool:
        """Returns whether the file is no quantized one without it."""
        return self.op.name in WEIGHTS or self.elements > LARGE


def is_plain_float(graph: Graph) -> bool:
    """Returns whether nothing in the file is quantized or in half precision yet."""
    return not any(
        tensor.scale or tensor.dtype in ("float16", "bfloat16") or op.name in _CONVERSIONS
        for subgraph in graph.subgraphs
        for op in subgraph.ops
        for tensor in _tensors(subgraph, (*op.inputs, *op.outputs))
    )


def unquantized(recipe: str, graph: Graph, *, keep_float: frozenset[str] = frozenset()) -> Iterator[Finding]:
    """Yields a finding where `graph`, built by `recipe`, is not quantized as that recipe says.

    `keep_float` are the scopes of ops that stay float on purpose (recipes.scope_of).
    """
    if recipe not in _WEIGHT_DTYPES:
        return
    wanted = _WEIGHT_DTYPES[recipe]
    weights = [weight for weight in _weights(graph, keep_float) if weight.decides]
    floating = [weight for weight in weights if weight.tensor.dtype not in wanted]
    if recipe in _ACTIVATIONS:
        in_float = [weight for weight in floating if weight.op.name in WEIGHTS]
        yield from _unquantized_activations(recipe, graph, in_float, keep_float)
    elif not weights:
        yield Finding(
            "quantized",
            "nothing to quantize: no op of the model has weights",
            "use float32, or int8, which quantizes activations too",
        )
    else:
        total, left = _elements(weights), _elements(floating)
        if left * 2 > total:
            yield Finding(
                "quantized",
                f"{left / total:.0%} of the weights stay {_dtypes(floating)}: {_ops(w.op for w in floating)}",
                "use float32, or a recipe that can",
                op=floating[0].op.label,
            )
        elif recipe == "weight_int4":
            yield from _without_int4([weight for weight in weights if weight.elements >= SMALL])


def _without_int4(weights: list[_Weight]) -> Iterator[Finding]:
    if all(weight.tensor.dtype != "int4" for weight in weights):
        detail = f"no weight became int4: {_ops(weight.op for weight in weights)}"
        yield Finding("quantized", detail, "use weight_int8")


def narrow(graph: Graph) -> Iterator[Finding]:
    """Yields a finding where activations have so small a scale that a kernel may break on it."""
    found = [
        (op, tensor)
        for subgraph in graph.subgraphs
        for op in subgraph.ops
        for tensor in _tensors(subgraph, op.outputs)
        if not tensor.is_constant and is_too_narrow(tensor)
    ]
    for op, tensor in found[:1]:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        yield Finding(
            "scale",
            f"the output of {op.label}{more} has a scale too small to compute with: {tensor.scale[0]:.1e}",
            "give samples that reach it with --data, or use dynamic_int8",
            op=op.label,
        )


def float_parts(recipe: str, graph: Graph, *, keep_float: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yields notes on what stays float, beside `keep_float`, though the file as a whole is quantized."""
    if recipe not in _WEIGHT_DTYPES:
        return
    weights = list(_weights(graph, keep_float))
    floating = [w for w in weights if w.tensor.dtype not in _WEIGHT_DTYPES[recipe]]
    if _elements(floating) > NEGLIGIBLE * _elements(weights):
        share = _elements(floating) / _elements(weights)
        yield f"{share:.0%} of the weights stay {_dtypes(floating)}: {_ops(w.op for w in floating)}"
    if recipe == "weight_int4":
        wide = [w for w in weights if w.tensor.dtype == "int8"]
        if wide:
            share = _elements(wide) / _elements(weights)
            yield f"{share:.0%} of the weights are int8: {_ops(w.op for w in wide)}"
    if recipe in _ACTIVATIONS:
        ops = float_ops(graph, keep_float)
        if ops:
            yield f"computed in float32: {_ops(ops)}"
    if recipe in _QUANTIZED_IO:
        for name, tensor in {**graph.input_tensors, **graph.output_tensors}.items():
            if tensor.dtype == "float32":
                yield f"{name} stays float32"


def float_ops(graph: Graph, but: frozenset[str] = frozenset()) -> list[Op]:
    """Returns the ops that give floats, but those of the scopes in `but`."""
    return [
        op
        for subgraph in graph.subgraphs
        for op in subgraph.ops
        if scope_of(op, subgraph) not in but and _computes_in_float(subgraph, op)
    ]


def _unquantized_activations(
    recipe: str, graph: Graph, floating: list[_Weight], keep_float: frozenset[str]
) -> Iterator[Finding]:
    wanted = _ACTIVATIONS[recipe]
    in_float = [op for op in float_ops(graph, keep_float) if op.name in WEIGHTS]
    left = list(dict.fromkeys([*(w.op.label for w in floating), *(op.label for op in in_float)]))
    integer_ops = [
        op
        for subgraph in graph.subgraphs
        for op in subgraph.ops
        if op.name not in _CONVERSIONS and any(t.dtype == wanted for t in _tensors(subgraph, op.outputs))
    ]
    if left:
        ops = _ops([w.op for w in floating] + in_float)
        remedy = "use dynamic_int8"
        yield Finding("quantized", f"not {wanted}, computed in float32: {ops}", remedy, op=left[0])
    elif not integer_ops:
        detail = f"nothing to quantize: no op of the model became {wanted}"
        yield Finding("quantized", detail, "use float32 or dynamic_int8")


def _weights(graph: Graph, but: frozenset[str] = frozenset()) -> Iterator[_Weight]:
    """Yields the constants of ops with the op that computes with each, seen through a DEQUANTIZE.

    Ops of the scopes in `but` do not count.

    Whatever the op: a 256 x 256 constant of a MUL weighs as much as that of a FULLY_CONNECTED.
    """
    for subgraph in graph.subgraphs:
        dequantized = {op.outputs[0]: op.inputs[0] for op in subgraph.ops if op.name == "DEQUANTIZE"}
        for op in subgraph.ops:
            if scope_of(op, subgraph) in but:
                continue
            for position, index in enumerate(op.inputs):
                if op.name in _CONVERSIONS or index < 0 or position not in WEIGHTS.get(op.name, (position,)):
                    continue
                weight = _Weight(op, subgraph.tensors[dequantized.get(index, index)])
                is_number = weight.tensor.dtype.startswith(("float", "int4", "int8"))
                if weight.tensor.is_constant and is_number and weight.counts:
                    yield weight


def _computes_in_float(subgraph: Subgraph, op: Op) -> bool:
    return op.name not in _CONVERSIONS and any(
        tensor.dtype == "float32" for tensor in _tensors(subgraph, op.outputs)
    )


def _tensors(subgraph: Subgraph, indices: Iterable[int]) -> list[Tensor]:
    return [subgraph.tensors[index] for index in indices if index >= 0]


def _elements(weights: Iterable[_Weight]) -> int:
    """Returns the elements of the weights, each buffer counted once."""
    return sum({weight.tensor.buffer: weight.elements for weight in weights}.values())


def _dtypes(weights: Iterable[_Weight]) -> str:
    return " and ".join(sorted({weight.tensor.dtype for weight in weights}))


def _ops(ops: Iterable[Op]) -> str:
    """Returns "CONV_2D ×3, SIN" for the ops, each counted once."""
    names = Counter(op.label for op in {id(op): op for op in ops}.values())
    return ", ".join(f"{name} ×{count}" if count > 1 else name for name, count in names.most_common())
