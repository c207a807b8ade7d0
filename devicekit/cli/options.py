"""What all commands share: options that mean the same everywhere, errors as the user reads them, exits."""

import functools
import io
import itertools
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from devicekit.errors import DevicekitError, UsageError
from devicekit.words import amount, dumps, nearest, parse_ms, parse_share, parse_size

F = TypeVar("F", bound=Callable[..., Any])

FORMATS = ("text", "json")
INTERRUPTED = 130

# Written out, so that --help imports nothing; a test compares it with the table of recipes.
RECIPES = (
    "float32, float16, dynamic_int8, weight_int8, weight_int4, int8, int8_float_io, int16x8, int16x8_float_io"
)


@dataclass(frozen=True)
class Answer:
    """What a command says where that is more than its results: they are shown as text, `document` as JSON.

    `document` None: the results' own. `code` is the exit code, unless `error` has one.
    """

    results: Any
    document: Any = None
    code: int = 0
    error: DevicekitError | None = None


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
    return whole.code if whole.error is None else fail(whole.error, shown=format_ == "json")


recipes_to_try = click.option(
    "--recipe", "-r", "recipes", multiple=True, metavar="RECIPE", help=f"One of {RECIPES}. Repeatable."
)


@contextmanager
def store_at(store: str | None) -> Iterator[Any]:
    """Yields the store that --store names, as open_store does, which takes a fifth of a second to import."""
    from devicekit.store.open import open_store

    with open_store(store) as one:
        yield one


def wants(format_: str) -> bool:
    """Returns whether the command at hand was asked for this format."""
    return bool(click.get_current_context().params["format_"] == format_)


def stored(command: F) -> F:
    """Adds --store."""
    return click.option(
        "--store",
        metavar="FILE|URL",
        help="Results: an SQLite file, or postgresql+psycopg://… Default: your own.",
    )(command)


def loading(command: F) -> F:
    """Adds the options of every command that reads a model: code, shapes, rewrites, time."""
    for option in (
        click.option("--timeout", "timeout_s", type=click.FloatRange(min=1), help="Seconds a step may take."),
        click.option(
            "--custom-op",
            "custom_ops",
            multiple=True,
            metavar="NAME",
            help="Leave this op to a kernel of the device's own. Repeatable.",
        ),
        click.option(
            "--no-rewrite", "rewrite", flag_value=False, default=None, help="Convert the model as it is."
        ),
        click.option(
            "--shape",
            "shapes",
            multiple=True,
            callback=_shapes,
            metavar="NAME=1,224,224,3",
            help="Fix an input's free sizes. Repeatable.",
        ),
        click.option("--custom-objects", metavar="FILE.py", help="Python file with custom layers."),
        click.option(
            "--trust",
            is_flag=True,
            default=None,
            help="Run code that the model file carries (Lambda layers).",
        ),
    ):
        command = option(command)
    return command


def _shapes(
    context: click.Context, parameter: click.Parameter, texts: Sequence[str]
) -> dict[str, tuple[int, ...]] | None:
    """Returns {input: shape} for texts like "image=1,224,224,3"; None where there are none."""
    shapes = {}
    for text in texts:
        name, equals, sizes = text.partition("=")
        dims = [size.strip() for size in sizes.split(",")]
        if not (name and equals and all(dim.isdecimal() and int(dim) > 0 for dim in dims)):
            raise click.BadParameter(f'"{text}": expected NAME=SIZES, as in image=1,224,224,3')
        shapes[name.strip()] = tuple(int(dim) for dim in dims)
    return shapes or None


def on_device(*, default: str) -> Callable[[F], F]:
    """Adds the options of every command that measures on a device: which one, by what, and when."""

    def add(command: F) -> F:
        return _device(default)(measuring(command))

    return add


def measuring(command: F) -> F:
    """Adds the options of every command that measures: by what, and when."""
    for option in _HOW:
        command = option(command)
    return command


def _device(default: str) -> Callable[[F], F]:
    return click.option(
        "--device",
        default=default,
        metavar="ADDRESS",
        help=f"adb:SERIAL, ssh://user@host, a fleet alias, auto, or host (this machine). Default: {default}.",
    )


