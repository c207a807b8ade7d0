"""Warm children: a Python that has TensorFlow imported, and forks where the kit would start a process.

A conversion of a small model takes 2.5 to 2.9 s in a child of its own, nearly all of it the import, and in a
fork 0.6 to 0.7 s (November 2026); the suite converts hundreds. `python_in` writes a program to name in
DEVICEKIT_PYTHON: it is called as Python is, hands its arguments, environment and streams to a server
(server.py, started by the first call), and ends as the fork that ran them ends. Limits, sessions and signals
hold in the fork as they do in a child of its own. A test whose subject is the child itself takes the fixture
`own_children`.
"""

import os
import sys
from pathlib import Path

_HERE = Path(__file__).parent


def python_in(folder: Path, *, owner: int) -> Path:
    """Returns the program, written into `folder`, whose servers end when the process `owner` does."""
    folder.mkdir(exist_ok=True)
    program = folder / "python"
    text = f'#!/bin/sh\nexec "{sys.executable}" -IS "{_HERE / "client.py"}" "{folder}" {owner} "$@"\n'
    partial = folder / f"python.{owner}.{id(text)}"  # several workers of one run write the same
    partial.write_text(text, encoding="utf-8")
    partial.chmod(0o755)
    partial.rename(program)
    return program


def python() -> str:
    """Returns what runs a script that imports TensorFlow: the program of this run, else Python."""
    return os.environ.get("DEVICEKIT_PYTHON") or sys.executable
