"""`devicekit compare`: models side by side."""

from typing import Any

import click

from devicekit.cli.options import common, keep_given, show_json, show_text, watched


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
@common
def compare(
    models: tuple[str, ...], no_measure: bool, format_: str, quiet: bool, verbose: bool, **options: Any
) -> None:
    """Compare models side by side: size, ops, memory, latency with a verdict, fidelity to the first.

    A, B, … are .tflite files or output folders of `devicekit deploy`, in any mix."""
    import devicekit

    with watched(quiet=quiet, verbose=verbose):
        comparison = devicekit.compare(*models, measure=not no_measure, **keep_given(options))
    show_json(comparison.to_json()) if format_ == "json" else show_text(comparison)
