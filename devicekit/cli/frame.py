"""The frame of every command: progress is drawn, answers are shown in a format, errors end with codes."""

import functools
import io
import itertools
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import click

from devicekit.errors import DevicekitError, UsageError
from devicekit.words import dumps, nearest

FORMATS = ("text", "json")
INTERRUPTED = 130


@dataclass(frozen=True)
class Answer:
    """What a command says where that is more than its results: they are shown as text, `document` as JSON.

    `document` None: the results' own. `code` is the exit code, unless `error` has one, which `is_told` by the
    results already.
    """

    results: Any
    document: Any = None
    code: int = 0
    error: DevicekitError | None = None
    is_told: bool = False


def framed(
    *formats: str, drawn: Literal["steps", "rows"] | None = "steps"
) -> Callable[[Callable[..., Any]], Callable[..., int]]:
    """Frames a command: it returns its results, or an Answer, and what is the same in all stands here.

    Adds --format, --quiet, -v and --debug; with `formats` more than text and json, and --output. While the
    command runs, progress is `drawn`: of one step after the other, or of many devices in rows. None: it takes
    no time.
    """

    def frame(command: Callable[..., Any]) -> Callable[..., int]:
        @functools.wraps(command)
        def run_framed(*, format_: str, quiet: bool, verbose: bool, **options: Any) -> int:
            output = options.pop("output") if formats else None
            if drawn is None:
                answer = command(**options)
            else:
                with watched(quiet=quiet, verbose=verbose, rows=drawn == "rows"):
                    answer = command(**options)
            return _answered(answer, format_, output)

        added: Callable[..., int] = run_framed
        for option in _frame_options(formats):
            added = option(added)
        return added

    return frame


def _frame_options(formats: Sequence[str]) -> list[Callable[..., Any]]:
    known = [*FORMATS, *formats]
    output = click.option("--output", "-o", metavar="FILE", help="Write it there instead of stdout.")
    return [
        click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks."),
        click.option("-v", "--verbose", is_flag=True, help="Say more on stderr."),
        click.option("-q", "--quiet", is_flag=True, help="No progress on stderr."),
        click.option("--format", "format_", type=click.Choice(known), default="text", help="On stdout."),
        *([output] if formats else []),
    ]


def _answered(answer: Any, format_: str, output: str | None) -> int:
    """Shows what a command answered, and returns the exit code. Of None nothing is left to show."""
    whole = answer if isinstance(answer, Answer) else Answer(answer)
    if format_ == "json" and whole.document is not None:
        show_json(whole.document)
    elif whole.results is not None:
        show(whole.results, format_, output)
    return whole.code if whole.error is None else fail(whole.error, shown=whole.is_told or format_ == "json")


def wants(format_: str) -> bool:
    """Returns whether the command at hand was asked for this format."""
    return bool(click.get_current_context().params["format_"] == format_)


def show_text(results: Any) -> None:
    """Prints results on stdout: coloured and as wide as the terminal, plain elsewhere."""
    from devicekit.report.text import render, terminal

    _print(results if isinstance(results, str) else render(results, terminal()))


def show_json(document: Any) -> None:
    """Prints a document on stdout, for scripts."""
    _print(dumps(document) + "\n")


def show(results: Any, format_: str, output: str | None) -> None:
    """Prints results in any of their formats (report.FORMATS), or writes them to the file `output`."""
    from devicekit.report import render_as

    if output is not None:
        with writing(output) as file:
            file.write(render_as(results, format_))
        click.echo(f"wrote {output}", err=True)
    elif format_ == "text":
        show_text(results)
    elif format_ == "json":
        show_json(results.to_json())
    else:
        _print(render_as(results, format_))


