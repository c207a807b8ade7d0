"""`devicekit inspect`, `check` and `convert`: what needs a model and no device."""

from typing import Any

import click

from devicekit.cli.frame import Answer, framed
from devicekit.cli.options import RECIPES, budgets, building, keep_given, loading, worst

DOES_NOT_FIT = 3


@click.command()
@click.argument("model")
@loading
@framed()
def inspect(model: str, **options: Any) -> Any:
    """Show the inputs, outputs, ops with versions, parameters, MACs and size of MODEL.

    A Keras model is shown as the float .tflite that it converts to."""
    from devicekit import inspect_model

    return inspect_model(model, **keep_given(options))


@click.command(epilog="Exit codes: 0 fits, 3 does not fit.")
@click.argument("model")
@click.option(
    "--profile", "-p", required=True, metavar="NAME|FILE", help="The device profile to check against."
)
@click.option(
    "--delegate", metavar="NAME", help="In place of the profile's: gpu, nnapi, edgetpu, xnnpack, none."
)
@loading
@framed()
def check(model: str, profile: str, **options: Any) -> Answer:
    """Check MODEL against the rules of a profile: size, memory, ops, dtypes, versions; and estimate what its
    delegate takes, and which operators break it.

    A Keras model is checked as the float .tflite that it converts to."""
    from devicekit import check_model

    result = check_model(model, profile, **keep_given(options))
    return Answer(result, code=0 if result.ok else DOES_NOT_FIT)


@click.command()
@click.argument("model")
@click.option("--profile", "-p", metavar="NAME|FILE", help="Take the best recipe for this profile.")
@click.option("--recipe", "-r", "recipes", multiple=True, metavar="RECIPE", help=f"One of {RECIPES}.")
@click.option("--output", "-o", "path", metavar="FILE", help="Default: MODEL.RECIPE.tflite.")
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
@budgets
@building
@worst
@loading
@framed()
def convert(model: str, recipes: tuple[str, ...], **options: Any) -> Answer:
    """Write MODEL as a .tflite, by one recipe or fitted to a profile. Nothing is measured."""
    import devicekit

    if len(recipes) > 1:
        raise click.UsageError("convert writes one file: give one --recipe, or a --profile to choose by")
    conversion = devicekit.convert(model, recipe=next(iter(recipes), None), **keep_given(options))
    return Answer(conversion, error=conversion.error)
