"""Clients and pipelines, and how pipelines are doing."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from chm_web.json_answers import Schema
from chm_web.models import Environment, PipelineType, Platform, RunStatus
from chm_web.schemas.base import (
    MAX_INTEGER,
    TEXT_MAX_LENGTH,
    Bounds,
    Flag,
    Text,
    Timestamps,
    UtcTime,
    external_id_field,
    name_field,
    told,
)
from chm_web.services.health import Health


class ClientSchema(Timestamps):
    """A client whose pipelines the team runs."""

    id = fields.UUID(dump_only=True, metadata=told("Its id."))
    name = name_field(required=True, metadata=told("Unique, ignoring case. Space around it is cut off."))
    is_active = Flag(load_default=True, metadata=told("False once it is disabled; its history stays readable."))


class PipelineSchema(Timestamps):
    """A pipeline of a client."""

    id = fields.UUID(dump_only=True, metadata=told("Its id."))
    client_id = fields.UUID(dump_only=True, metadata=told("The client whose pipeline it is."))
    name = name_field(
        required=True, metadata=told("Unique within the client, ignoring case. Space around it is cut off.")
    )
    platform = fields.Enum(Platform, by_value=True, required=True, metadata=told("Where it runs."))
    external_id = external_id_field(
        load_default=None,
        allow_none=True,
        metadata=told(
            "Its id on the platform, unique within client and platform. Without one its runs cannot be asked for."
        ),
    )
    pipeline_type = fields.Enum(PipelineType, by_value=True, required=True, metadata=told("What it does."))
    description = Text(
        load_default=None,
        allow_none=True,
        validate=validate.Length(max=TEXT_MAX_LENGTH),
        metadata=told("Free text for those who look after it."),
    )
    environment = fields.Enum(
        Environment, by_value=True, load_default=Environment.PROD, metadata=told("Where it is deployed.")
    )
    is_active = Flag(
        load_default=True,
        metadata=told("False once it is disabled: out of the active views and of ingestion, never out of history."),
    )
    expected_every_minutes = fields.Integer(
        strict=True,
        load_default=None,
        allow_none=True,
        validate=Bounds(1, MAX_INTEGER),
        metadata=told(
            "How often a success is expected. After 1.25 times as long without one the pipeline is late.",
            format="int32",
        ),
    )


_HEALTH = "As defined in the description of this API; judged when it was asked for."


class ListedPipelineSchema(PipelineSchema):
    """A pipeline as lists show it: with its health and its latest run, which change without the pipeline changing."""

    health = fields.Enum(Health, by_value=True, dump_only=True, metadata=told(_HEALTH))
    latest_status = fields.Enum(
        RunStatus,
        by_value=True,
        dump_only=True,
        allow_none=True,
        metadata=told("The state of its latest run, finished or not; null without a run."),
    )
    latest_run_at = UtcTime(
        dump_only=True, allow_none=True, metadata=told("The event time of its latest run; null without a run.")
    )

    def read_values(self, obj: Any) -> list[Any]:
        """Read what a list adds from the item, and all else from its pipeline."""
        return [getattr(obj if hasattr(obj, name) else obj.pipeline, name) for name in self.names]


class PipelineHealthSchema(Schema):
    """The health of one pipeline at one moment, with its circumstances."""

    pipeline_id = fields.UUID(metadata=told("The pipeline."))
    health = fields.Enum(Health, by_value=True, metadata=told(_HEALTH))
    since = UtcTime(
        allow_none=True,
        metadata=told("Since when it has been failing (the first failure in a row) or late; null when it is neither."),
    )
    failures_in_row = fields.Integer(metadata=told("Failed runs since the last success; 0 unless it is failing."))
    last_error = fields.String(
        allow_none=True, metadata=told("What the last failure said; null unless the pipeline is failing.")
    )
    last_failed_run_id = fields.UUID(
        allow_none=True, metadata=told("The run that failed last; null unless the pipeline is failing.")
    )
    last_success_at = UtcTime(allow_none=True, metadata=told("The event time of its last success; null without one."))
    last_finished_at = UtcTime(
        allow_none=True, metadata=told("The event time of the last run that succeeded or failed; null without one.")
    )
    late_at = UtcTime(
        allow_none=True,
        metadata=told("When it becomes, or became, late; null when no interval is expected of it."),
    )
    running_since = UtcTime(
        allow_none=True, metadata=told("When the run began that is under way; null when nothing runs.")
    )
    latest_status = fields.Enum(
        RunStatus,
        by_value=True,
        allow_none=True,
        metadata=told("The state of its latest run, finished or not; null without a run."),
    )
