"""`devicekit deploy`: the main job."""

from pathlib import Path
from typing import Any

import click

from devicekit.cli.options import (
    RECIPES,
    budgets,
    building,
    common,
    fail,
    keep_given,
    loading,
    measuring_of,
    on_device,
    show_json,
    show_text,
    stored,
    watched,
)


@click.command(epilog="Exit codes: 0 fits, 2 usage, 3 model or fit, 4 device, 5 measurement, 130 Ctrl-C.")
@click.argument("model")
@click.option("--profile", "-p", required=True, metavar="NAME|FILE", help="The device profile to fit.")
@on_device(default="auto")
@click.option(
    "--recipe", "-r", "recipes", multiple=True, metavar="RECIPE", help=f"One of {RECIPES}. Repeatable."
)
@click.option("--threads", type=click.IntRange(1, 256), help="Overrides runtime.threads.")
@click.option("--output", "-o", "folder", metavar="DIR", help="Default: MODEL.PROFILE.")
@click.option("--overwrite", is_flag=True, help="Replace an output folder that devicekit made.")
@click.option("--keep-all", is_flag=True, help="Keep the .tflite of every candidate.")
@budgets
@building
@loading
@stored
@click.option("--no-store", "store", flag_value="", help="File it in the output folder alone.")
@common
def deploy(model: str, format_: str, quiet: bool, verbose: bool, **options: Any) -> int:
    """Convert, quantize, check and measure MODEL, and file the artifact that fits the profile.

    MODEL is a .h5, .keras, SavedModel folder or .tflite."""
    import devicekit

    measuring = measuring_of(options)
    with watched(quiet=quiet, verbose=verbose):
        deployment = devicekit.deploy(Path(model), measuring=measuring, **keep_given(options))
    if format_ == "json":
        show_json({**deployment.to_json(), "run": deployment.run})
    else:
        show_text(deployment)
    if deployment.error is None:
        return 0
    return fail(deployment.error, shown=format_ == "json")
