"""Calibrates a profile's latency model: rows of measured models -> coefficients, cross-validated, as TOML."""

import csv
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from devicekit import progress
from devicekit.errors import LoadError, MeasurementError, UsageError
from devicekit.graph.model import Graph
from devicekit.graph.read import read_graph
from devicekit.measurement import Measurement, spread
from devicekit.pipeline.calibration_file import calibration_table, target_of, write_calibration
from devicekit.pipeline.measure import measure
from devicekit.predict.fit import (
    LEAST_ROWS,
    PRIORS,
    CrossValidation,
    MeasuredRow,
    cross_validate,
    fit,
)
from devicekit.predict.latency import coefficients_of, work_of_row
from devicekit.predict.pack import chosen
from devicekit.predict.roofline import Coefficients, isa_of, precision_of
from devicekit.predict.work import unpredictable, work_of
from devicekit.profile.lookup import load_profile
from devicekit.profile.schema import Calibration, CalibrationRow, Profile
from devicekit.runner.measuring import NO_WISHES, Measuring

# JSON schema history: 1, the first version.
SCHEMA = 1
# Rows that the model cannot explain better than this are wrong, or of several devices.
MOST_ERROR = 0.20
# Of a measurement's samples: what is noisier tells little.
MOST_SPREAD = 0.20
PACK_SIZE = 8
TOLERANCES = (0.1, 0.2, 0.3)


@dataclass(frozen=True)
class Calibrated:
    """A calibration as it is written. `path` is None where nothing was, `document` the TOML of its table."""

    profile: str
    label: str
    rows: tuple[MeasuredRow, ...]
    coefficients: Coefficients
    validation: CrossValidation
    document: str
    path: Path | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "profile": self.profile,
            "calibration": self.label,
            "path": None if self.path is None else str(self.path),
            "coefficients": self.coefficients.to_json(),
            **validation_json(self.rows, self.validation),
        }


def calibrate(
    profile: str | Path | Profile,
    *,
    rows: str | Path | None = None,
    device: str | None = None,
    measuring: Measuring | None = None,
    threads: int | None = None,
    count: int = PACK_SIZE,
    dry_run: bool = False,
    output: str | Path | None = None,
) -> Calibrated:
    """Returns the calibration of `profile` by a CSV of `rows`, or by the pack measured on `device`; writes
    it.

    It replaces the one for the same runtime, delegate, threads and precision in the profile's file; for a
    profile that ships with devicekit it goes into NAME.calibrated.toml here, which extends it, or `output`.
    Raises UsageError for rows that cannot be used, MeasurementError where their spread is too large.
    """
    target = load_profile(profile) if isinstance(profile, str | Path) else profile
    if (rows is None) == (device is None):
        raise UsageError("give either --rows or --device", remedy="--rows FILE.csv, or --device auto")
    if target.runtime.delegate not in ("xnnpack", "none"):
        what = f"latency on the {target.runtime.delegate} delegate follows no formula"
        raise UsageError(what, remedy="measure each model there: devicekit measure --device")
    if rows is not None:
        found, precision = read_rows(Path(rows))
    else:
        assert device is not None
        found, precision = measured_pack(
            target, device, measuring, threads=threads, count=count, dry_run=dry_run
        )
    prior = prior_of(target)
    coefficients = fit(found, prior)
    validation = cross_validate(found, prior)
    if (error := validation.mean_error()) > MOST_ERROR:
        worst = max(zip(validation.left_out, found, strict=True), key=lambda pair: abs(pair[0]))
        raise MeasurementError(
            f"the rows contradict each other: left out one by one they are {error:.0%} off on average, "
            f"at most {MOST_ERROR:.0%} is sensible; the worst is {worst[1].model}",
            remedy="measure them again, one runtime and one number of threads for all; see --dry-run",
        )
    table = calibration_table(
        target,
        found,
        coefficients,
        validation,
        threads=threads or target.runtime.threads,
        precision=precision,
    )
    place = target_of(target, Path(output) if output else None)
    document, written = write_calibration(target, table, place, dry_run=dry_run)
    return Calibrated(target.name, table.label, tuple(found), coefficients, validation, document, written)


