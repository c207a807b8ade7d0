"""How profiles read on a terminal."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from devicekit import words as fmt
from devicekit.report.text import columns, escape, labelled

if TYPE_CHECKING:
    from devicekit.pipeline.probe import Probed
    from devicekit.profile.authoring import Written
    from devicekit.profile.explain import Explanation, ProfileDiff
    from devicekit.profile.keys import Key, Reference
    from devicekit.profile.lookup import Origin, ProfileRow
    from devicekit.profile.schema import Profile


def list_lines(rows: "Sequence[ProfileRow]") -> Iterator[Any]:
    """Yields one line per profile."""
    yield columns(
        ("profile", "device", "runtime", "file", "memory"),
        [
            tuple(
                fmt.UNKNOWN if value is None else escape(str(value))
                for value in (
                    row.name,
                    row.title,
                    row.runtime,
                    _size(row.model_mib, row.model_kib),
                    _size(row.memory_mib, row.arena_kib),
                )
            )
            for row in rows
        ],
        left=3,
    )
    yield "\n→ `devicekit profile show NAME` says all of one; `profile probe` writes one of a device of yours"


def _size(mib: float | None, kib: float | None) -> str | None:
    """Returns "64 MiB", or "128 KiB" of a microcontroller."""
    return f"{kib:g} KiB" if kib is not None else None if mib is None else f"{mib:g} MiB"


def lines(profile: "Profile") -> Iterator[Any]:
    """Yields every key that has a value, with the file that set it, then the sources."""
    from devicekit.profile.lookup import origins

    yield f"[bold]{escape(profile.title or profile.name)}[/]"
    yield ""
    yield columns(
        ("key", "value", "set in"),
        [
            (key, escape(_calibrations(profile) if key == "calibration" else _value(one.value)), one.place)
            for key, one in origins(profile).items()
        ],
        left=3,
    )
    if profile.sources:
        yield "\n[bold]sources[/]"
        yield labelled([(f"{key}  ", escape(source)) for key, source in profile.sources.items()])


def _calibrations(profile: "Profile") -> str:
    return "; ".join(f"{one.label}: {fmt.plural(len(one.rows), 'model')}" for one in profile.calibration)


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def key_lines(reference: "Reference") -> Iterator[Any]:
    """Yields a line per key: type, unit, default, meaning; of one key all of it."""
    if len(reference.keys) == 1:
        (key,) = reference.keys
        yield f"[bold]{escape(key.name)}[/]"
        yield labelled(
            [
                ("  meaning  ", escape(key.meaning)),
                ("  type  ", escape(key.type)),
                *([("  unit  ", escape(key.unit))] if key.unit else []),
                ("  default  ", escape(_default(key))),
            ]
        )
        return
    yield columns(
        ("key", "meaning, type, default"),
        [
            (escape(key.name), f"{escape(key.meaning)}\n[dim]{escape(_kind(key))}[/]")
            for key in reference.keys
        ],
        left=2,
    )
    yield "\n→ `devicekit profile keys limits` lists a table, `devicekit profile explain NAME KEY` a value"


def _default(key: "Key") -> str:
    return "required" if key.is_required else key.default or "absent"


def _kind(key: "Key") -> str:
    """Returns "whole number, MiB; absent": type, unit and default."""
    unit = f", {key.unit}" if key.unit else ""
    return f"{key.type}{unit}; {_default(key)}"


def explain_lines(explanation: "Explanation") -> Iterator[Any]:
    """Yields, for each key, its value, where it was set, what that overrides, and its source."""
    for index, one in enumerate(explanation.keys):
        if index:
            yield ""
        unit = f" {one.key.unit}" if one.key.unit and one.origin else ""
        value = "absent" if one.origin is None else _value(one.origin.value)
        yield f"[bold]{escape(one.key.name)}[/] = {escape(value)}{escape(unit)}"
        rows = [("  meaning  ", one.key.meaning)]
        if one.origin is None:
            rows.append(("  set in  ", f"no file of {explanation.profile}; nobody gave it"))
        elif one.follows is not None:
            parts = [f"{key} {_value(of.value)} ({of.place})" for key, of in one.follows.items()]
            rows.append(("  follows  ", " × ".join(parts)))
        else:
            rows.append(("  set in  ", one.origin.place))
        for file, overridden in one.overridden:
            rows.append(("  wins over  ", f"{_value(overridden)} ({file})"))
        if one.follows is not None:
            for key, of in one.follows.items():
                rows.append(("  source  ", f"{key}: {of.source or 'not given'}"))
        elif one.origin is not None and one.origin.file is not None:
            rows.append(("  source  ", one.origin.source or "not given"))
        yield labelled([(label, escape(text)) for label, text in rows])


def diff_lines(diff: "ProfileDiff") -> Iterator[Any]:
    """Yields a line per key that differs, with the file that makes the difference under each value."""
    if not diff.differences:
        yield f"{escape(diff.ours)} and {escape(diff.theirs)} do not differ: {diff.same} keys"
        return
    rows = []
    for one in diff.differences:
        rows.append(
            (f"[bold]{escape(one.key)}[/]", *(_side(side, one.key) for side in (one.ours, one.theirs)))
        )
    yield columns(("key", escape(diff.ours), escape(diff.theirs)), rows, left=3)
    differ = "1 key differs" if len(diff.differences) == 1 else f"{len(diff.differences)} keys differ"
    yield f"\n{differ}, {diff.same} are the same"


def _side(origin: "Origin | None", key: str) -> str:
    if origin is None:
        return fmt.UNKNOWN
    value = fmt.plural(len(origin.value), "table") if key == "calibration" else _value(origin.value)
    return f"{escape(value)}\n[dim]{escape(origin.place)}[/]"


def written_lines(written: "Written") -> Iterator[Any]:
    """Yields what was written, and what to do with it."""
    yield labelled(
        [
            ("written  ", escape(f"{written.path}, extends {written.profile.extends}")),
            ("  ", escape(f"{written.schema.name} beside it: editors complete and check by it")),
        ]
    )
    yield f"→ edit it, then `devicekit profile check {escape(str(written.path))}`"


def probed_lines(probed: "Probed") -> Iterator[Any]:
    """Yields what was read of a device and how, what was not, and where the profile is."""
    facts = probed.facts
    about = ", ".join(filter(None, (facts.model or "a device", facts.os)))
    virtual = f"; emulated: {facts.virtual}" if facts.virtual else ""
    rows = [("device  ", f"{facts.address}  {about}{virtual}")]
    for match in probed.ranking.matches:
        rows.append(("matches  ", f"{match.profile}, which ships: {match.why}"))
    rows += [(f"{one.delegate}  ", one.in_words) for one in probed.trials]
    yield labelled([(label, escape(text)) for label, text in rows])
    yield ""
    yield columns(
        ("key", "value", "read from"),
        [tuple(map(escape, (one.key, _value(one.value), one.source))) for one in probed.values],
        left=3,
    )
    if probed.unread:
        yield labelled([("not read  ", escape(", ".join(probed.unread)))])
    yield ""
    limits = ", ".join(f"{key} {value:g}" for key, value in probed.limits.items())
    rows = [("written  ", f"{probed.path}, extends {probed.base}")]
    if limits:
        rows.append(("limits  ", f"{limits}: by the rule of {probed.base}"))
    yield labelled([(label, escape(text)) for label, text in rows])
    place = probed.path if probed.path is None or probed.path.parent.name else f"./{probed.path}"
    yield f"→ `devicekit deploy MODEL --profile {escape(str(place))} --device {escape(facts.address)}`"
