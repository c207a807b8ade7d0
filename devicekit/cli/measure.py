"""`devicekit measure`: latency and memory of one .tflite."""

from typing import Any

import click

from devicekit.cli.options import common, keep_given, measuring_of, on_device, show_json, show_text, watched


@click.command()
@click.argument("model")
@click.option("--profile", "-p", metavar="NAME|FILE", help="Measure under the limits of this profile.")
@on_device(default="host")
@click.option("--threads", type=click.IntRange(1, 256), help="Default: the profile's, else 1.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=1), help="Seconds the run may take.")
@common
def measure(model: str, format_: str, quiet: bool, verbose: bool, **options: Any) -> None:
    """Measure the latency and memory of MODEL, a .tflite."""
    import devicekit

    measuring = measuring_of(options)
    with watched(quiet=quiet, verbose=verbose):
        measurement = devicekit.measure(model, measuring=measuring, **keep_given(options))
    show_json(measurement.to_json()) if format_ == "json" else show_text(measurement)
