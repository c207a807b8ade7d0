"""`devicekit deploy`: the main job."""

from pathlib import Path
from typing import Any

import click

from devicekit.cli.frame import Answer, framed
from devicekit.cli.options import (
    budgets,
    building,
    keep_given,
    loading,
    measuring_of,
    on_device,
    recipes_to_try,
    stored,
    worst,
)


@click.command(epilog="Exit codes: 0 fits, 2 usage, 3 model or fit, 4 device, 5 measurement, 130 Ctrl-C.")
@click.argument("model")
@click.option("--profile", "-p", required=True, metavar="NAME|FILE", help="The device profile to fit.")
@on_device(default="auto")
@recipes_to_try
@click.option("--threads", type=click.IntRange(1, 256), help="Overrides runtime.threads.")
@click.option("--output", "-o", "folder", metavar="DIR", help="Default: MODEL.PROFILE.")
@click.option("--overwrite", is_flag=True, help="Replace an output folder that devicekit made.")
@click.option("--keep-all", is_flag=True, help="Keep the .tflite of every candidate.")
@budgets
@building
@worst
@loading
@stored
@click.option("--no-store", "store", flag_value="", help="File it in the output folder alone.")
@framed()
def deploy(model: str, **options: Any) -> Answer:
    """Convert, quantize, check and measure MODEL, and file the artifact that fits the profile.

    MODEL is a .h5, .keras, SavedModel folder or .tflite."""
    import devicekit

    measuring = measuring_of(options)
    deployment = devicekit.deploy(Path(model), measuring=measuring, **keep_given(options))
    return Answer(deployment, {**deployment.to_json(), "run": deployment.run}, error=deployment.error)
