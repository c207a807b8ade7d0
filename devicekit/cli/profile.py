"""`devicekit profile`: what there is and why, writing and probing one, and its latency model."""

import sys
from textwrap import fill
from typing import Any

import click

from devicekit.cli.options import (
    common,
    keep_given,
    measuring_of,
    on_device,
    show_json,
    show_text,
    watched,
    writing,
)
from devicekit.errors import ProfileError, UsageError


@click.group()
def profile() -> None:
    """List, show, explain, write, probe, check and calibrate device profiles.

    A NAME is of the library (`devicekit profile list`); a FILE ends in .toml, or has a / in it."""


@profile.command("list")
@click.option("--all", "all_", is_flag=True, help="The bases, too, which other profiles extend.")
@common
def list_(all_: bool, format_: str, quiet: bool, verbose: bool) -> None:
    """List the profiles that come with devicekit."""
    from devicekit.profile.lookup import list_profiles

    rows = list_profiles(bases=all_)
    show_json({"schema": 1, "profiles": [row.to_json() for row in rows]}) if format_ == "json" else show_text(
        rows
    )


@profile.command()
@click.argument("name")
@common
def show(name: str, format_: str, quiet: bool, verbose: bool) -> None:
    """Show profile NAME (or a file) with inheritance resolved: values, where each was set, sources."""
    from devicekit.profile.lookup import load_profile

    found = load_profile(name)
    show_json(found.to_json()) if format_ == "json" else show_text(found)


@profile.command()
@click.argument("file")
@common
def check(file: str, format_: str, quiet: bool, verbose: bool) -> None:
    """Check a profile FILE: every problem at once, with the nearest valid key; then what has no source."""
    from devicekit.profile.explain import unsourced
    from devicekit.profile.lookup import load_profile

    found = load_profile(file)
    without = unsourced(found)
    if format_ == "json":
        document = {"schema": 1, "file": file, "profile": found.name, "ok": True, "problems": []}
        show_json({**document, "unsourced": list(without)})
        return
    words = f"{file} is a valid profile: {found.title or found.name}\n"
    if without:
        named = fill(f"  no source: {', '.join(without)}", 100, subsequent_indent="    ")
        words += f"{named}\n  → say under [sources] where each comes from\n"
    show_text(words)


@profile.command()
@click.argument("name")
@click.argument("key")
@common
def explain(name: str, key: str, format_: str, quiet: bool, verbose: bool) -> None:
    """Explain a KEY of profile NAME (or FILE): its value, what set it, what it wins over, its source.

    KEY is dotted, such as limits.memory_mib, or a table, such as limits."""
    from devicekit.profile.explain import explain as explained

    found = explained(name, key)
    show_json(found.to_json()) if format_ == "json" else show_text(found)


@profile.command()
@click.argument("a")
@click.argument("b")
@common
def diff(a: str, b: str, format_: str, quiet: bool, verbose: bool) -> None:
    """Show where profiles A and B differ, inheritance resolved, and which file makes the difference."""
    from devicekit.profile.explain import diff as differing

    found = differing(a, b)
    show_json(found.to_json()) if format_ == "json" else show_text(found)


@profile.command()
@click.argument("table", default="", metavar="[KEY|TABLE]")
@common
def keys(table: str, format_: str, quiet: bool, verbose: bool) -> None:
    """List the keys of a profile: type, unit, default, meaning; all, or those of a TABLE such as limits."""
    from devicekit.profile.keys import reference

    found = reference(table)
    show_json(found.to_json()) if format_ == "json" else show_text(found)


@profile.command()
@click.option("--output", "-o", metavar="FILE", help="Write it there instead of stdout.")
def schema(output: str | None) -> None:
    """Print the JSON Schema of profiles, with which editors complete and check them.

    `profile new` and `profile probe -o` write it beside the profile, whose first line names it."""
    import json

    from devicekit.profile.json_schema import json_schema

    text = json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"
    with writing(output) as file:
        file.write(text)


