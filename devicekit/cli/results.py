"""`devicekit results`: what the store holds. `devicekit store`: moving and looking after it."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from devicekit.cli.frame import Answer, framed, wants, writing
from devicekit.cli.options import store_at, stored
from devicekit.errors import UsageError


@click.group()
def results() -> None:
    """List, show and compare the runs that deploy and fleet run have filed."""


@results.command("list")
@click.option("--limit", type=click.IntRange(1, 100_000), default=20, help="The newest so many. Default: 20.")
@click.option("--kind", type=click.Choice(["deploy", "fleet"]), help="Only these.")
@stored
@framed()
def list_(limit: int, kind: str | None, store: str | None) -> Answer:
    """List runs, the newest first."""
    from devicekit.fleet.outcome import run_json
    from devicekit.store.reading import last_runs, states_of

    with store_at(store) as opened, opened.reading() as connection:
        runs = last_runs(connection, limit=limit, kind=kind)
        counts = states_of(connection, [run.id for run in runs])
    cells = [(run, counts.get(run.id, {})) for run in runs]
    document = [{**run_json(run), "cells": of_run} for run, of_run in cells]
    return Answer(tuple(cells), {"schema": 1, "runs": document})


@results.command("show")
@click.argument("run", default="last")
@stored
@framed("md", "csv", "html", "junit")
def show_(run: str, store: str | None) -> Any:
    """Show RUN (an id, a label, or last) of any kind."""
    from devicekit.fleet.outcome import run_report

    with store_at(store) as opened:
        return run_report(opened, run, kind=None, has_timeline=wants("html"))


@results.command()
@click.argument("first")
@click.argument("other")
@stored
@framed("md", "csv", "html", "junit")
def compare(first: str, other: str, store: str | None) -> Any:
    """Compare run OTHER with run FIRST, cell by cell, with significance."""
    from devicekit.fleet.outcome import run_report

    with store_at(store) as opened:
        return run_report(opened, other, baseline=first, kind=None, has_timeline=wants("html"))


@click.group()
def store() -> None:
    """Export, import and look after the store of results."""


@store.command("export")
@click.option("--output", "-o", metavar="FILE.jsonl", help="Default: stdout.")
@stored
@framed()
def export_(store: str | None, output: str | None) -> None:
    """Write all that the store holds as JSON lines, streamed."""
    from devicekit.store.transfer import export

    with store_at(store) as opened, writing(output) as file:
        for line in export(opened):
            file.write(line)


@store.command("import")
@click.argument("file")
@stored
@framed()
def import_(file: str, store: str | None) -> Answer:
    """Add the runs of FILE (- for stdin) of `store export`; what is there stays as it is."""
    from devicekit.store.transfer import import_ as take

    with ExitStack() as stack:
        try:
            lines: Any = sys.stdin if file == "-" else stack.enter_context(open(file, encoding="utf-8"))
            opened = stack.enter_context(store_at(store))
            added, skipped = take(opened, lines, name=file)
        except (OSError, UnicodeDecodeError) as error:
            words = getattr(error, "strerror", None) or str(error)
            raise UsageError(
                f"{file}: {words}", remedy="give a file that `devicekit store export` wrote"
            ) from error
    words = f"added {added:,} cells" + (f"; {skipped:,} were there\n" if skipped else "\n")
    return Answer(words, {"schema": 1, "added": added, "skipped": skipped})


@store.command("vacuum")
@stored
@framed()
def vacuum_(store: str | None) -> Answer:
    """Give back the space of what was deleted, and refresh the planner's statistics."""
    from devicekit import words as fmt
    from devicekit.store.transfer import vacuum

    with store_at(store) as opened:
        path = Path(opened.name)
        before = path.stat().st_size if path.is_file() else None
        vacuum(opened)
        after = path.stat().st_size if path.is_file() else None
    sizes = "" if after is None else f": {fmt.size(before)} → {fmt.size(after)}"
    document = {"schema": 1, "store": opened.name, "bytes_before": before, "bytes_after": after}
    return Answer(f"vacuumed {opened.name}{sizes}\n", document)


@store.command("schema")
@framed(drawn=None)
def schema_() -> Answer:
    """Print the schema: every table and column, with what it means."""
    from devicekit.store.schema import HEAD, described, metadata

    tables = {
        table.name: [
            {"name": column.name, "type": str(column.type), "comment": column.comment}
            for column in table.columns
        ]
        for table in metadata.sorted_tables
    }
    return Answer("".join(described()), {"schema": 1, "revision": HEAD, "tables": tables})
