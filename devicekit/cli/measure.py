"""`devicekit measure`: latency and memory of one .tflite."""

from typing import Any

import click

from devicekit.cli.frame import framed
from devicekit.cli.options import keep_given, measuring_of, on_device


@click.command()
@click.argument("model")
@click.option("--profile", "-p", metavar="NAME|FILE", help="Measure under the limits of this profile.")
@on_device(default="host")
@click.option("--threads", type=click.IntRange(1, 256), help="Default: the profile's, else 1.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=1), help="Seconds the run may take.")
@framed()
def measure(model: str, **options: Any) -> Any:
    """Measure the latency and memory of MODEL, a .tflite."""
    import devicekit

    measuring = measuring_of(options)
    return devicekit.measure(model, measuring=measuring, **keep_given(options))