@profile.command()
@click.argument("name")
@click.option("--from", "base", metavar="BASE", help="What it extends. Default: _android-arm64.")
@click.option("--output", "-o", metavar="FILE", help="Default: NAME.toml.")
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
@common
def new(name: str, format_: str, quiet: bool, verbose: bool, **options: Any) -> None:
    """Write a profile NAME.toml here: every key with its meaning, commented out, as the base has it."""
    from devicekit.profile.authoring import new_profile

    found = new_profile(name, **keep_given(options))
    show_json(found.to_json()) if format_ == "json" else show_text(found)


@profile.command()
@on_device(default="auto")
@click.option("--from", "base", metavar="BASE", help="What it extends. Default: the base of its kind.")
@click.option("--output", "-o", metavar="FILE.toml", help="Write the profile there instead of stdout.")
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
@common
def probe(device: str, format_: str, quiet: bool, verbose: bool, **options: Any) -> None:
    """Write a profile of the device on your desk: read its properties, cores, clocks, RAM, system and libc,
    and run a tiny model on it."""
    from devicekit.pipeline.probe import probe as probed

    measuring = measuring_of(options)
    with watched(quiet=quiet, verbose=verbose):
        found = probed(device, measuring=measuring, **keep_given(options))
    if format_ == "json":
        show_json(found.to_json())
    elif found.path is None:
        click.echo(found.document, nl=False)
    else:
        show_text(found)


@profile.command(epilog="Exit codes: 0 the file is valid, 2 it is not.")
@click.argument("name")
@common
def edit(name: str, format_: str, quiet: bool, verbose: bool) -> None:
    """Open profile FILE in $EDITOR, and check it when the editor closes; mistakes can be mended at once."""
    from devicekit.profile.authoring import editable
    from devicekit.profile.lookup import load_profile

    path = editable(name)
    while True:
        try:
            click.edit(filename=str(path))
        except click.ClickException as error:
            raise UsageError(
                error.message, remedy=f"set EDITOR to the command of an editor, or change {path} in one"
            ) from None
        try:
            found = load_profile(path)
            break
        except ProfileError as error:
            if not sys.stdin.isatty():
                raise
            click.echo(f"{error.message}", err=True)
            if not click.confirm("edit it again?", default=True, err=True):
                raise
    if format_ == "json":
        show_json({"schema": 1, "file": str(path), "profile": found.name, "ok": True, "problems": []})
    else:
        show_text(f"{path} is a valid profile: {found.title or found.name}\n")


@profile.command(epilog="Then: devicekit predict MODEL --profile NAME, or devicekit profile accuracy NAME.")
@click.argument("name")
@click.option("--rows", metavar="FILE.csv", help="Columns model,latency_ms[,source]; model is a .tflite.")
@on_device(default="")
@click.option("--models", "count", type=click.IntRange(3, 40), help="Of the pack to measure. Default: 8.")
@click.option("--threads", type=click.IntRange(1, 256), help="Default: the profile's.")
@click.option("--dry-run", is_flag=True, help="Print what would be written, write nothing.")
@click.option("--output", "-o", metavar="FILE", help="The profile to write.")
@common
def calibrate(
    name: str, device: str, format_: str, quiet: bool, verbose: bool, dry_run: bool, **options: Any
) -> None:
    """Calibrate the latency model of profile NAME: measure a pack of small models on a device, or take rows
    of measured models; fit, cross-validate, write it into the profile."""
    import devicekit

    measuring = measuring_of(options)
    with watched(quiet=quiet, verbose=verbose):
        found = devicekit.calibrate(
            name, device=device or None, measuring=measuring, dry_run=dry_run, **keep_given(options)
        )
    show_json(found.to_json()) if format_ == "json" else show_text(found)


@profile.command()
@click.argument("name")
@common
def accuracy(name: str, format_: str, quiet: bool, verbose: bool) -> None:
    """Show how far off the latency model of profile NAME is: each row predicted by a fit on the others."""
    from devicekit.pipeline.calibrate import accuracy as validated

    found = validated(name)
    if format_ == "json":
        show_json({"schema": 1, "profile": name, "calibrations": [one.to_json() for one in found]})
        return
    for one in found:
        show_text(one)