def accuracy(profile: str | Path | Profile) -> list[Calibrated]:
    """Returns the cross-validation of every calibration in `profile`, computed anew from its rows.

    Raises UsageError where there is none.
    """
    target = load_profile(profile) if isinstance(profile, str | Path) else profile
    if not target.calibration:
        raise UsageError(
            f"{target.name} has no calibration",
            remedy=f"devicekit profile calibrate {target.name} --device auto, or --rows FILE.csv",
        )
    results = []
    for one in target.calibration:
        rows = tuple(_row_of(row, one) for row in one.rows)
        validation = cross_validate(rows, prior_of(target))
        label = one.label
        results.append(
            Calibrated(target.name, label, rows, coefficients_of(one), validation, "", target.path)
        )
    return results


def validation_json(rows: Sequence[MeasuredRow], validation: CrossValidation) -> dict[str, Any]:
    """Returns the cross-validation as scripts read it."""
    return {
        "mean_error": validation.mean_error(),
        "family_error": validation.family_error(),
        "hit_rates": {f"{tolerance:.0%}": validation.hit_rate(tolerance) for tolerance in TOLERANCES},
        "covered_80": validation.covered_80,
        "covered_90": validation.covered_90,
        "rows": [
            {
                "model": row.model,
                "latency_ms": row.latency_ms,
                "source": row.source,
                "family": row.family,
                "residual": left,
                "family_residual": family,
            }
            for row, left, family in zip(rows, validation.left_out, validation.family_left_out, strict=True)
        ],
    }


def prior_of(profile: Profile) -> Coefficients:
    """Returns what is known of the coefficients' ratios before any row."""
    return PRIORS[isa_of(profile.device.abi)]


def family_of(model: str) -> str:
    """Returns the family that a model's name begins with: "mobilenet_v1" of "mobilenet_v1_0.25_128"."""
    words: list[str] = []
    for word in model.replace("-", "_").split("_"):
        if words and not word.isalpha() and not (word[:1] == "v" and words[-1] == "mobilenet"):
            break
        words.append(word)
        if word[:1] == "v" and word[1:].isdecimal():
            break
    return "_".join(words[:2]) if words[0] == "mobilenet" else words[0]


def read_rows(path: Path) -> tuple[list[MeasuredRow], str]:
    """Returns the rows of a CSV `model,latency_ms[,source]` and their precision; `model` is a .tflite.

    Paths are relative to the CSV. Raises UsageError with all problems at once.
    """
    records = _records(path)
    problems: list[str] = []
    rows: list[MeasuredRow] = []
    precisions: dict[str, str] = {}
    seen: dict[str, tuple[int, float]] = {}
    for number, record in enumerate(records, start=2):
        where, name = f"line {number}", (record.get("model") or "").strip()
        latency = _latency(record.get("latency_ms"))
        if latency is None:
            problems.append(f"{where}: latency_ms is {record.get('latency_ms')!r}, must be a number above 0")
            continue
        try:
            graph = read_graph(path.parent / name)
        except LoadError as error:
            problems.append(f"{where}: {error.message}")
            continue
        if reason := unpredictable(graph):
            problems.append(f"{where}: {Path(name).name}: {reason}")
            continue
        if graph.sha256 in seen:
            line, before = seen[graph.sha256]
            apart = max(latency, before) / min(latency, before) - 1
            both = f"{before:g} and {latency:g} ms, spread {apart:.0%}"
            problems.append(f"{where}: {Path(name).name} is the model of line {line} again ({both})")
            continue
        seen[graph.sha256] = (number, latency)
        model = Path(name).name.removesuffix(".tflite")
        precisions[model] = precision_of(graph)
        rows.append(measured_row(graph, model, latency, (record.get("source") or "").strip() or path.name))
    problems += _mixed(precisions)
    if not problems and len(rows) < LEAST_ROWS:
        problems.append(f"{len(rows)} rows, at least {LEAST_ROWS} are needed")
    if problems:
        raise UsageError(
            f"{path}: {len(problems)} problem{'s' if len(problems) > 1 else ''}\n  " + "\n  ".join(problems),
            remedy="correct the rows, run it again",
        )
    return rows, next(iter(precisions.values()))


