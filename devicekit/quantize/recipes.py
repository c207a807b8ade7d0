"""Recipes: named ways to quantize a float .tflite. A recipe's docstring is what the user reads.

A recipe takes the float file's bytes and the calibration (None unless `needs_calibration`), and returns the
bytes of the quantized file. It may raise whatever litert-quantizer raises: the worker words it as a finding.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from devicekit.errors import RecipeError
from devicekit.plugins import resolve
from devicekit.text import nearest

if TYPE_CHECKING:
    import numpy as np
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
}

CALIBRATED = frozenset({"int8", "int8_float_io", "int16x8"})


@dataclass(frozen=True)
class Calibration:
    """The lowest and highest value of every activation: tensor name -> {"min": array, "max": array}."""

    ranges: Mapping[str, Mapping[str, "NDArray[np.float32]"]]


Recipe = Callable[[bytes, Calibration | None], bytes]


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


def float32(float_model: bytes, calibration: Calibration | None) -> bytes:
    """The float model as it is."""
    return float_model


def float16(float_model: bytes, calibration: Calibration | None) -> bytes:
    """Weights in half precision, computed in float32: half the file."""
    from devicekit.quantize.holes import fill_holes

    plan = _plan()
    plan.add_weight_only_config(".*", _every_op(), num_bits=16, algorithm_key="float_casting")
    return fill_holes(_quantize(float_model, plan, None), "float16")


def dynamic_int8(float_model: bytes, calibration: Calibration | None) -> bytes:
    """8-bit weights; activations quantized while running: a quarter of the file, needs no data."""
    from devicekit.quantize.holes import fill_holes

    plan = _plan()
    plan.add_dynamic_config(".*", _every_op(), num_bits=8)
    return fill_holes(_quantize(float_model, plan, None), "dynamic_int8")


def weight_int8(float_model: bytes, calibration: Calibration | None) -> bytes:
    """8-bit weights, computed in float32: a quarter of the file, closest to the float model."""
    from devicekit.quantize.holes import fill_holes

    plan = _plan()
    plan.add_weight_only_config(".*", _every_op(), num_bits=8)
    return fill_holes(_quantize(float_model, plan, None), "weight_int8")


def weight_int4(float_model: bytes, calibration: Calibration | None) -> bytes:
    """4-bit weights, 8-bit where there is no 4-bit kernel, computed in float32: the smallest file."""
    from litert_quantizer.qtyping import TFLOperationName

    from devicekit.quantize.holes import fill_holes

    plan = _plan()
    plan.add_weight_only_config(".*", _every_op(), num_bits=4)
    for op in (TFLOperationName.DEPTHWISE_CONV_2D, TFLOperationName.CONV_2D_TRANSPOSE):
        plan.add_weight_only_config(".*", op, num_bits=8)
    return fill_holes(_quantize(float_model, plan, None), "weight_int8")


def int8(float_model: bytes, calibration: Calibration | None) -> bytes:
    """8-bit weights, activations, inputs and outputs: for integer hardware and microcontrollers."""
    plan = _plan()
    plan.add_static_config(".*", _every_op(), activation_num_bits=8, weight_num_bits=8)
    return _quantize(float_model, plan, calibration)


def int8_float_io(float_model: bytes, calibration: Calibration | None) -> bytes:
    """As int8, with float32 inputs and outputs: drops in where the float model ran."""
    from litert_quantizer.qtyping import TFLOperationName

    plan = _plan()
    plan.add_static_config(".*", _every_op(), activation_num_bits=8, weight_num_bits=8)
    for border in (TFLOperationName.INPUT, TFLOperationName.OUTPUT):
        plan.add_quantization_config(".*", border, algorithm_key="no_quantize")
    return _quantize(float_model, plan, calibration)


def int16x8(float_model: bytes, calibration: Calibration | None) -> bytes:
    """8-bit weights, 16-bit activations: nearly float quality; slow without kernels made for it."""
    plan = _plan()
    plan.add_static_config(".*", _every_op(), activation_num_bits=16, weight_num_bits=8)
    return _quantize(float_model, plan, calibration)


def calibrate(
    float_model: bytes, samples: Sequence[Mapping[str, "NDArray[Any]"]], *, signature: str, threads: int
) -> Calibration:
    """Returns the ranges that activations take on `samples` (each one array per input, of its full shape).

    Minimum and maximum over all samples, not the quantizer's default, a moving average that forgets the early
    samples: 0.9694 against 0.9708 accuracy on the digits (measured, November 2026). The profiler reads the
    same values as keeping all tensors does, six times faster (MobileNetV2, measured November 2026).
    """
    from litert_quantizer.calibrator import CalibrationMode, Calibrator
    from litert_quantizer.utils import qsv_utils

    plan = _plan()
    plan.add_static_config(".*", _every_op(), activation_num_bits=8, weight_num_bits=8)
    calibrator = Calibrator(
        float_model,
        num_threads=threads,
        mode=CalibrationMode.CALIBRATION_PROFILER_BASED,
        qsv_update_func=qsv_utils.min_max_update,
    )
    calibrator.calibrate({signature: list(samples)}, plan)
    return Calibration(calibrator.get_model_qsvs())


def _quantize(float_model: bytes, plan: Any, calibration: Calibration | None) -> bytes:
    from litert_quantizer.quantizer import Quantizer

    from devicekit.quantize.signatures import with_signature_outputs

    quantizer = Quantizer(float_model, plan.get_quantization_recipe())
    result = quantizer.quantize(
        None if calibration is None else dict(calibration.ranges),
        enable_progress_bar=False,
        enable_progress_report=False,
    )
    return with_signature_outputs(bytes(result.quantized_model), float_model)


def _plan() -> Any:
    from litert_quantizer.recipe_manager import RecipeManager

    return RecipeManager()


def _every_op() -> Any:
    from litert_quantizer.qtyping import TFLOperationName

    return TFLOperationName.ALL_SUPPORTED
