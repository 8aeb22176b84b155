"""The four tables, their rules and indexes.

lint: allow prefer-text-field: the one varchar is of Alembic's own table, and stays as it is.

Revision: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

ENUMS = {
    "platform": ("airflow", "dbt", "cron", "vendor_api", "custom"),
    "pipeline_type": ("ingestion", "transform", "quality", "export", "healthcheck"),
    "environment": ("dev", "staging", "prod"),
    # The order is the write rule's: which of two equal reports of one attempt wins.
    "run_status": ("running", "skipped", "canceled", "success", "failed"),
    "rule_type": ("on_failure", "failures_in_window"),
    "channel": ("slack", "email", "webhook"),
}


def enum(name: str) -> postgresql.ENUM:
    return postgresql.ENUM(*ENUMS[name], name=name, create_type=False)


def timestamped() -> list[sa.Column]:
    return [
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("updated_by", sa.Text()),
    ]


def upgrade() -> None:
    for name, values in ENUMS.items():
        postgresql.ENUM(*values, name=name).create(op.get_bind())

    op.create_table(
        "clients",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        *timestamped(),
        sa.PrimaryKeyConstraint("id", name="pk_clients"),
        sa.CheckConstraint("btrim(name) <> ''", name=op.f("ck_clients_name_not_empty")),
    )
    op.create_index("uq_clients_lower_name", "clients", [sa.text("lower(name)")], unique=True)

    op.create_table(
        "pipelines",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("platform", enum("platform"), nullable=False),
        sa.Column("external_id", sa.Text()),
        sa.Column("pipeline_type", enum("pipeline_type"), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("environment", enum("environment"), server_default="prod", nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("expected_every_minutes", sa.Integer()),
        *timestamped(),
        sa.PrimaryKeyConstraint("id", name="pk_pipelines"),
        sa.ForeignKeyConstraint(
            ["client_id"], ["clients.id"], name="fk_pipelines_client_id_clients", ondelete="RESTRICT"
        ),
        sa.UniqueConstraint(
            "client_id", "platform", "external_id", name="uq_pipelines_client_id_platform_external_id"
        ),
        sa.UniqueConstraint("id", "client_id", name="uq_pipelines_id_client_id"),
        sa.CheckConstraint("btrim(name) <> ''", name=op.f("ck_pipelines_name_not_empty")),
        sa.CheckConstraint("length(external_id) BETWEEN 1 AND 512", name=op.f("ck_pipelines_external_id_length")),
        sa.CheckConstraint(
            "expected_every_minutes > 0", name=op.f("ck_pipelines_expected_every_minutes_positive")
        ),
    )
    op.create_index(
        "uq_pipelines_client_id_lower_name", "pipelines", ["client_id", sa.text("lower(name)")], unique=True
    )

    op.create_table(
        "runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("pipeline_id", sa.Uuid(), nullable=False),
        sa.Column("external_run_id", sa.Text(), nullable=False),
        sa.Column("status", enum("run_status"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("duration_seconds", sa.Double()),
        sa.Column("rows_processed", sa.BigInteger()),
        sa.Column("error_message", sa.Text()),
        sa.Column("status_reason", sa.Text()),
        sa.Column("payload", postgresql.JSONB()),
        sa.Column("attempt_at", sa.DateTime(timezone=True)),
        sa.Column("source_updated_at", sa.DateTime(timezone=True)),
        sa.Column("ingested_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        *timestamped(),
        sa.Column(
            "event_at",
            sa.DateTime(timezone=True),
            sa.Computed("COALESCE(finished_at, started_at, created_at)", persisted=True),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sa.ForeignKeyConstraint(
            ["pipeline_id"], ["pipelines.id"], name="fk_runs_pipeline_id_pipelines", ondelete="RESTRICT"
        ),
        sa.UniqueConstraint("pipeline_id", "external_run_id", name="uq_runs_pipeline_id_external_run_id"),
        sa.CheckConstraint("length(external_run_id) BETWEEN 1 AND 512", name=op.f("ck_runs_external_run_id_length")),
        sa.CheckConstraint(
            "duration_seconds >= 0 AND duration_seconds < 'Infinity'", name=op.f("ck_runs_duration_seconds_valid")
        ),
        sa.CheckConstraint("rows_processed >= 0", name=op.f("ck_runs_rows_processed_not_negative")),
        sa.CheckConstraint(
            "status <> 'running' OR finished_at IS NULL", name=op.f("ck_runs_running_is_unfinished")
        ),
    )
    op.create_index(
        "ix_runs_latest",
        "runs",
        [
            "pipeline_id",
            sa.text("started_at DESC NULLS LAST"),
            sa.text("finished_at DESC NULLS LAST"),
            sa.text("id DESC"),
        ],
        postgresql_include=["status"],
    )
    op.create_index(
        "ix_runs_event",
        "runs",
        [sa.text("event_at DESC"), sa.text("id DESC")],
        postgresql_include=["pipeline_id", "status", "duration_seconds"],
    )
    op.create_index(
        "ix_runs_failed",
        "runs",
        [sa.text("event_at DESC"), sa.text("id DESC")],
        postgresql_include=["pipeline_id"],
        postgresql_where=sa.text("status = 'failed'"),
    )
    op.create_index(
        "ix_runs_window",
        "runs",
        ["pipeline_id", sa.text("event_at DESC"), sa.text("id DESC")],
        postgresql_include=["status"],
    )
    op.create_index("ix_runs_running", "runs", ["pipeline_id"], postgresql_where=sa.text("status = 'running'"))

    op.create_table(
        "alert_rules",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid()),
        sa.Column("pipeline_id", sa.Uuid()),
        sa.Column("rule_type", enum("rule_type"), nullable=False),
        sa.Column("threshold", sa.Integer()),
        sa.Column("window_minutes", sa.Integer()),
        sa.Column("channel", enum("channel"), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("is_enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        *timestamped(),
        sa.PrimaryKeyConstraint("id", name="pk_alert_rules"),
        sa.ForeignKeyConstraint(
            ["client_id"], ["clients.id"], name="fk_alert_rules_client_id_clients", ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["pipeline_id"], ["pipelines.id"], name="fk_alert_rules_pipeline_id_pipelines", ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["pipeline_id", "client_id"],
            ["pipelines.id", "pipelines.client_id"],
            name="fk_alert_rules_pipeline_id_client_id_pipelines",
            ondelete="RESTRICT",
        ),
        sa.CheckConstraint("client_id IS NOT NULL OR pipeline_id IS NOT NULL", name=op.f("ck_alert_rules_has_scope")),
        sa.CheckConstraint("threshold > 0", name=op.f("ck_alert_rules_threshold_positive")),
        sa.CheckConstraint("window_minutes > 0", name=op.f("ck_alert_rules_window_minutes_positive")),
        sa.CheckConstraint(
            "rule_type <> 'failures_in_window' OR (threshold IS NOT NULL AND window_minutes IS NOT NULL)",
            name=op.f("ck_alert_rules_window_complete"),
        ),
        sa.CheckConstraint("btrim(destination) <> ''", name=op.f("ck_alert_rules_destination_not_empty")),
    )
    op.create_index("ix_alert_rules_client_id", "alert_rules", ["client_id"])
    op.create_index("ix_alert_rules_pipeline_id", "alert_rules", ["pipeline_id"])
    op.create_index(
        "uq_alert_rules_enabled_pipeline",
        "alert_rules",
        ["pipeline_id", "rule_type", "channel", "destination"],
        unique=True,
        postgresql_where=sa.text("is_enabled AND pipeline_id IS NOT NULL"),
    )
    op.create_index(
        "uq_alert_rules_enabled_client",
        "alert_rules",
        ["client_id", "rule_type", "channel", "destination"],
        unique=True,
        postgresql_where=sa.text("is_enabled AND pipeline_id IS NULL"),
    )


def downgrade() -> None:
    for table in ("alert_rules", "runs", "pipelines", "clients"):
        op.drop_table(table)
    # Dropping a table leaves its enum types behind.
    for name in reversed(ENUMS):
        postgresql.ENUM(name=name).drop(op.get_bind())
