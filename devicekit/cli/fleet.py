"""`devicekit fleet`: many devices, one report, a history, a gate."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from devicekit.cli.frame import Answer, framed, wants
from devicekit.cli.options import (
    building,
    keep_given,
    loading,
    measuring,
    measuring_of,
    recipes_to_try,
    store_at,
    stored,
)
from devicekit.errors import UsageError
from devicekit.words import parse_share

_FLEET = click.option(
    "--fleet", metavar="FILE", help="Default: $DEVICEKIT_FLEET, ./fleet.toml, or the user's own."
)
_WHERE = click.option("--where", metavar="FILTER", help="Only these: 'tag=android and ram_mib>=4096'.")


@click.group()
def fleet() -> None:
    """Measure models on every device of a fleet file; report, history and gate of the results."""


@fleet.command(epilog="Then: devicekit fleet list")
@click.option("--output", "-o", "path", default="fleet.toml", metavar="FILE", help="Default: fleet.toml.")
@click.option(
    "--host", metavar="PROFILE", help="Add this machine, as a stand-in under that profile's limits."
)
@framed()
def init(path: str, host: str | None) -> Answer:
    """Write a fleet file of the devices that are attached now."""
    from devicekit import words as fmt
    from devicekit.fleet.state import write_fleet

    found = write_fleet(Path(path), host=host)
    unknown = sum(one.profile is None for one in found)
    count = len(found) - unknown + (host is not None)
    words = f"wrote {path}: {fmt.plural(count, 'device')}\n"
    if unknown:
        words += f"  → {unknown} more that no profile matches: name one for each in the file\n"
    return Answer(words, {"schema": 1, "file": path, "devices": [one.to_json() for one in found]})


@fleet.command("list")
@_FLEET
@_WHERE
@framed()
def list_(fleet: str | None, where: str | None) -> Answer:
    """List the fleet's devices: state, profile, what each says about itself."""
    from devicekit.fleet.state import fleet_state

    state = fleet_state(fleet, where)
    return Answer(state, [row.to_json() for row in state.rows])


@fleet.command(
    epilog="Exit codes: 0 all measured, else the first failed device's; 130 Ctrl-C, then --resume."
)
@click.argument("models", nargs=-1, metavar="MODEL…")
@_FLEET
@_WHERE
@click.option("--jobs", type=click.IntRange(1, 256), help="Devices measured at once. Default: all, up to 16.")
@click.option(
    "--rounds", type=click.IntRange(1, 100), help="Measure each so often, a process each. Default: 5."
)
@click.option("--label", metavar="NAME", help="A name for the run, as a baseline: main.")
@click.option("--resume", metavar="RUN", help="Go on with this run (or last); what is measured is kept.")
@click.option("--scheduler", metavar="tcp://HOST:PORT", help="Spread over the workers of a dask scheduler.")
@recipes_to_try
@click.option("--threads", type=click.IntRange(1, 256), help="Overrides runtime.threads.")
@measuring
@building
@loading
@stored
@framed(drawn="rows")
def run(models: tuple[str, ...], resume: str | None, **options: Any) -> Answer:
    """Measure every MODEL on every device: each gets the artifact that fits its profile."""
    from devicekit.fleet.outcome import run_report
    from devicekit.fleet.run import fleet_resume, fleet_run

    if bool(models) == bool(resume):
        found = "no MODEL" if not models else "both MODEL and --resume"
        raise UsageError(f"{found} given", remedy="name models, or --resume RUN, which knows its models")
    places = {name: options.pop(name) for name in ("jobs", "scheduler", "store")}
    how, making = measuring_of(options), _making_of(options)
    if resume:
        _refuse_plan(how, making, options)
        run_id = fleet_resume(resume, **places)
    else:
        run_id = fleet_run(models, **places, making=making, measuring=how, **keep_given(options))
    with store_at(places["store"]) as store:
        report = run_report(store, run_id)
    codes = [row.cell.error["exit_code"] for row in report.rows if row.cell.error]
    return Answer(report, code=int(codes[0]) if codes else 0)


@fleet.command()
@click.argument("run", default="last")
@click.option("--baseline", metavar="RUN|N-last", help="Compare with this. Default: the run before it.")
@stored
@framed("md", "csv", "html", "junit")
def report(run: str, baseline: str | None, store: str | None) -> Any:
    """Report RUN (an id, a label, or last): model × device, failures, differences to the run before."""
    from devicekit.fleet.outcome import run_report

    with store_at(store) as opened:
        return run_report(opened, run, baseline=baseline, has_timeline=wants("html"))


@fleet.command()
@click.argument("model")
@click.option("--device", metavar="NAME", help="Only this device, by its name in the fleet file.")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=1000, help="The newest so many points.")
@stored
@framed("csv", "html")
def history(model: str, device: str | None, limit: int, store: str | None) -> Any:
    """Show latency and memory of MODEL over runs, with what changed in between."""
    from devicekit.fleet.history import history as history_of

    with store_at(store) as opened:
        return history_of(opened, model, device=device, limit=limit)


@fleet.command(epilog="Exit codes: 0 passed, 6 a regression, a broken budget or a missing device, 2 usage.")
@click.option("--baseline", required=True, metavar="RUN|N-last", help="A run, a label, last, or 5-last.")
@click.option("--max-regression", default="5%", metavar="SHARE", help="Allowed slow-down. Default: 5%.")
@click.option("--run", default="last", metavar="RUN", help="The run to judge. Default: last.")
@click.option(
    "--allow-missing",
    multiple=True,
    metavar="DEVICE",
    help="This device may be missing; '*' for any. Repeatable.",
)
@stored
@framed("md", "junit")
def gate(
    baseline: str, max_regression: str, run: str, allow_missing: tuple[str, ...], store: str | None
) -> Answer:
    """Fail on a real regression against a baseline, a broken budget, or a missing device."""
    from devicekit.fleet.gate import gate as judged

    limit = parse_share(max_regression, "--max-regression")
    with store_at(store) as opened:
        result = judged(opened, baseline=baseline, max_regression=limit, run=run, allow_missing=allow_missing)
    return Answer(result, error=result.error, is_told=True)


@fleet.command(epilog="Stop it with Ctrl-C: what it measures then is given to another host, or reported.")
@click.option("--scheduler", required=True, metavar="tcp://HOST:PORT", help="The dask scheduler.")
@_FLEET
@_WHERE
@framed()
def worker(scheduler: str, fleet: str | None, where: str | None) -> None:
    """Offer the devices of this host's fleet file to a dask scheduler, until Ctrl-C.

    Whoever reaches the scheduler runs code here: keep its port to machines you trust."""
    from devicekit.fleet.cluster import serve_devices
    from devicekit.fleet.where import devices_of, fleet_devices

    serve_devices(scheduler, [entry for entry, _ in devices_of(fleet_devices(fleet), where)])


def _refuse_plan(how: Any, making: Any, options: dict[str, Any]) -> None:
    """Raises UsageError where --resume comes with an option of the plan, which the run has of its own."""
    given = [name for name, value in options.items() if value not in (None, ())]
    for one in (how, making):
        given += [key.name for key in fields(one) if getattr(one, key.name) != key.default]
    if given:
        raise UsageError(
            f"--resume takes the run's own plan, and no {given[0].removesuffix('_s').replace('_', ' ')}",
            remedy="leave that out, or start a new run",
        )


def _making_of(options: dict[str, Any]) -> Any:
    """Takes the options of `building` and `loading` out of `options`, as a Making."""
    from devicekit.pipeline.making import Making

    given = {one.name: options.pop(one.name, None) for one in fields(Making)}
    return Making(**keep_given(given))
