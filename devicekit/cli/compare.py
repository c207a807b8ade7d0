"""`devicekit compare`: models side by side."""

from typing import Any

import click

from devicekit.cli.frame import framed
from devicekit.cli.options import keep_given


@click.command(
    epilog="Exit codes: 0 compared, 2 usage or data, 3 a model cannot be read, 4 device, 130 Ctrl-C."
)
@click.argument("models", nargs=-1, metavar="A B …")
@click.option(
    "--data", metavar="PATH", help="Inputs to compare the outputs on: .npz, .npy, a folder, FILE.py:FUNCTION."
)
@click.option("--profile", "-p", metavar="NAME|FILE", help="Measure under the limits of this profile.")
@click.option("--threads", type=click.IntRange(1, 256), help="Default: the profile's, else 1.")
@click.option("--no-measure", is_flag=True, help="Show no latency but what output folders recorded.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=1), help="Seconds a step may take.")
@framed()
def compare(models: tuple[str, ...], no_measure: bool, **options: Any) -> Any:
    """Compare models side by side: size, ops, memory, latency with a verdict, fidelity to the first.

    A, B, … are .tflite files or output folders of `devicekit deploy`, in any mix."""
    import devicekit

    return devicekit.compare(*models, measure=not no_measure, **keep_given(options))