# Of these, and in the reverse order of --help. Each is a field of runner.measuring.Measuring.
_HOW: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--wait",
        "wait_s",
        callback=lambda _, __, text: _seconds(text),
        metavar="TIME",
        help="How long to wait until the device is fit. Default: 10m.",
    ),
    click.option(
        "--min-battery",
        "min_battery_percent",
        type=click.IntRange(0, 100),
        metavar="PERCENT",
        help="Start with this charge at least. Default: 20.",
    ),
    click.option(
        "--start-below",
        "start_below_c",
        type=click.FloatRange(0, 150),
        metavar="CELSIUS",
        help="Start when the device is cooler than this. Default: 60.",
    ),
    click.option(
        "--pin-governor",
        "governor",
        is_flag=False,
        flag_value="performance",
        metavar="[NAME]",
        help="Set the CPUs' governor for the run (performance), where permitted.",
    ),
    click.option(
        "--rate",
        "rate_hz",
        callback=lambda _, __, text: _rate(text),
        metavar="N/s",
        help="Leave gaps: start so many inferences per second.",
    ),
    click.option(
        "--sustain",
        "sustain_s",
        callback=lambda _, __, text: _seconds(text),
        metavar="TIME",
        help="Run for so long (90s, 10m), with a trace over time.",
    ),
    click.option(
        "--require-delegate",
        is_flag=True,
        default=None,
        help="Fail where the delegate does not take the whole graph.",
    ),
    click.option("--wheels", metavar="DIR", help="Take the device's runtime from wheels in this folder."),
    click.option("--benchmark-model", metavar="FILE", help="The vendor's benchmark_model for the device."),
    click.option("--runner", metavar="NAME", help="script, micro or benchmark_model. Default: what suits."),
    click.option(
        "--accept-new-host-key", is_flag=True, default=None, help="Trust an SSH host that is not known yet."
    ),
    click.option(
        "--hard-limits",
        is_flag=True,
        default=None,
        help="On this host as root: limit memory by a cgroup, which kills.",
    ),
    click.option(
        "--keep", is_flag=True, default=None, help="Leave our files on the device for the next run."
    ),
    click.option(
        "--strict", is_flag=True, default=None, help="Refuse a device that is not what the profile says."
    ),
)


def measuring_of(options: dict[str, Any]) -> Any:
    """Takes the options of `on_device` but the address out of `options`, as a Measuring."""
    from devicekit.runner.measuring import Measuring

    given = {one.name: options.pop(one.name, None) for one in fields(Measuring)}
    for name in ("benchmark_model", "wheels"):
        given[name] = None if given[name] is None else Path(given[name])
    return Measuring(**keep_given(given))


_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600}


def _seconds(text: str | None) -> float | None:
    """Returns the seconds in "90s", "10m" or "1h"; a bare number is seconds."""
    seconds = None if text is None else amount(text, _UNITS_S)
    if text is not None and (seconds is None or seconds > 7 * 86400):
        raise click.BadParameter(f'"{text}": expected a time, as in 90s or 10m')
    return seconds


def _rate(text: str | None) -> float | None:
    """Returns the inferences per second in "10/s"; a bare number is the same."""
    rate = None if text is None else amount(text.removesuffix("/s"), {"": 1})
    if text is not None and (rate is None or not 0 < rate <= 1e6):
        raise click.BadParameter(f'"{text}": expected inferences per second, as in 10/s')
    return rate


def building(command: F) -> F:
    """Adds the options of every command that quantizes and chooses: data, metric, thresholds, preference."""
    for option in (
        click.option("--prefer", type=click.Choice(["latency", "size", "quality"]), help="What decides."),
        click.option("--min-cosine", type=click.FloatRange(-1, 1), help="Overrides quality.min_cosine."),
        click.option(
            "--min-top1",
            "min_top1_agreement",
            type=click.FloatRange(0, 1),
            help="Overrides quality.min_top1_agreement.",
        ),
        click.option(
            "--io",
            type=click.Choice(["int8", "float"]),
            help="Inputs and outputs of static recipes: quantized, or float32.",
        ),
        click.option(
            "--eval",
            "eval_function",
            metavar="FILE.py:FUNCTION",
            help="Own metric: function(predict) -> float.",
        ),
        click.option(
            "--data",
            metavar="PATH",
            help="Calibration and evaluation inputs: .npz, .npy, a folder, or FILE.py:FUNCTION.",
        ),
    ):
        command = option(command)
    return command


def budgets(command: F) -> F:
    """Adds --max-size, --max-memory, --max-latency and --max-accuracy-drop; each wins over the profile."""
    for flag, name, parse, metavar, text in (
        (
            *("--max-accuracy-drop", "max_accuracy_drop", parse_share, "SHARE"),
            "Task metric below the float model's, at most: 1% or 0.01 is one percentage point of accuracy.",
        ),
        (
            *("--max-latency", "max_latency_ms", parse_ms, "TIME"),
            "Median latency, at most, wherever it is measured: 5ms, 300us; a plain number is ms.",
        ),
        (
            *("--max-memory", "max_memory_bytes", parse_size, "SIZE"),
            "Must-have memory, at most: 2MiB. Overrides limits.memory_mib.",
        ),
        (
            *("--max-size", "max_size_bytes", parse_size, "SIZE"),
            "The .tflite, at most: 500KiB, 2MB; a plain number is bytes. Overrides limits.model_mib.",
        ),
    ):
        command = click.option(flag, name, metavar=metavar, callback=_parsed(parse), help=text)(command)
    return command


def _parsed(
    parse: Callable[[str, str], float],
) -> Callable[[click.Context, click.Parameter, str | None], float | None]:
    def callback(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
        return None if value is None else parse(value, param.opts[0])

    return callback


def keep_given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options that were given, so that the Python API's defaults stand for the rest."""
    return {key: value for key, value in options.items() if value is not None and value != ()}


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
