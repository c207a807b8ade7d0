"""The tables, as they are now. `devicekit store schema` prints them; migrations/ leads older stores here.

Schema history (Alembic revision)
    0001   first version
"""

from collections.abc import Iterator

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

HEAD = "0001"

# SQLite numbers rows by itself only where the type is INTEGER.
_ID = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()

models = Table(
    "models",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, comment="The file's name without its ending."),
    Column("sha256", String(64), nullable=False, comment="Of the source model, in hex."),
    Column("kind", Text, comment='What it is: "Keras 2.11 functional".'),
    UniqueConstraint("name", "sha256", name="uq_models_name_sha256"),
    comment="Source models. The same name with other contents is another row.",
)

profiles = Table(
    "profiles",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("sha256", String(64), nullable=False, comment="Of the profile's files, in hex."),
    Column("document", JSON, nullable=False, comment="The profile, `extends` resolved."),
    UniqueConstraint("name", "sha256", name="uq_profiles_name_sha256"),
    comment="Profiles as they were when a cell was planned.",
)

devices = Table(
    "devices",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True, comment="Alias of the fleet file, else the address."),
    Column("address", Text, nullable=False, comment="Where it was last."),
    Column("facts", JSON, comment="What it last said about itself; null until it answered."),
    comment="Devices by name, whatever their serial is now; each cell keeps the facts of its day.",
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("model_id", ForeignKey("models.id"), nullable=False),
    Column("sha256", String(64), nullable=False, comment="Of the .tflite, in hex."),
    Column("recipe", Text, nullable=False),
    Column("size_bytes", BigInteger),
    Column("fidelity", JSON, comment="Against the float model; null where it was not scored."),
    Column("versions", JSON, nullable=False, comment="Of the kit, the converter and the quantizer."),
    UniqueConstraint("model_id", "sha256", "recipe", name="uq_artifacts"),
    comment="The .tflite files that were made. The files themselves are not in the store.",
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(40), primary_key=True, comment='"2026-11-22-0007": the day (UTC) and a number.'),
    Column("kind", String(10), nullable=False, comment="deploy or fleet."),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True), comment="Null while it runs, and where it was interrupted."),
    Column("label", Text, comment="The user's name for it, as a baseline: main."),
    Column("kit_version", Text, nullable=False),
    Column("plan", JSON, nullable=False, comment="What was asked for: enough to resume."),
    Index("ix_runs_label", "label"),
    Index("ix_runs_started_at", "started_at"),
    comment="One call of `deploy` or `fleet run`.",
)

cells = Table(
    "cells",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("run_id", ForeignKey("runs.id"), nullable=False),
    Column("model_id", ForeignKey("models.id"), nullable=False),
    Column("profile_id", ForeignKey("profiles.id"), nullable=False),
    Column("device_id", ForeignKey("devices.id"), nullable=False),
    Column("state", String(10), nullable=False, comment="planned, done, or failed."),
    Column("verdict", Text, comment="fits, or does not fit; null where nothing was measured."),
    Column("error", JSON, comment="Why it failed: kind, message, remedy, exit_code."),
    Column("attempts", Integer, nullable=False, default=0),
    Column("facts", JSON, comment="What the device said about itself then."),
    Column("ended_at", DateTime(timezone=True)),
    UniqueConstraint("run_id", "model_id", "device_id", name="uq_cells"),
    comment="One model on one device in one run.",
)

measurements = Table(
    "measurements",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("cell_id", ForeignKey("cells.id"), nullable=False),
    Column("artifact_id", ForeignKey("artifacts.id"), nullable=False),
    # Both are the cell's: without them a history would join every cell there ever was.
    Column("model_id", ForeignKey("models.id"), nullable=False),
    Column("device_id", ForeignKey("devices.id"), nullable=False),
    Column(
        "is_chosen", Integer, nullable=False, comment="1: of the artifact that was chosen for the device."
    ),
    Column("taken_at", DateTime(timezone=True), nullable=False),
    Column("evidence", String(10), nullable=False, comment="measured, simulated or emulated."),
    Column("runner", Text, nullable=False),
    Column("runtime_version", Text),
    Column("threads", Integer, nullable=False),
    Column("median_us", Float),
    Column("p95_us", Float),
    Column("mean_us", Float, nullable=False),
    Column("stdev_us", Float),
    Column("first_us", Float),
    Column("init_us", Float),
    Column("count", Integer, nullable=False, comment="Samples after the warm-up."),
    Column("quantiles_us", JSON, comment="5, 25, 50, 75 and 95 %; null without samples."),
    Column("rounds_us", JSON, comment="The median of each round, in order; null without samples."),
    Column("must_have_bytes", BigInteger),
    Column("peak_rss_bytes", BigInteger),
    Column("stability", Text, nullable=False),
    Index("ix_measurements_cell", "cell_id"),
    Index("ix_measurements_history", "model_id", "device_id", "taken_at"),
    comment="One artifact on one device: the summary. Microseconds and bytes.",
)

samples = Table(
    "samples",
    metadata,
    Column("measurement_id", ForeignKey("measurements.id"), primary_key=True, autoincrement=False),
    Column("document", JSON, nullable=False, comment="The whole measurement, as `--format json` gives it."),
    comment="Raw samples, conditions, limits, notes, trace: apart, so that summaries are read quickly.",
)

findings = Table(
    "findings",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("cell_id", ForeignKey("cells.id"), nullable=False),
    Column("recipe", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("remedy", Text, nullable=False),
    Index("ix_findings_cell", "cell_id"),
    comment="Broken rules of a cell's candidates.",
)


def described() -> Iterator[str]:
    """Yields the schema in Markdown: a table's purpose, then its columns with type and meaning."""
    yield f"Schema {HEAD}. Times are UTC, latencies microseconds, sizes bytes. Unknown is null.\n"
    for table in metadata.sorted_tables:
        yield f"\n### {table.name}\n\n{table.comment}\n\n| column | type | meaning |\n|---|---|---|\n"
        for column in table.columns:
            points_at = "".join(f"→ {key.target_fullname}" for key in column.foreign_keys)
            meaning = " ".join(filter(None, (column.comment, points_at)))
            optional = "" if not column.nullable or column.primary_key else ", may be null"
            yield f"| `{column.name}` | {str(column.type).lower()}{optional} | {meaning} |\n"