def measured_row(graph: Graph, model: str, latency_ms: float, source: str) -> MeasuredRow:
    ops = frozenset(op.label for op in graph.main.ops)
    return MeasuredRow(model, latency_ms, source, family_of(model), work_of(graph), ops)


def measured_pack(
    profile: Profile,
    device: str,
    measuring: Measuring | None,
    *,
    threads: int | None,
    count: int,
    dry_run: bool,
) -> tuple[list[MeasuredRow], str]:
    """Returns the rows of the calibration pack, measured on `device`, and their precision."""
    if not count >= LEAST_ROWS:
        raise UsageError(f"{count} models", remedy=f"at least {LEAST_ROWS} are needed: --models {PACK_SIZE}")
    pack = chosen(count, prior_of(profile))
    rows: list[MeasuredRow] = []
    with tempfile.TemporaryDirectory(prefix="devicekit-pack-") as folder:
        for number, (candidate, content) in enumerate(pack, start=1):
            path = Path(folder) / f"{candidate.name}.tflite"
            path.write_bytes(content)
            progress.report("calibrate", detail=f"{number} of {len(pack)}: {candidate.name}")
            measurement = measure(
                path, profile=profile, device=device, measuring=measuring or NO_WISHES, threads=threads
            )
            _refuse(measurement, dry_run=dry_run)
            source = f"{measurement.evidence} by devicekit on {measurement.device}, {date.today():%Y-%m-%d}"
            median_ms = measurement.latency.typical_us / 1000
            rows.append(measured_row(read_graph(path), candidate.name, median_ms, source))
    return rows, "float32"


def _refuse(measurement: Measurement, *, dry_run: bool) -> None:
    """Raises MeasurementError for a latency that is not the device's, or that is too noisy."""
    if dry_run:
        return
    if measurement.evidence != "measured":
        raise MeasurementError(
            f"{measurement.device} is not the profile's device: its latencies are {measurement.evidence}",
            remedy="name the real one with --device, or look at what this one gives with --dry-run",
        )
    width = spread(measurement.latency.samples_us)
    if width is not None and width > MOST_SPREAD:
        raise MeasurementError(
            f"{measurement.model} varies by {width:.0%} on {measurement.device}, "
            f"at most {MOST_SPREAD:.0%} is usable",
            remedy="let the device cool down and end what runs there, or pin its clock with --pin-governor",
        )


def _records(path: Path) -> list[Mapping[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            records = list(reader)
            names = [name.strip() for name in reader.fieldnames or ()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        words = error.strerror if isinstance(error, OSError) else "is no CSV file"
        raise UsageError(
            f"{path}: {words}", remedy="give a CSV with the columns model,latency_ms,source"
        ) from error
    missing = [name for name in ("model", "latency_ms") if name not in names]
    if missing:
        raise UsageError(
            f"{path}: has no column {' and '.join(missing)}, but {', '.join(names) or 'none'}",
            remedy="name the columns model,latency_ms,source on the first line",
        )
    return [{(key or "").strip(): value for key, value in record.items()} for record in records]


def _latency(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 < value < 1e9 else None


def _mixed(precisions: Mapping[str, str]) -> list[str]:
    counts = Counter(precisions.values())
    problems = [
        f"{model}: computes on several dtypes" for model, found in precisions.items() if found == "mixed"
    ]
    if len(counts) > 1:
        words = ", ".join(f"{count} {name}" for name, count in counts.most_common())
        problems.append(f"the rows are of several precisions ({words}): one file for each")
    return problems


def _row_of(row: CalibrationRow, calibration: Calibration) -> MeasuredRow:
    ops = frozenset(calibration.ops)
    return MeasuredRow(row.model, row.latency_ms, row.source, row.family, work_of_row(row), ops)
