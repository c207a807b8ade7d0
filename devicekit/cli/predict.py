"""`devicekit predict`: memory and latency from the file alone."""

from typing import Any

import click

from devicekit.cli.frame import Answer, framed
from devicekit.cli.options import keep_given, loading

DOES_NOT_FIT = 3


@click.command(epilog="Exit codes: 0, 3 where the model does not fit limits.memory_mib or limits.arena_kib.")
@click.argument("model")
@click.option("--profile", "-p", required=True, metavar="NAME|FILE", help="The device to predict for.")
@click.option("--threads", type=click.IntRange(1, 256), help="Default: the profile's.")
@click.option(
    "--no-run",
    "may_run",
    flag_value=False,
    default=None,
    help="Never run the model here: only a lower bound where memory cannot be planned.",
)
@click.option(
    "--confirm", is_flag=True, default=None, help="Run it here under the profile's limits (RLIMIT_DATA), too."
)
@click.option("--hard-limits", is_flag=True, default=None, help="The same by a cgroup, which kills; as root.")
@loading
@framed()
def predict(model: str, **options: Any) -> Answer:
    """Predict the memory and latency of MODEL on a device that is not there.

    A Keras model is predicted as the float .tflite that it converts to."""
    import devicekit

    prediction = devicekit.predict(model, **keep_given(options))
    return Answer(prediction, code=DOES_NOT_FIT if prediction.verdict == "does not fit" else 0)
