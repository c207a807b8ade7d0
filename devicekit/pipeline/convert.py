"""Converts a model to one .tflite: by a recipe, or by the best one for a profile. Nothing is measured."""

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from devicekit.convert.source import Loading, convert_source
from devicekit.errors import UsageError
from devicekit.fit.budgets import Budgets, check_before, check_built
from devicekit.fit.candidate import Prefer
from devicekit.fit.choose import choose
from devicekit.graph.read import read_graph
from devicekit.pipeline import output
from devicekit.pipeline.deployment import SOURCE_SUFFIXES, Conversion, metric_name, model_name
from devicekit.pipeline.making import Making, refuse_unlisted
from devicekit.pipeline.screening import quantized, screen
from devicekit.quantize.recipes import Io, known_recipe, with_io

if TYPE_CHECKING:
    from devicekit.profile.schema import Profile


def convert(
    model: str | Path,
    *,
    profile: "str | Path | Profile | None" = None,
    recipe: str | None = None,
    data: str | None = None,
    eval_function: str | None = None,
    prefer: Prefer | None = None,
    min_cosine: float | None = None,
    min_top1_agreement: float | None = None,
    max_step: float | None = None,
    max_size_bytes: int | None = None,
    max_memory_bytes: int | None = None,
    max_latency_ms: float | None = None,
    max_accuracy_drop: float | None = None,
    io: Io | None = None,
    path: str | Path | None = None,
    overwrite: bool = False,
    timeout_s: float | None = None,
    accept_data: bool = False,
    keep_worst: int = 0,
    **loading: Unpack[Loading],
) -> Conversion:
    """Returns the .tflite made of `model` by `recipe`, or by the best recipe of `profile`; written to `path`.

    With neither, float32; `io` as in `deploy`. Nothing is measured: where the profile prefers latency, the
    smallest file that keeps its rules wins. Where nothing fits, `chosen` is None and nothing is written.
    Raises as `deploy` does, and ConvertError where `recipe` is named for a model that is quantized already.
    """
    model = Path(model)
    making = Making(
        recipes=(recipe,) if recipe else (),
        data=data,
        eval_function=eval_function,
        prefer=prefer,
        min_cosine=min_cosine,
        min_top1_agreement=min_top1_agreement,
        max_step=max_step,
        io=io,
        timeout_s=timeout_s,
        accept_data=accept_data,
        keep_worst=keep_worst,
        **loading,
    )
    target = None if profile is None else making.applied_to(profile)
    recipes = target.recipes.try_ if target else with_io((known_recipe(recipe or "float32"),), io)
    path = Path(path or f"{model_name(model)}.{target.name if target else recipes[0]}.tflite")
    if path.suffix in SOURCE_SUFFIXES or path.resolve() == model.resolve():
        raise UsageError(f"-o {path} would replace a model with a .tflite", remedy="name a new .tflite file")
    budgets = Budgets(
        max_size_bytes=max_size_bytes,
        max_memory_bytes=max_memory_bytes,
        max_latency_ms=max_latency_ms,
        max_accuracy_drop=max_accuracy_drop,
        min_cosine=min_cosine,
        min_top1_agreement=min_top1_agreement,
        max_step=max_step,
    )
    check_before(budgets, data=data, eval_function=eval_function, measures=False)
    if target is None:
        refuse_unlisted(making.custom_ops, None)
    with output.scratch_file(path, overwrite=overwrite) as place:
        source = convert_source(model, flex=bool(target and target.ops.flex), **making.loading())
        built = quantized(source, recipes, making, profile=target, budgets=budgets, out_dir=place.scratch)
        check_built(budgets, built)
        candidates = choose(
            screen(target, built.candidates, source.layers, budgets),
            target.recipes.prefer if target else "size",
        )
        return output.file_conversion(
            Conversion(
                model=model,
                profile=target,
                source=source,
                graph=read_graph(source.float_path),
                data=built.data,
                metric=metric_name(eval_function, built.data),
                candidates=tuple(candidates),
                budgets=budgets,
            ),
            place,
        )
