"""`devicekit profile`: what there is and why, writing and probing one, and its latency model."""

import sys
from textwrap import fill
from typing import Any

import click

from devicekit.cli.frame import Answer, framed, show_text, wants, writing
from devicekit.cli.options import keep_given, measuring_of, on_device
from devicekit.errors import ProfileError, UsageError


@click.group()
def profile() -> None:
    """List, show, explain, write, probe, check and calibrate device profiles.

    A NAME is of the library (`devicekit profile list`); a FILE ends in .toml, or has a / in it."""


@profile.command("list")
@click.option("--all", "all_", is_flag=True, help="The bases, too, which other profiles extend.")
@framed(drawn=None)
def list_(all_: bool) -> Answer:
    """List the profiles that come with devicekit."""
    from devicekit.profile.lookup import list_profiles

    rows = list_profiles(bases=all_)
    return Answer(rows, {"schema": 1, "profiles": [row.to_json() for row in rows]})


@profile.command()
@click.argument("name")
@framed(drawn=None)
def show(name: str) -> Any:
    """Show profile NAME (or a file) with inheritance resolved: values, where each was set, sources."""
    from devicekit.profile.lookup import load_profile

    return load_profile(name)


@profile.command()
@click.argument("file")
@framed(drawn=None)
def check(file: str) -> Answer:
    """Check a profile FILE: every problem at once, with the nearest valid key; then what has no source."""
    from devicekit.profile.explain import unsourced
    from devicekit.profile.lookup import load_profile

    found = load_profile(file)
    without = unsourced(found)
    words = f"{file} is a valid profile: {found.title or found.name}\n"
    if without:
        named = fill(f"  no source: {', '.join(without)}", 100, subsequent_indent="    ")
        words += f"{named}\n  → say under [sources] where each comes from\n"
    return Answer(words, {**_valid(file, found.name), "unsourced": list(without)})


def _valid(file: str, name: str) -> dict[str, Any]:
    return {"schema": 1, "file": file, "profile": name, "ok": True, "problems": []}


@profile.command()
@click.argument("name")
@click.argument("key")
@framed(drawn=None)
def explain(name: str, key: str) -> Any:
    """Explain a KEY of profile NAME (or FILE): its value, what set it, what it wins over, its source.

    KEY is dotted, such as limits.memory_mib, or a table, such as limits."""
    from devicekit.profile.explain import explain as explained

    return explained(name, key)


@profile.command()
@click.argument("a")
@click.argument("b")
@framed(drawn=None)
def diff(a: str, b: str) -> Any:
    """Show where profiles A and B differ, inheritance resolved, and which file makes the difference."""
    from devicekit.profile.explain import diff as differing

    return differing(a, b)


@profile.command()
@click.argument("table", default="", metavar="[KEY|TABLE]")
@framed(drawn=None)
def keys(table: str) -> Any:
    """List the keys of a profile: type, unit, default, meaning; all, or those of a TABLE such as limits."""
    from devicekit.profile.keys import reference

    return reference(table)


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
@framed(drawn=None)
def new(name: str, **options: Any) -> Any:
    """Write a profile NAME.toml here: every key with its meaning, commented out, as the base has it."""
    from devicekit.profile.authoring import new_profile

    return new_profile(name, **keep_given(options))


@profile.command()
@on_device(default="auto")
@click.option("--from", "base", metavar="BASE", help="What it extends. Default: the base of its kind.")
@click.option("--output", "-o", metavar="FILE.toml", help="Write the profile there instead of stdout.")
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
@framed()
def probe(device: str, **options: Any) -> Answer:
    """Write a profile of the device on your desk: read its properties, cores, clocks, RAM, system and libc,
    and run a tiny model on it."""
    from devicekit.pipeline.probe import probe as probed

    measuring = measuring_of(options)
    found = probed(device, measuring=measuring, **keep_given(options))
    return Answer(found.document if found.path is None else found, found.to_json())


@profile.command(epilog="Exit codes: 0 the file is valid, 2 it is not.")
@click.argument("name")
@framed(drawn=None)
def edit(name: str) -> Answer:
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
    return Answer(f"{path} is a valid profile: {found.title or found.name}\n", _valid(str(path), found.name))


@profile.command(epilog="Then: devicekit predict MODEL --profile NAME, or devicekit profile accuracy NAME.")
@click.argument("name")
@click.option("--rows", metavar="FILE.csv", help="Columns model,latency_ms[,source]; model is a .tflite.")
@on_device(default="")
@click.option("--models", "count", type=click.IntRange(3, 40), help="Of the pack to measure. Default: 8.")
@click.option("--threads", type=click.IntRange(1, 256), help="Default: the profile's.")
@click.option("--dry-run", is_flag=True, help="Print what would be written, write nothing.")
@click.option("--output", "-o", metavar="FILE", help="The profile to write.")
@framed()
def calibrate(name: str, device: str, dry_run: bool, **options: Any) -> Any:
    """Calibrate the latency model of profile NAME: measure a pack of small models on a device, or take rows
    of measured models; fit, cross-validate, write it into the profile."""
    import devicekit

    measuring = measuring_of(options)
    return devicekit.calibrate(
        name, device=device or None, measuring=measuring, dry_run=dry_run, **keep_given(options)
    )


@profile.command()
@click.argument("name")
@framed(drawn=None)
def accuracy(name: str) -> Answer:
    """Show how far off the latency model of profile NAME is: each row predicted by a fit on the others."""
    from devicekit.pipeline.calibrate import accuracy as validated

    found = validated(name)
    for one in () if wants("json") else found:
        show_text(one)
    return Answer(None, {"schema": 1, "profile": name, "calibrations": [one.to_json() for one in found]})
