"""The first version of the store."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "devices",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False, unique=True),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("facts", sa.JSON()),
    )
    op.create_table(
        "models",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("kind", sa.Text()),
        sa.UniqueConstraint("name", "sha256", name="uq_models_name_sha256"),
    )
    op.create_table(
        "profiles",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.UniqueConstraint("name", "sha256", name="uq_profiles_name_sha256"),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("label", sa.Text()),
        sa.Column("kit_version", sa.Text(), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
    )
    op.create_index("ix_runs_label", "runs", ["label"])
    op.create_index("ix_runs_started_at", "runs", ["started_at"])
    op.create_table(
        "artifacts",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("model_id", sa.Integer(), sa.ForeignKey("models.id"), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger()),
        sa.Column("fidelity", sa.JSON()),
        sa.Column("versions", sa.JSON(), nullable=False),
        sa.UniqueConstraint("model_id", "sha256", "recipe", name="uq_artifacts"),
    )
    op.create_table(
        "cells",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("run_id", sa.String(40), sa.ForeignKey("runs.id"), nullable=False),
        sa.Column("model_id", sa.Integer(), sa.ForeignKey("models.id"), nullable=False),
        sa.Column("profile_id", sa.Integer(), sa.ForeignKey("profiles.id"), nullable=False),
        sa.Column("device_id", sa.Integer(), sa.ForeignKey("devices.id"), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("verdict", sa.Text()),
        sa.Column("error", sa.JSON()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("facts", sa.JSON()),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.UniqueConstraint("run_id", "model_id", "device_id", name="uq_cells"),
    )
    op.create_table(
        "findings",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("cell_id", _ID, sa.ForeignKey("cells.id"), nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("remedy", sa.Text(), nullable=False),
    )
    op.create_index("ix_findings_cell", "findings", ["cell_id"])
    op.create_table(
        "measurements",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("cell_id", _ID, sa.ForeignKey("cells.id"), nullable=False),
        sa.Column("artifact_id", sa.Integer(), sa.ForeignKey("artifacts.id"), nullable=False),
        sa.Column("model_id", sa.Integer(), sa.ForeignKey("models.id"), nullable=False),
        sa.Column("device_id", sa.Integer(), sa.ForeignKey("devices.id"), nullable=False),
        sa.Column("is_chosen", sa.Integer(), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("evidence", sa.String(10), nullable=False),
        sa.Column("runner", sa.Text(), nullable=False),
        sa.Column("runtime_version", sa.Text()),
        sa.Column("threads", sa.Integer(), nullable=False),
        sa.Column("median_us", sa.Float()),
        sa.Column("p95_us", sa.Float()),
        sa.Column("mean_us", sa.Float(), nullable=False),
        sa.Column("stdev_us", sa.Float()),
        sa.Column("first_us", sa.Float()),
        sa.Column("init_us", sa.Float()),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("quantiles_us", sa.JSON()),
        sa.Column("rounds_us", sa.JSON()),
        sa.Column("must_have_bytes", sa.BigInteger()),
        sa.Column("peak_rss_bytes", sa.BigInteger()),
        sa.Column("stability", sa.Text(), nullable=False),
    )
    op.create_index("ix_measurements_cell", "measurements", ["cell_id"])
    op.create_index("ix_measurements_history", "measurements", ["model_id", "device_id", "taken_at"])
    op.create_table(
        "samples",
        sa.Column(
            "measurement_id", _ID, sa.ForeignKey("measurements.id"), primary_key=True, autoincrement=False
        ),
        sa.Column("document", sa.JSON(), nullable=False),
    )
