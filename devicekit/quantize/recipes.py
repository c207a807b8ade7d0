"""Recipes: named ways to quantize a float .tflite. A recipe's docstring is what the user reads.

A recipe takes the float file's bytes and the calibration (None unless `needs_calibration`), and returns the
bytes of the quantized file; a `Variant` changes it for one model. It may raise whatever litert-quantizer
raises: the worker words it as a finding.
"""

import copy
import inspect
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from devicekit.errors import RecipeError, UsageError
from devicekit.graph.model import Op, Subgraph
from devicekit.graph.read import read_graph_bytes
from devicekit.plugins import resolve
from devicekit.quantize.spans import fitted, with_loops
from devicekit.words import nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

RECIPES = {
    "float32": "devicekit.quantize.recipes:float32",
    "float16": "devicekit.quantize.recipes:float16",
    "dynamic_int8": "devicekit.quantize.recipes:dynamic_int8",
    "weight_int8": "devicekit.quantize.recipes:weight_int8",
    "weight_int4": "devicekit.quantize.recipes:weight_int4",
    "int8": "devicekit.quantize.recipes:int8",
    "int8_float_io": "devicekit.quantize.recipes:int8_float_io",
    "int16x8": "devicekit.quantize.recipes:int16x8",
    "int16x8_float_io": "devicekit.quantize.recipes:int16x8_float_io",
}

CALIBRATED = frozenset({"int8", "int8_float_io", "int16x8", "int16x8_float_io"})
# The static 8-bit recipes: what mixed precision and the second source are for.
STATIC_INT8 = ("int8", "int8_float_io")
FLOAT_IO = "_float_io"
MIXED = "_mixed"  # behind a recipe's name: some ops kept in float

Io = Literal["int8", "float"]
IO = ("int8", "float")


@dataclass(frozen=True)
class Ranges:
    """The lowest and highest value of every activation: tensor name -> {"min": array, "max": array}."""

    ranges: Mapping[str, Mapping[str, "NDArray[Any]"]]


@dataclass(frozen=True)
class Variant:
    """How to build a recipe otherwise than it says.

    `keep_float` holds the scopes (`scope_of`) of ops that stay float, `float_outputs` says that the outputs
    do; `per_tensor_dense` gives the weights of FULLY_CONNECTED one scale each, for runtimes whose kernel
    knows none per channel.
    """

    keep_float: tuple[str, ...] = ()
    float_outputs: bool = False
    per_tensor_dense: bool = False


AS_IT_SAYS = Variant()

Recipe = Callable[..., bytes]


def scope_of(op: Op, subgraph: Subgraph) -> str:
    """Returns what names an op to litert-quantizer: its outputs, each with a semicolon behind."""
    return "".join(f"{subgraph.tensors[index].name};" for index in op.outputs if index >= 0)


def base_of(name: str) -> str:
    """Returns the recipe behind a candidate's name: int8 for int8_mixed."""
    return name.removesuffix(MIXED)


def with_io(names: Sequence[str], io: Io | None) -> tuple[str, ...]:
    """Returns the recipes with inputs and outputs as `io` says, where they quantize them; each once."""
    if io is None:
        return tuple(names)
    if io not in IO:
        raise UsageError(f'no inputs and outputs "{io}"', remedy=f"choose from: {', '.join(IO)}")
    bare = {name: name.removesuffix(FLOAT_IO) if name in CALIBRATED else name for name in names}
    behind = {name: FLOAT_IO if io == "float" and name in CALIBRATED else "" for name in names}
    return tuple(dict.fromkeys(bare[name] + behind[name] for name in names))


def known_recipe(name: str) -> str:
    """Returns `name`. Raises RecipeError, with the nearest name, where there is no such recipe."""
    if name not in RECIPES:
        raise RecipeError(name, known=RECIPES, nearest=nearest(name, RECIPES))
    return name


def load_recipe(name: str) -> Recipe:
    """Returns the recipe of that name. Raises RecipeError."""
    recipe: Recipe = resolve(RECIPES[known_recipe(name)])
    return recipe


def needs_calibration(name: str) -> bool:
    """Returns whether the recipe fixes the ranges of activations, which sample inputs must show it."""
    return known_recipe(name) in CALIBRATED


def describe(name: str) -> str:
    """Returns the recipe in one line, for the user."""
    return (inspect.getdoc(load_recipe(name)) or "").splitlines()[0]


