"""Writes a calibration into a profile's TOML; comments and order of the rest stay as they are."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from devicekit.predict.fit import CrossValidation, MeasuredRow, family_within, within
from devicekit.predict.roofline import Coefficients
from devicekit.profile.files import library
from devicekit.profile.schema import Calibration, Profile


def calibration_table(
    profile: Profile,
    rows: Sequence[MeasuredRow],
    coefficients: Coefficients,
    validation: CrossValidation,
    *,
    threads: int,
    precision: str,
) -> Calibration:
    """Returns the calibration as the profile holds it."""
    family = {level: family_within(validation, level) for level in (0.8, 0.9)}
    return Calibration.model_validate(
        {
            "runtime": profile.runtime.name,
            "version": profile.runtime.version,
            "delegate": profile.runtime.delegate,
            "threads": threads,
            "precision": precision,
            **{key: _rounded(value) for key, value in coefficients.to_json().items()},
            "within_80": _rounded(within(validation.left_out, 0.8)),
            "within_90": _rounded(within(validation.left_out, 0.9)),
            "family_within_80": _rounded(family[0.8]),
            "family_within_90": _rounded(family[0.9]),
            "ops": tuple(sorted(set().union(*(row.ops for row in rows)))),
            "rows": [
                {
                    "model": row.model,
                    "latency_ms": float(row.latency_ms),
                    "source": row.source,
                    "family": row.family,
                    "residual": round(residual, 4),
                    "work": [(w.kind, w.macs, w.bytes, w.count) for w in row.work],
                }
                for row, residual in zip(rows, validation.left_out, strict=True)
            ],
        }
    )


def target_of(profile: Profile, output: Path | None) -> Path:
    """Returns the file to write: the profile's own, or one beside the user for a profile that ships."""
    if output is not None:
        return output
    is_shipped = profile.path.resolve().parent == library().resolve()
    return Path(f"{profile.name}.calibrated.toml") if is_shipped else profile.path


def write_calibration(
    profile: Profile, calibration: Calibration, place: Path, *, dry_run: bool
) -> tuple[str, Path | None]:
    """Returns the TOML of the table, and where it was written: None for a dry run.

    A calibration for the same runtime, delegate, threads and precision is replaced.
    """
    import tomlkit

    if place.exists():
        document = tomlkit.parse(place.read_text(encoding="utf-8"))
    else:
        document = tomlkit.parse(f'schema = 1\nextends = "{_base(profile, place)}"\n')
    entry = _table(calibration)
    others = [
        one for one in document.get("calibration", ()) if _key(dict(one)) != _key(calibration.model_dump())
    ]
    tables = tomlkit.aot()
    for one in (*others, entry):
        tables.append(one)
    document["calibration"] = tables
    alone = tomlkit.document()
    alone["calibration"] = tomlkit.aot()
    alone["calibration"].append(_table(calibration))
    if not dry_run:
        place.write_text(tomlkit.dumps(document), encoding="utf-8")
    return tomlkit.dumps(alone), None if dry_run else place


def _base(profile: Profile, place: Path) -> str:
    if profile.path.resolve().parent == library().resolve():
        return profile.name
    return os.path.relpath(profile.path, place.parent)


def _key(table: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(table.get(key) for key in ("runtime", "version", "delegate", "threads", "precision"))


def _table(calibration: Calibration) -> Any:
    import tomlkit

    table = tomlkit.table()
    for key, value in calibration.model_dump().items():
        if key == "rows" or value is None:
            continue
        table[key] = list(value) if isinstance(value, tuple) else value
    rows = tomlkit.array()
    rows.multiline(True)
    for row in calibration.rows:
        inline = tomlkit.inline_table()
        for key, value in row.model_dump().items():
            inline[key] = [list(one) for one in value] if key == "work" else value
        rows.append(inline)
    table["rows"] = rows
    return table


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
