"""`devicekit devices` and `devicekit doctor`: what is there to measure on, and what is missing for it."""

from pathlib import Path

import click

from devicekit.cli.frame import Answer, framed


@click.command()
@click.option("--fleet", metavar="FILE", help="Default: $DEVICEKIT_FLEET, ./fleet.toml, or the user's own.")
@framed()
def devices(fleet: str | None) -> Answer:
    """List attached devices and the boards of the fleet file: state, facts, and the profile that matches."""
    from devicekit.device.discover import Devices, found_devices
    from devicekit.device.inventory import fleet_path, read_fleet

    found = Devices(tuple(found_devices(read_fleet(Path(fleet) if fleet else fleet_path()))))
    return Answer(found, [row.to_json() for row in found.rows])


@click.command(epilog="Exit codes: 0 nothing is missing, 4 something is.")
@framed()
def doctor() -> Answer:
    """Check adb, keys, USB permissions, SSH, runtimes, disk and caches; say what to do for each."""
    from devicekit.doctor import examine

    diagnosis = examine()
    return Answer(diagnosis, code=0 if diagnosis.is_healthy else 4)