def float32(float_model: bytes, calibration: Ranges | None, *, variant: Variant = AS_IT_SAYS) -> bytes:
    """The float model as it is."""
    return float_model


def float16(float_model: bytes, calibration: Ranges | None, *, variant: Variant = AS_IT_SAYS) -> bytes:
    """Weights in half precision, computed in float32: half the file."""
    from devicekit.quantize.holes import fill_holes

    plan = _plan()
    plan.add_weight_only_config(".*", _every_op(), num_bits=16, algorithm_key="float_casting")
    return fill_holes(_quantize(float_model, plan, None, variant), "float16")


def dynamic_int8(float_model: bytes, calibration: Ranges | None, *, variant: Variant = AS_IT_SAYS) -> bytes:
    """8-bit weights; activations quantized while running: a quarter of the file, needs no data."""
    from devicekit.quantize.holes import fill_holes

    plan = _plan()
    plan.add_dynamic_config(".*", _every_op(), num_bits=8)
    if variant.per_tensor_dense:
        plan.add_dynamic_config(".*", _dense(), num_bits=8, granularity=_per_tensor())
    return fill_holes(_quantize(float_model, plan, None, variant), "dynamic_int8")


def weight_int8(float_model: bytes, calibration: Ranges | None, *, variant: Variant = AS_IT_SAYS) -> bytes:
    """8-bit weights, computed in float32: a quarter of the file, closest to the float model."""
    from devicekit.quantize.holes import fill_holes

    plan = _plan()
    plan.add_weight_only_config(".*", _every_op(), num_bits=8)
    return fill_holes(_quantize(float_model, plan, None, variant), "weight_int8")


def weight_int4(float_model: bytes, calibration: Ranges | None, *, variant: Variant = AS_IT_SAYS) -> bytes:
    """4-bit weights, 8-bit where there is no 4-bit kernel, computed in float32: the smallest file."""
    from litert_quantizer.qtyping import TFLOperationName

    from devicekit.quantize.holes import fill_holes

    plan = _plan()
    plan.add_weight_only_config(".*", _every_op(), num_bits=4)
    for op in (TFLOperationName.DEPTHWISE_CONV_2D, TFLOperationName.CONV_2D_TRANSPOSE):
        plan.add_weight_only_config(".*", op, num_bits=8)
    return fill_holes(_quantize(float_model, plan, None, variant), "weight_int8")


def int8(float_model: bytes, calibration: Ranges | None, *, variant: Variant = AS_IT_SAYS) -> bytes:
    """8-bit weights, activations, inputs and outputs: for integer hardware and microcontrollers."""
    return _quantize(float_model, _static_plan(8, float_model), calibration, variant)


def int8_float_io(float_model: bytes, calibration: Ranges | None, *, variant: Variant = AS_IT_SAYS) -> bytes:
    """As int8, with float32 inputs and outputs: drops in where the float model ran."""
    return _quantize(float_model, _with_float_borders(_static_plan(8, float_model)), calibration, variant)


def int16x8(float_model: bytes, calibration: Ranges | None, *, variant: Variant = AS_IT_SAYS) -> bytes:
    """8-bit weights, 16-bit activations: nearly float quality; slow without kernels made for it."""
    return _quantize(float_model, _static_plan(16, float_model), calibration, variant)


def int16x8_float_io(
    float_model: bytes, calibration: Ranges | None, *, variant: Variant = AS_IT_SAYS
) -> bytes:
    """As int16x8, with float32 inputs and outputs: drops in where the float model ran."""
    return _quantize(float_model, _with_float_borders(_static_plan(16, float_model)), calibration, variant)


def _static_plan(activation_bits: int, float_model: bytes) -> Any:
    """Returns 8-bit weights of one scale per channel; of one each where the kernels know no other.

    Those read the first scale alone: BATCH_MATMUL, and FULLY_CONNECTED by a constant from the left. A
    LocallyConnected2D came to a cosine of 0.32 against float, an einsum to 0.64 (LiteRT 2.3, November 2026).
    """
    from litert_quantizer.qtyping import TFLOperationName

    plan = _plan()
    bits: Any = {"activation_num_bits": activation_bits, "weight_num_bits": 8}
    plan.add_static_config(".*", _every_op(), **bits)
    plan.add_static_config(".*", TFLOperationName.BATCH_MATMUL, **bits, weight_granularity=_per_tensor())
    for scope in _from_the_left(float_model):
        plan.add_static_config(f"^{re.escape(scope)}$", _dense(), **bits, weight_granularity=_per_tensor())
    return plan