@contextmanager
def writing(output: str | None) -> Iterator[Any]:
    """Yields a file to write to: `output`, whole or not at all, or stdout. Raises UsageError.

    What is there and no plain file (a pipe, /dev/null) is written to as it is.
    """
    if output is None:
        yield sys.stdout
        return
    is_special = os.path.exists(output) and not os.path.isfile(output)
    partial = f"{output}.partial"
    try:
        with open(output if is_special else partial, "w", encoding="utf-8", newline="") as file:
            yield file
        if not is_special:
            os.replace(partial, os.path.realpath(output))  # of a link, what it points at
    except OSError as error:
        raise UsageError(
            f"{output} cannot be written: {error.strerror or error}", remedy="name another file: -o FILE"
        ) from error
    finally:
        if not is_special:
            with suppress(OSError):
                os.unlink(partial)


def _print(text: str) -> None:
    try:
        click.echo(text, nl=False)
        sys.stdout.flush()
    except BrokenPipeError:
        raise  # `devicekit … | head`: no error
    except OSError as error:
        _drop_stdout()
        raise UsageError(
            f"the results cannot be printed: {error.strerror}", remedy="send them to another place"
        ) from error


@contextmanager
def watched(*, quiet: bool, verbose: bool, rows: bool = False) -> Iterator[None]:
    """Draws progress and notes on stderr while the block runs; with `rows`, of many devices at once."""
    from devicekit import progress
    from devicekit.cli.drawing import drawn

    logging.basicConfig(
        level=logging.INFO if verbose else logging.ERROR if quiet else logging.WARNING,
        format="%(message)s",
        stream=sys.stderr,
    )
    with drawn(quiet=quiet, rows=rows) as watcher:
        token = progress.current.set(watcher)
        try:
            yield
        finally:
            progress.current.reset(token)


def unknown_command(name: str, known: Iterable[str]) -> UsageError:
    guess = nearest(name, known)
    hint = f"; did you mean {guess}?" if guess else ""
    return UsageError(f'no command "{name}"{hint}', remedy="`devicekit --help` shows all")


def run(cli: click.Command) -> int:
    """Runs `cli` and returns the exit code; errors become one message with a remedy."""
    _terminate_like_ctrl_c()
    for stream in (sys.stdout, sys.stderr):  # a terminal of another encoding gets "?" for what it lacks
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        code = cli.main(prog_name="devicekit", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except click.ClickException as error:
        return fail(_from_click(error))
    except DevicekitError as error:
        return fail(error)
    except (KeyboardInterrupt, click.Abort):
        from devicekit.device.temporary import remove_own

        remove_own()
        click.echo("interrupted: nothing was left behind", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        _drop_stdout()
        return 0
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        return fail(
            DevicekitError(
                f"devicekit failed in a way it should not: {type(error).__name__}: {error}",
                remedy="run it again with --debug and report what it prints",
            )
        )


def fail(error: DevicekitError, *, shown: bool = False) -> int:
    """Prints the error (unless it is `shown` already) and returns its exit code."""
    if "--debug" in sys.argv:
        import traceback

        traceback.print_exception(error)
    if shown:
        pass
    elif _wants_json(sys.argv[1:]):
        show_json({"error": error.to_json()})
    else:
        click.echo(click.style("error: ", fg="red", bold=True) + error.message, err=True)
        click.echo(f"  → {error.remedy}", err=True)
    return error.exit_code


def _wants_json(argv: list[str]) -> bool:
    """Returns whether --format json was given, also where the command line did not parse."""
    return "--format=json" in argv or ("--format", "json") in itertools.pairwise(argv)


def _from_click(error: click.ClickException) -> UsageError:
    ctx = getattr(error, "ctx", None)
    help_for = ctx.command_path if ctx else "devicekit"
    return UsageError(error.format_message().rstrip("."), remedy=f"`{help_for} --help` shows how")


def _drop_stdout() -> None:
    """Sends what is still buffered nowhere: Python would fail on it once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _terminate_like_ctrl_c() -> None:
    """Makes SIGTERM clean up as Ctrl-C does."""

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
