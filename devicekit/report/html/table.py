"""What the pages' tables are made of, and where their cells lead."""

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True)
class Place:
    """Where a page stands. A file carries its scripts; a served page has links, and scripts by a nonce."""

    is_served: bool = False
    nonce: str = ""


FILE = Place()


@dataclass(frozen=True)
class Column:
    """A column of a table: `is_number` aligns to the right."""

    title: str
    is_number: bool = False


@dataclass(frozen=True)
class Shown:
    """A cell of a table: what it shows, what it sorts by (None: what it shows), and where it leads."""

    text: str
    value: float | str | None = None
    kind: str = ""
    link: str = ""


def run_link(run: str, place: Place) -> str:
    return f"/runs/{run}" if place.is_served else ""


def model_link(model: str, place: Place) -> str:
    return f"/models/{quote(model, safe='')}" if place.is_served else ""


def device_link(device: str, place: Place) -> str:
    return f"/devices/{quote(device, safe='')}" if place.is_served else ""