def _from_the_left(float_model: bytes) -> list[str]:
    """Returns the scopes of the FULLY_CONNECTED whose constant is the input, the kernel of an einsum."""
    graph = read_graph_bytes(float_model, Path("float.tflite"))
    return [
        scope_of(op, subgraph)
        for subgraph in graph.subgraphs
        for op in subgraph.ops
        if op.name == "FULLY_CONNECTED" and not subgraph.tensors[op.inputs[1]].is_constant
    ]


def _with_float_borders(plan: Any) -> Any:
    from litert_quantizer.qtyping import TFLOperationName

    for border in (TFLOperationName.INPUT, TFLOperationName.OUTPUT):
        plan.add_quantization_config(".*", border, algorithm_key="no_quantize")
    return plan


def calibrate(
    float_model: bytes, samples: Sequence[Mapping[str, "NDArray[Any]"]], *, signature: str, threads: int
) -> Ranges:
    """Returns the ranges that activations take on `samples` (each one array per input, of its full shape).

    Minimum and maximum over all samples, not the quantizer's default, a moving average that forgets the early
    samples: 0.9694 against 0.9708 accuracy on the digits (measured, November 2026). The profiler reads the
    same values as keeping all tensors does, six times faster (MobileNetV2, measured November 2026). Ranges
    too narrow to compute with are widened (spans).
    """
    from litert_quantizer.calibrator import CalibrationMode, Calibrator
    from litert_quantizer.utils import qsv_utils

    plan = _static_plan(8, float_model)
    calibrator = Calibrator(
        float_model,
        num_threads=threads,
        mode=CalibrationMode.CALIBRATION_PROFILER_BASED,
        qsv_update_func=qsv_utils.min_max_update,
    )
    calibrator.calibrate({signature: list(samples)}, plan)
    graph = read_graph_bytes(float_model, Path("float.tflite"))
    return Ranges(with_loops(fitted(calibrator.get_model_qsvs(), graph), graph))


def _quantize(float_model: bytes, plan: Any, calibration: Ranges | None, variant: Variant) -> bytes:
    from litert_quantizer.quantizer import Quantizer

    from devicekit.quantize.mends import mend

    # The kernels that quantize activations while running, and those of float weights, want weights there.
    kept = variant.keep_float if calibration else (*variant.keep_float, *_from_the_left(float_model))
    for scope, op in itertools.product(kept, _ops_within()):
        plan.add_quantization_config(f"^{re.escape(scope)}$", op, algorithm_key="no_quantize")
    if variant.float_outputs:
        plan.add_quantization_config(".*", _outputs(), algorithm_key="no_quantize")
    quantizer = Quantizer(float_model, plan.get_quantization_recipe())
    # The quantizer writes into what it is given: a softmax gets the range 0..1, for the next recipe too.
    result = quantizer.quantize(
        None if calibration is None else copy.deepcopy(dict(calibration.ranges)),
        enable_progress_bar=False,
        enable_progress_report=False,
    )
    return mend(bytes(result.quantized_model), float_model)


def _plan() -> Any:
    from litert_quantizer.recipe_manager import RecipeManager

    return RecipeManager()


def _every_op() -> Any:
    from litert_quantizer.qtyping import TFLOperationName

    return TFLOperationName.ALL_SUPPORTED


def _outputs() -> Any:
    from litert_quantizer.qtyping import TFLOperationName

    return TFLOperationName.OUTPUT


def _ops_within() -> list[Any]:
    """Returns all ops but the model's own inputs and outputs, which have the scopes of tensors as well."""
    from litert_quantizer.qtyping import TFLOperationName as Name

    return [op for op in Name if op not in (Name.INPUT, Name.OUTPUT, Name.ALL_SUPPORTED)]


def _dense() -> Any:
    from litert_quantizer.qtyping import TFLOperationName

    return TFLOperationName.FULLY_CONNECTED


def _per_tensor() -> Any:
    from litert_quantizer.qtyping import QuantGranularity

    return QuantGranularity.TENSORWISE
