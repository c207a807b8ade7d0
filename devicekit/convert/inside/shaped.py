"""The inputs of a subclassed model, which has no graph: from what the file says of its build, or --shape.

Runs in the conversion child only: it imports TensorFlow.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from devicekit.convert.inside.inputs import input_specs
from devicekit.errors import ConvertError, UsageError


@dataclass(frozen=True)
class Shaped:
    """A model file's `config`, which may say with which shapes a model was built, and the user's `shapes`."""

    path: Path
    config: Mapping[str, Any] | None
    shapes: Mapping[str, Sequence[int]]

    def specs(self, model: Any) -> tuple[Any, ...]:
        """Returns a float32 tf.TensorSpec of batch 1 per input of `model`. Raises ConvertError, UsageError.

        Its names are the parameters of `model.call`, the keys of a dict of inputs, or "inputs_0" and on.
        """
        parameters = _parameters(model)
        saved = self._saved(parameters)
        if not saved:
            saved = {name: None for name in self.shapes}
            odd = [name for name in saved if name not in parameters]
            if len(saved) == 1 and odd:
                raise UsageError(
                    f'--shape {odd[0]}: {self.path.name} has no input "{odd[0]}"',
                    remedy=f"name one of its inputs: {', '.join(parameters)}",
                )
        if not saved:
            raise ConvertError(
                str(self.path),
                found=f"the input shapes of {type(model).__name__} are not in the file",
                remedy=f"fix them with the sizes that you feed: --shape {parameters[0]}=1,224,224,3",
            )
        declared = [(name, _open(shape), "float32") for name, shape in saved.items()]
        return input_specs(self.path, declared, self.shapes)

    def build(self, model: Any) -> None:
        """Makes the variables of a model by calling it once on zeros."""
        self.runner(model)(*(tf.zeros(spec.shape, spec.dtype) for spec in self.specs(model)))

    def runner(self, model: Any) -> Callable[..., Any]:
        """Returns the function that calls `model` with tensors in the order of `specs`."""
        parameters = _parameters(model)
        names = list(self._saved(parameters) or self.shapes)
        saved = (self.config or {}).get("build_config") or {}
        is_list = isinstance(saved.get("input_shape"), list) and names != parameters[:1]

        def run(*tensors: Any) -> Any:
            by_name = dict(zip(names, tensors, strict=True))
            if set(names) <= set(parameters):
                return model(**by_name, training=False) if _takes_training(model) else model(**by_name)
            inputs = list(tensors) if is_list else by_name
            return model(inputs, training=False) if _takes_training(model) else model(inputs)

        return run

    def _saved(self, parameters: Sequence[str]) -> dict[str, Any]:
        """Returns the shapes with which the model was built, by name; {} where the file does not say.

        Keras keeps {"input_shape": shape, list or dict of shapes}, or {"shapes_dict": {"x_shape": shape}}.
        """
        build = (self.config or {}).get("build_config") or {}
        by_parameter = build.get("shapes_dict")
        if isinstance(by_parameter, dict):
            return {name.removesuffix("_shape"): shape for name, shape in by_parameter.items()}
        shape = build.get("input_shape")
        if isinstance(shape, dict):
            return dict(shape)
        if isinstance(shape, list) and shape and isinstance(shape[0], list):
            return {f"{parameters[0]}_{i}": one for i, one in enumerate(shape)}
        return {parameters[0]: shape} if isinstance(shape, list) else {}


def output_names(result: Any) -> list[str]:
    """Returns names for what a model without a graph returns: its keys, or "output_0" and on."""
    if isinstance(result, Mapping):
        return sorted(map(str, result))
    count = len(result) if isinstance(result, list | tuple) else 1
    return [f"output_{i}" for i in range(count)]


def _parameters(model: Any) -> list[str]:
    """Returns the names of what `model.call` takes besides mask and training."""
    names = inspect.signature(model.call).parameters
    return [name for name in names if name not in ("mask", "training", "args", "kwargs")] or ["inputs"]


def _takes_training(model: Any) -> bool:
    return "training" in inspect.signature(model.call).parameters


def _open(shape: Any) -> Any:
    """Returns a saved shape with its batch open."""
    return [None, *shape[1:]] if isinstance(shape, list) and shape else None
