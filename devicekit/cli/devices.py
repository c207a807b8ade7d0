"""`devicekit devices` and `devicekit doctor`: what is there to measure on, and what is missing for it."""

from pathlib import Path

import click

from devicekit.cli.options import common, show_json, show_text, watched


@click.command()
@click.option("--fleet", metavar="FILE", help="Default: $DEVICEKIT_FLEET, ./fleet.toml, or the user's own.")
@common
def devices(fleet: str | None, format_: str, quiet: bool, verbose: bool) -> None:
    """List attached devices and the boards of the fleet file: state, facts, and the profile that matches."""
    from devicekit.device.discover import Devices, found_devices
    from devicekit.device.inventory import fleet_path, read_fleet

    with watched(quiet=quiet, verbose=verbose):
        found = Devices(tuple(found_devices(read_fleet(Path(fleet) if fleet else fleet_path()))))
    show_json([row.to_json() for row in found.rows]) if format_ == "json" else show_text(found)


@click.command(epilog="Exit codes: 0 nothing is missing, 4 something is.")
@common
def doctor(format_: str, quiet: bool, verbose: bool) -> int:
    """Check adb, keys, USB permissions, SSH, runtimes, disk and caches; say what to do for each."""
    from devicekit.doctor import examine

    with watched(quiet=quiet, verbose=verbose):
        diagnosis = examine()
    show_json(diagnosis.to_json()) if format_ == "json" else show_text(diagnosis)
    return 0 if diagnosis.is_healthy else 4
