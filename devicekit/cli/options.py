"""The options that commands share: each means the same everywhere."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import click

from devicekit.words import amount, parse_ms, parse_share, parse_size

F = TypeVar("F", bound=Callable[..., Any])


# Written out, so that --help imports nothing; a test compares it with the table of recipes.
RECIPES = (
    "float32, float16, dynamic_int8, weight_int8, weight_int4, int8, int8_float_io, int16x8, int16x8_float_io"
)


recipes_to_try = click.option(
    "--recipe", "-r", "recipes", multiple=True, metavar="RECIPE", help=f"One of {RECIPES}. Repeatable."
)


@contextmanager
def store_at(store: str | None) -> Iterator[Any]:
    """Yields the store that --store names, as open_store does, which takes a fifth of a second to import."""
    from devicekit.store.open import open_store

    with open_store(store) as one:
        yield one


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
            "--stateless",
            is_flag=True,
            default=None,
            help="Stateful RNNs forget their state between inferences.",
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


worst = click.option(
    "--keep-worst",
    type=click.IntRange(0),
    metavar="N",
    help="File the N samples of each recipe that are furthest from the float model.",
)


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
            "--max-step",
            type=click.FloatRange(0, min_open=True),
            metavar="SHARE",
            help="Overrides quality.max_step.",
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
            help="Own metric: function(predict) -> float, or one for each sample.",
        ),
        click.option(
            "--accept-data",
            is_flag=True,
            default=None,
            help="Go on with data that the float model makes nothing of.",
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
