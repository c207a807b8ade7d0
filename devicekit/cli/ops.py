"""`devicekit ops`: which operators the runtimes and delegates take."""

from typing import Any

import click

from devicekit.cli.frame import framed


@click.command(
    epilog="Which of them a model needs: devicekit inspect MODEL. What a delegate takes of it: check."
)
@click.argument("names", nargs=-1, metavar="[OP]…")
@click.option("--runtime", "-r", metavar="NAME", help="litert, tflite or tflm.")
@click.option("--version", metavar="RELEASE", help="Of the runtime, such as 2.14: what that release has.")
@click.option("--delegate", "-d", metavar="NAME", help="xnnpack, gpu, nnapi or edgetpu.")
@framed(drawn=None)
def ops(names: tuple[str, ...], runtime: str | None, version: str | None, delegate: str | None) -> Any:
    """List the operators that runtimes and delegates take: versions by release, dtypes, conditions.

    With OP, such as CONV_2D, only these, by default in all runtimes and delegates."""
    from devicekit.profile.op_support import listing

    return listing(names, runtime=runtime, version=version, delegate=delegate)
