"""The four tables and their enumerations. Every rule of the data model is a named constraint here."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    DateTime,
    Double,
    Enum,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Text,
    UniqueConstraint,
    column,
    func,
    null,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship
from uuid_utils.compat import uuid7

from chm_web.extensions import db

if TYPE_CHECKING:
    from chm_web.extensions import Base as Model
else:
    Model = db.Model


class Platform(enum.StrEnum):
    """Where a pipeline runs."""

    AIRFLOW = "airflow"
    DBT = "dbt"
    CRON = "cron"
    VENDOR_API = "vendor_api"
    CUSTOM = "custom"


class PipelineType(enum.StrEnum):
    """What a pipeline does."""

    INGESTION = "ingestion"
    TRANSFORM = "transform"
    QUALITY = "quality"
    EXPORT = "export"
    HEALTHCHECK = "healthcheck"


class Environment(enum.StrEnum):
    """Where a pipeline is deployed."""

    DEV = "dev"
    STAGING = "staging"
    PROD = "prod"


class RunStatus(enum.StrEnum):
    """The state of a run, in the order in which equal reports of one attempt win over each other.

    The order is part of the write rule, and PostgreSQL compares the enum by it: do not reorder.
    """

    RUNNING = "running"
    SKIPPED = "skipped"
    CANCELED = "canceled"
    SUCCESS = "success"
    FAILED = "failed"


class RuleType(enum.StrEnum):
    """When an alert rule fires."""

    ON_FAILURE = "on_failure"
    FAILURES_IN_WINDOW = "failures_in_window"


class Channel(enum.StrEnum):
    """How an alert is delivered."""

    SLACK = "slack"
    EMAIL = "email"
    WEBHOOK = "webhook"


EXTERNAL_ID_MAX_LENGTH = 512


def _enum(kind: type[enum.StrEnum], name: str) -> Enum:
    return Enum(kind, name=name, values_callable=lambda members: [member.value for member in members])


_TIMESTAMPTZ = DateTime(timezone=True)


class Timestamped:
    """Columns that every table has. ``updated_by``: who changed it last; null for the platforms' feeds."""

    created_at: Mapped[datetime] = mapped_column(_TIMESTAMPTZ, server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(_TIMESTAMPTZ, server_default=func.now(), onupdate=func.now())
    updated_by: Mapped[str | None] = mapped_column(Text)


class Client(Timestamped, Model):
    """A client whose pipelines the team runs."""

    __tablename__ = "clients"
    __table_args__ = (
        CheckConstraint("btrim(name) <> ''", name="name_not_empty"),
        Index("uq_clients_lower_name", func.lower(column("name")), unique=True),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    name: Mapped[str] = mapped_column(Text)
    is_active: Mapped[bool] = mapped_column(server_default=text("true"), default=True)

    pipelines: Mapped[list[Pipeline]] = relationship(back_populates="client", viewonly=True, lazy="raise")


class Pipeline(Timestamped, Model):
    """A pipeline of a client, as it is known on one platform."""

    __tablename__ = "pipelines"
    __table_args__ = (
        CheckConstraint("btrim(name) <> ''", name="name_not_empty"),
        CheckConstraint(f"length(external_id) BETWEEN 1 AND {EXTERNAL_ID_MAX_LENGTH}", name="external_id_length"),
        CheckConstraint("expected_every_minutes > 0", name="expected_every_minutes_positive"),
        Index("uq_pipelines_client_id_lower_name", "client_id", func.lower(column("name")), unique=True),
        UniqueConstraint("client_id", "platform", "external_id"),
        # The target of alert_rules' composite key: a rule's pipeline must belong to the rule's client.
        UniqueConstraint("id", "client_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    client_id: Mapped[UUID] = mapped_column(ForeignKey("clients.id", ondelete="RESTRICT"))
    name: Mapped[str] = mapped_column(Text)
    platform: Mapped[Platform] = mapped_column(_enum(Platform, "platform"))
    external_id: Mapped[str | None] = mapped_column(Text)
    pipeline_type: Mapped[PipelineType] = mapped_column(_enum(PipelineType, "pipeline_type"))
    description: Mapped[str | None] = mapped_column(Text)
    environment: Mapped[Environment] = mapped_column(
        _enum(Environment, "environment"), server_default="prod", default=Environment.PROD
    )
    is_active: Mapped[bool] = mapped_column(server_default=text("true"), default=True)
    expected_every_minutes: Mapped[int | None]

    client: Mapped[Client] = relationship(back_populates="pipelines", viewonly=True, lazy="raise")


class Run(Timestamped, Model):
    """One run of a pipeline. Written by ``services.runs.record_runs`` and by nothing else."""

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("pipeline_id", "external_run_id"),
        CheckConstraint(
            f"length(external_run_id) BETWEEN 1 AND {EXTERNAL_ID_MAX_LENGTH}", name="external_run_id_length"
        ),
        # NaN compares greater than every number in PostgreSQL, so the upper bound refuses it too.
        CheckConstraint("duration_seconds >= 0 AND duration_seconds < 'Infinity'", name="duration_seconds_valid"),
        CheckConstraint("rows_processed >= 0", name="rows_processed_not_negative"),
        CheckConstraint("status <> 'running' OR finished_at IS NULL", name="running_is_unfinished"),
        Index(
            "ix_runs_latest",
            "pipeline_id",
            text("started_at DESC NULLS LAST"),
            text("finished_at DESC NULLS LAST"),
            text("id DESC"),
            postgresql_include=["status"],
        ),
        Index(
            "ix_runs_event",
            text("event_at DESC"),
            text("id DESC"),
            postgresql_include=["pipeline_id", "status", "duration_seconds", "rows_processed"],
        ),
        Index(
            "ix_runs_failed",
            text("event_at DESC"),
            text("id DESC"),
            postgresql_include=["pipeline_id"],
            postgresql_where=text("status = 'failed'"),
        ),
        # id makes the order total, so that health reads the newest run from the index alone.
        Index("ix_runs_window", "pipeline_id", text("event_at DESC"), text("id DESC"), postgresql_include=["status"]),
        # Few rows at any time: what runs now is read without touching history.
        Index("ix_runs_running", "pipeline_id", postgresql_where=text("status = 'running'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    pipeline_id: Mapped[UUID] = mapped_column(ForeignKey("pipelines.id", ondelete="RESTRICT"))
    external_run_id: Mapped[str] = mapped_column(Text)
    status: Mapped[RunStatus] = mapped_column(_enum(RunStatus, "run_status"))
    started_at: Mapped[datetime | None] = mapped_column(_TIMESTAMPTZ)
    finished_at: Mapped[datetime | None] = mapped_column(_TIMESTAMPTZ)
    duration_seconds: Mapped[float | None] = mapped_column(Double)
    rows_processed: Mapped[int | None] = mapped_column(BigInteger)
    error_message: Mapped[str | None] = mapped_column(Text)
    status_reason: Mapped[str | None] = mapped_column(Text)
    payload: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    attempt_at: Mapped[datetime | None] = mapped_column(_TIMESTAMPTZ)
    source_updated_at: Mapped[datetime | None] = mapped_column(_TIMESTAMPTZ)
    # Of the record that made the row what it is (queries.run_upsert): whoever else changes the row takes it away.
    content_hash: Mapped[int | None] = mapped_column(BigInteger, onupdate=null())
    ingested_at: Mapped[datetime] = mapped_column(_TIMESTAMPTZ, server_default=func.now())
    # Stored, because an index on the expression cannot be scanned index-only (5-13 times slower when measured).
    event_at: Mapped[datetime] = mapped_column(
        _TIMESTAMPTZ, Computed("COALESCE(finished_at, started_at, created_at)", persisted=True)
    )

    pipeline: Mapped[Pipeline] = relationship(viewonly=True, lazy="raise")


class AlertRule(Timestamped, Model):
    """When to tell whom. Scope: a client, or one pipeline (then client_id only says whose)."""

    __tablename__ = "alert_rules"
    __table_args__ = (
        CheckConstraint("client_id IS NOT NULL OR pipeline_id IS NOT NULL", name="has_scope"),
        CheckConstraint("threshold > 0", name="threshold_positive"),
        CheckConstraint("window_minutes > 0", name="window_minutes_positive"),
        CheckConstraint(
            "rule_type <> 'failures_in_window' OR (threshold IS NOT NULL AND window_minutes IS NOT NULL)",
            name="window_complete",
        ),
        CheckConstraint("btrim(destination) <> ''", name="destination_not_empty"),
        # MATCH SIMPLE: checked only when both are set, as the rule asks.
        ForeignKeyConstraint(
            ["pipeline_id", "client_id"], ["pipelines.id", "pipelines.client_id"], ondelete="RESTRICT"
        ),
        # The scope is the pipeline when there is one, else the client: client_id must not make two rules differ.
        Index(
            "uq_alert_rules_enabled_pipeline",
            "pipeline_id",
            "rule_type",
            "channel",
            "destination",
            unique=True,
            postgresql_where=text("is_enabled AND pipeline_id IS NOT NULL"),
        ),
        Index(
            "uq_alert_rules_enabled_client",
            "client_id",
            "rule_type",
            "channel",
            "destination",
            unique=True,
            postgresql_where=text("is_enabled AND pipeline_id IS NULL"),
        ),
        Index(None, "pipeline_id"),
        Index(None, "client_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    client_id: Mapped[UUID | None] = mapped_column(ForeignKey("clients.id", ondelete="RESTRICT"))
    pipeline_id: Mapped[UUID | None] = mapped_column(ForeignKey("pipelines.id", ondelete="RESTRICT"))
    rule_type: Mapped[RuleType] = mapped_column(_enum(RuleType, "rule_type"))
    threshold: Mapped[int | None]
    window_minutes: Mapped[int | None]
    channel: Mapped[Channel] = mapped_column(_enum(Channel, "channel"))
    destination: Mapped[str] = mapped_column(Text)
    is_enabled: Mapped[bool] = mapped_column(server_default=text("true"), default=True)
