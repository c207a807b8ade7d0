"""`devicekit results`: what the store holds. `devicekit store`: moving and looking after it."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from devicekit.cli.options import common, common_with, show, show_json, show_text, stored, watched
from devicekit.errors import UsageError


@click.group()
def results() -> None:
    """List, show and compare the runs that deploy and fleet run have filed."""


@results.command("list")
@click.option("--limit", type=click.IntRange(1, 100_000), default=20, help="The newest so many. Default: 20.")
@click.option("--kind", type=click.Choice(["deploy", "fleet"]), help="Only these.")
@stored
@common
def list_(limit: int, kind: str | None, store: str | None, format_: str, quiet: bool, verbose: bool) -> None:
    """List runs, the newest first."""
    from devicekit.fleet.outcome import run_json
    from devicekit.store.open import open_store
    from devicekit.store.reading import last_runs, states_of

    with watched(quiet=quiet, verbose=verbose), open_store(store) as opened, opened.reading() as connection:
        runs = last_runs(connection, limit=limit, kind=kind)
        counts = states_of(connection, [run.id for run in runs])
    if format_ == "json":
        show_json({"schema": 1, "runs": [{**run_json(run), "cells": counts.get(run.id, {})} for run in runs]})
    else:
        show_text(tuple((run, counts.get(run.id, {})) for run in runs))


@results.command("show")
@click.argument("run", default="last")
@stored
@common_with("md", "csv", "html", "junit")
def show_(run: str, store: str | None, output: str | None, format_: str, quiet: bool, verbose: bool) -> None:
    """Show RUN (an id, a label, or last) of any kind."""
    from devicekit.fleet.outcome import run_report
    from devicekit.store.open import open_store

    with watched(quiet=quiet, verbose=verbose), open_store(store) as opened:
        found = run_report(opened, run, kind=None, has_timeline=format_ == "html")
    show(found, format_, output)


@results.command()
@click.argument("first")
@click.argument("other")
@stored
@common_with("md", "csv", "html", "junit")
def compare(
    first: str, other: str, store: str | None, output: str | None, format_: str, quiet: bool, verbose: bool
) -> None:
    """Compare run OTHER with run FIRST, cell by cell, with significance."""
    from devicekit.fleet.outcome import run_report
    from devicekit.store.open import open_store

    with watched(quiet=quiet, verbose=verbose), open_store(store) as opened:
        found = run_report(opened, other, baseline=first, kind=None, has_timeline=format_ == "html")
    show(found, format_, output)


@click.group()
def store() -> None:
    """Export, import and look after the store of results."""


@store.command("export")
@click.option("--output", "-o", metavar="FILE.jsonl", help="Default: stdout.")
@stored
@common
def export_(store: str | None, output: str | None, format_: str, quiet: bool, verbose: bool) -> None:
    """Write all that the store holds as JSON lines, streamed."""
    from devicekit.cli.options import writing
    from devicekit.store.open import open_store
    from devicekit.store.transfer import export

    with watched(quiet=quiet, verbose=verbose), open_store(store) as opened, writing(output) as file:
        for line in export(opened):
            file.write(line)


@store.command("import")
@click.argument("file")
@stored
@common
def import_(file: str, store: str | None, format_: str, quiet: bool, verbose: bool) -> None:
    """Add the runs of FILE (- for stdin) of `store export`; what is there stays as it is."""
    from devicekit.store.open import open_store
    from devicekit.store.transfer import import_ as take

    with ExitStack() as stack:
        stack.enter_context(watched(quiet=quiet, verbose=verbose))
        try:
            lines: Any = sys.stdin if file == "-" else stack.enter_context(open(file, encoding="utf-8"))
            opened = stack.enter_context(open_store(store))
            added, skipped = take(opened, lines, name=file)
        except (OSError, UnicodeDecodeError) as error:
            words = getattr(error, "strerror", None) or str(error)
            raise UsageError(
                f"{file}: {words}", remedy="give a file that `devicekit store export` wrote"
            ) from error
    if format_ == "json":
        show_json({"schema": 1, "added": added, "skipped": skipped})
    else:
        show_text(f"added {added:,} cells" + (f"; {skipped:,} were there\n" if skipped else "\n"))


@store.command("vacuum")
@stored
@common
def vacuum_(store: str | None, format_: str, quiet: bool, verbose: bool) -> None:
    """Give back the space of what was deleted, and refresh the planner's statistics."""
    from devicekit import words as fmt
    from devicekit.store.open import open_store
    from devicekit.store.transfer import vacuum

    with watched(quiet=quiet, verbose=verbose), open_store(store) as opened:
        path = Path(opened.name)
        before = path.stat().st_size if path.is_file() else None
        vacuum(opened)
        after = path.stat().st_size if path.is_file() else None
    if format_ == "json":
        show_json({"schema": 1, "store": opened.name, "bytes_before": before, "bytes_after": after})
    else:
        sizes = "" if after is None else f": {fmt.size(before)} → {fmt.size(after)}"
        show_text(f"vacuumed {opened.name}{sizes}\n")


@store.command("schema")
@common
def schema_(format_: str, quiet: bool, verbose: bool) -> None:
    """Print the schema: every table and column, with what it means."""
    from devicekit.store.schema import HEAD, described, metadata

    if format_ == "json":
        tables = {
            table.name: [
                {"name": column.name, "type": str(column.type), "comment": column.comment}
                for column in table.columns
            ]
            for table in metadata.sorted_tables
        }
        show_json({"schema": 1, "revision": HEAD, "tables": tables})
    else:
        show_text("".join(described()))
