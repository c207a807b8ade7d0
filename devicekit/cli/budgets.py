"""The options that bound what a candidate may cost: the same for `deploy` and `convert`."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def budgets(command: F) -> F:
    """Adds --max-size, --max-memory, --max-latency and --max-accuracy-drop; each wins over the profile."""
    for flag, name, parse, metavar, text in (
        (
            *("--max-accuracy-drop", "max_accuracy_drop", "parse_share", "SHARE"),
            "Task metric below the float model's, at most: 1% or 0.01 is one percentage point of accuracy.",
        ),
        (
            *("--max-latency", "max_latency_ms", "parse_ms", "TIME"),
            "Median latency, at most, wherever it is measured: 5ms, 300us; a plain number is ms.",
        ),
        (
            *("--max-memory", "max_memory_bytes", "parse_size", "SIZE"),
            "Must-have memory, at most: 2MiB. Overrides limits.memory_mib.",
        ),
        (
            *("--max-size", "max_size_bytes", "parse_size", "SIZE"),
            "The .tflite, at most: 500KiB, 2MB; a plain number is bytes. Overrides limits.model_mib.",
        ),
    ):
        command = click.option(flag, name, metavar=metavar, callback=_parsed(parse), help=text)(command)
    return command


def _parsed(parse: str) -> Callable[[click.Context, click.Parameter, str | None], float | None]:
    def callback(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
        from devicekit import units

        if value is None:
            return None
        amount: float = getattr(units, parse)(value, param.opts[0])
        return amount

    return callback
