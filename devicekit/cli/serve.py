"""`devicekit serve`: the results as web pages, read-only."""

import click

from devicekit.cli.frame import framed
from devicekit.cli.options import stored


@click.command(
    epilog="Stop it with Ctrl-C. Away from 127.0.0.1 a token is asked for; it is printed at start."
)
@click.option("--host", default="127.0.0.1", metavar="ADDRESS", help="Where to listen. Default: 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), default=8377, help="0: any free one. Default: 8377.")
@click.option("--token", metavar="TEXT", help="Ask for this, also on 127.0.0.1.")
@stored
@framed()
def serve(host: str, port: int, token: str | None, store: str | None) -> None:
    """Serve the store's runs, models and devices as web pages. Nothing can be changed there."""
    from devicekit.serve.run import serve_store

    serve_store(store, host=host, port=port, token=token)
