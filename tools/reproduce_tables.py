"""Reproduces the accuracy of the latency model on published tables, and writes the calibrations that ship.

    python tools/published_models.py MODELS                      the architectures, random weights: half an
    hour, 3 GB python tools/reproduce_tables.py MODELS TABLE.csv [--write]

TABLE.csv has the columns model,width_or_resolution,precision,runtime,threads,device,latency_ms,source. Prints
Markdown; --write puts the calibrations into profiles/. "a / b / c" is the mean absolute error in %, and the
share of models within ± 10 % and ± 20 %; each model, or each family, is predicted by a fit on the others.
"""

import argparse
import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from devicekit.graph.read import read_graph
from devicekit.pipeline.calibrate import measured_row
from devicekit.pipeline.calibration_file import calibration_table, write_calibration
from devicekit.predict.fit import PRIORS, MeasuredRow, cross_validate, fit, log_gradient, most_telling
from devicekit.predict.roofline import latency_us
from devicekit.profile.lookup import load_profile

PRECISIONS = {"fp32": "float32", "uint8": "int8", "int8": "int8"}
# Its file has 43.6 MB; no DenseNet of the paper has that many weights.
UNIDENTIFIED = ("densenet",)


@dataclass(frozen=True)
class Table:
    """The rows of one device, precision and number of threads; `profile` is where its calibration goes."""

    profile: str
    device: str
    precision: str
    published_threads: str
    threads: int

    @property
    def title(self) -> str:
        return f"{self.device}, CPU ×{self.threads}, {PRECISIONS[self.precision]}"


TABLES = (
    Table("pixel3", "Pixel 3", "fp32", "4", 4),
    Table("pixel3", "Pixel 3", "uint8", "4", 4),
    Table("pixel", "Pixel", "fp32", "1", 1),
    Table("pixel", "Pixel", "fp32", "big cores", 2),
    Table("pixel2", "Pixel 2", "fp32", "1", 1),
    Table("pixel2", "Pixel 2", "fp32", "big cores", 4),
    Table("pixel3a", "Pixel 3a", "fp32", "1", 1),
    Table("pixel3a", "Pixel 3a", "fp32", "big cores", 2),
    Table("raspberrypi3bplus", "RPi 3+ (BCM2837B0)", "fp32", "all cores", 4),
    Table("raspberrypi4", "RPi 4 (BCM2711, ARM64)", "fp32", "all cores", 4),
)
PRIOR = PRIORS["arm64"]


def rows_of(table: Table, records: Iterable[dict[str, str]], models: Path) -> list[MeasuredRow]:
    """Returns the table's rows; of a model that is listed twice, the first."""
    found: dict[str, MeasuredRow] = {}
    for record in records:
        key = (record["device"], record["precision"], record["threads"])
        if key != (table.device, table.precision, table.published_threads):
            continue
        name = f"{record['model'].split(' ')[0]}_{record['width_or_resolution']}"
        if name.startswith(UNIDENTIFIED) or name in found:
            continue
        suffix = "fp32" if table.precision == "fp32" else "int8"
        graph = read_graph(models / f"{name}.{suffix}.tflite")
        source = f"{record['source']}; {record['runtime']}"
        found[name] = measured_row(graph, name, float(record["latency_ms"]), source)
    return list(found.values())


def by_macs(rows: Sequence[MeasuredRow]) -> list[float]:
    """Returns log(predicted / measured) where latency is proportional to MACs, as the others have it."""
    logs = [math.log(sum(w.macs for w in row.work) / row.latency_ms) for row in rows]
    return [log - float(np.median([*logs[:i], *logs[i + 1 :]])) for i, log in enumerate(logs)]


def by_few(rows: Sequence[MeasuredRow], count: int) -> list[float]:
    """Returns the residuals of the other rows, fitted on the `count` that tell most."""
    picked = most_telling([log_gradient(row.work, PRIOR) for row in rows], count)
    coefficients = fit([rows[i] for i in picked], PRIOR)
    others = [row for i, row in enumerate(rows) if i not in picked]
    return [math.log(latency_us(row.work, coefficients) / (row.latency_ms * 1000)) for row in others]


def stated(residuals: Iterable[float | None]) -> str:
    errors = [abs(math.exp(r) - 1) for r in residuals if r is not None]
    if not errors:
        return "–"
    shares = [sum(e <= limit for e in errors) / len(errors) for limit in (0.1, 0.2)]
    return f"{100 * sum(errors) / len(errors):.1f} / {100 * shares[0]:.0f} / {100 * shares[1]:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    with arguments.table.open(newline="") as file:
        records = list(csv.DictReader(file))
    print("| table (models) | by MACs | **roofline** | a family left out | three chosen models | 90 % hold |")
    print("|---|---|---|---|---|---|")
    for table in TABLES:
        rows = rows_of(table, records, arguments.models)
        validation = cross_validate(rows, PRIOR)
        few = stated(by_few(rows, 3)) if len(rows) > 3 else "–"
        print(
            f"| {table.title} ({len(rows)}) | {stated(by_macs(rows))} | **{stated(validation.left_out)}** "
            f"| {stated(validation.family_left_out)} | {few} | {validation.covered_90:.0%} |"
        )
        if arguments.write:
            profile = load_profile(table.profile)
            calibration = calibration_table(
                profile,
                rows,
                fit(rows, PRIOR),
                validation,
                threads=table.threads,
                precision=PRECISIONS[table.precision],
            )
            # The table does not say which release; XNNPACK's own is of a time before LiteRT.
            is_builtin = profile.runtime.delegate == "none"
            published = calibration.model_copy(
                update={"runtime": "tflite", "version": None, "delegate": "none" if is_builtin else "xnnpack"}
            )
            write_calibration(profile, published, profile.path, dry_run=False)


if __name__ == "__main__":
    main()
