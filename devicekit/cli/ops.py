"""`devicekit ops`: which operators the runtimes and delegates take."""

import click

from devicekit.cli.options import common, show_json, show_text


@click.command(
    epilog="Which of them a model needs: devicekit inspect MODEL. What a delegate takes of it: check."
)
@click.argument("names", nargs=-1, metavar="[OP]…")
@click.option("--runtime", "-r", metavar="NAME", help="litert, tflite or tflm.")
@click.option("--version", metavar="RELEASE", help="Of the runtime, such as 2.14: what that release has.")
@click.option("--delegate", "-d", metavar="NAME", help="xnnpack, gpu, nnapi or edgetpu.")
@common
def ops(
    names: tuple[str, ...],
    runtime: str | None,
    version: str | None,
    delegate: str | None,
    format_: str,
    quiet: bool,
    verbose: bool,
) -> None:
    """List the operators that runtimes and delegates take: versions by release, dtypes, conditions.

    With OP, such as CONV_2D, only these, by default in all runtimes and delegates."""
    from devicekit.profile.op_support import listing

    found = listing(names, runtime=runtime, version=version, delegate=delegate)
    show_json(found.to_json()) if format_ == "json" else show_text(found)
