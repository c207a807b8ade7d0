"""Listening: on 127.0.0.1 unless another address is named, and then only with a token."""

import ipaddress
import logging
import secrets
import socket
import sys
from pathlib import Path

import uvicorn

from devicekit.errors import UsageError
from devicekit.serve.app import application
from devicekit.store.open import open_store

BACKLOG = 128


def serve_store(store: str | Path | None, *, host: str, port: int, token: str | None) -> None:
    """Serves the store until Ctrl-C. Raises UsageError where nothing can listen there."""
    is_local = _is_loopback(host)
    token = token or (None if is_local else secrets.token_urlsafe(24))
    with open_store(store) as opened, _listening(host, port) as listener:
        number = listener.getsockname()[1]
        address = f"http://{f'[{host}]' if ':' in host else host}:{number}/"
        # A visitor by another name is refused where names are known: on this machine alone.
        hosts = ["127.0.0.1", "localhost", "[::1]", host] if is_local else ["*"]
        app = application(opened, hosts=hosts, token=token)
        config = uvicorn.Config(app, log_level="warning", server_header=False, access_log=False)
        server = uvicorn.Server(config)
        print(f"{address}{f'?token={token}' if token else ''}", flush=True)
        print(f"serving {opened.name}, read-only; Ctrl-C ends it", file=sys.stderr, flush=True)
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        server.run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    try:
        listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=BACKLOG
        )
    except (OSError, UnicodeError) as error:
        raise UsageError(
            f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}",
            remedy="name another port: --port 0 takes any free one",
        ) from error
    return listener


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
