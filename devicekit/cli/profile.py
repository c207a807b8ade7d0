"""`devicekit profile`: list, show, check, calibrate, accuracy."""

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
)


@click.group()
def profile() -> None:
    """List, show, check and calibrate device profiles."""


@profile.command("list")
@common
def list_(format_: str, quiet: bool, verbose: bool) -> None:
    """List the profiles that come with devicekit."""
    from devicekit.profile.lookup import list_profiles

    rows = list_profiles()
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
    """Check a profile FILE: every problem at once, with the nearest valid key."""
    from devicekit.profile.lookup import load_profile

    found = load_profile(file)
    if format_ == "json":
        show_json({"schema": 1, "file": file, "profile": found.name, "ok": True, "problems": []})
    else:
        show_text(f"{file} is a valid profile: {found.title or found.name}\n")


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
    from devicekit.calibration import accuracy as validated

    found = validated(name)
    if format_ == "json":
        show_json({"schema": 1, "profile": name, "calibrations": [one.to_json() for one in found]})
        return
    for one in found:
        show_text(one)
