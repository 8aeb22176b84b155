"""What comes in and goes out, as marshmallow schemas: one validator for the REST API and the HTML forms."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from chm_web.ingestion.progress import JobState
from chm_web.models import (
    EXTERNAL_ID_MAX_LENGTH,
    Channel,
    Environment,
    PipelineType,
    Platform,
    RuleType,
    RunStatus,
)
from chm_web.services.run_values import MAX_BIGINT, MAX_TIME, MIN_TIME, UNSTORABLE

NAME_MAX_LENGTH = 200
TEXT_MAX_LENGTH = 10_000
# Of a destination, which is indexed: a row of the index holds 2.7 kB, and a character may take four bytes.
DESTINATION_MAX_LENGTH = 500
MAX_BATCH = 1000
MAX_INTEGER = 2**31 - 1


class Text(fields.String):
    """Text that PostgreSQL can store."""

    def __init__(self, *, strip: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._strip = strip

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, *args, **kwargs)
        if UNSTORABLE.search(text):
            raise ValidationError("Must not hold NUL or half of a surrogate pair.")
        return text.strip() if self._strip else text


class UtcTime(fields.AwareDateTime):
    """A time: RFC 3339 with ``Z`` going out; coming in, one without a zone is UTC."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(format="iso", default_timezone=UTC, **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> datetime:
        moment: datetime = super()._deserialize(value, *args, **kwargs)
        if not MIN_TIME <= moment < MAX_TIME:
            raise ValidationError("Must be a time between 1970 and 2199.")
        return moment

    def _serialize(self, value: datetime | None, *args: Any, **kwargs: Any) -> str | None:
        return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _name(**kwargs: Any) -> Text:
    return Text(strip=True, validate=validate.Length(1, NAME_MAX_LENGTH), **kwargs)


def _external_id(**kwargs: Any) -> Text:
    return Text(validate=validate.Length(1, EXTERNAL_ID_MAX_LENGTH), **kwargs)


class Timestamps(Schema):
    """When a row was made and last changed, and by whom."""

    created_at = UtcTime(dump_only=True)
    updated_at = UtcTime(dump_only=True)
    updated_by = fields.String(dump_only=True, allow_none=True)


class ClientSchema(Timestamps):
    """A client."""

    id = fields.UUID(dump_only=True)
    name = _name(required=True, metadata={"description": "Unique, ignoring case.", "example": "Northwind Foods"})
    is_active = fields.Boolean(
        load_default=True, metadata={"description": "False once disabled; history stays readable."}
    )


class PipelineSchema(Timestamps):
    """A pipeline of a client."""

    id = fields.UUID(dump_only=True)
    client_id = fields.UUID(dump_only=True)
    name = _name(required=True, metadata={"description": "Unique within the client, ignoring case."})
    platform = fields.Enum(Platform, by_value=True, required=True, metadata={"description": "Where it runs."})
    external_id = _external_id(
        load_default=None,
        allow_none=True,
        metadata={"description": "Its id on the platform; unique within client and platform."},
    )
    pipeline_type = fields.Enum(PipelineType, by_value=True, required=True)
    description = Text(load_default=None, allow_none=True, validate=validate.Length(max=TEXT_MAX_LENGTH))
    environment = fields.Enum(Environment, by_value=True, load_default=Environment.PROD)
    is_active = fields.Boolean(load_default=True)
    expected_every_minutes = fields.Integer(
        strict=True,
        load_default=None,
        allow_none=True,
        validate=validate.Range(1, MAX_INTEGER),
        metadata={"description": "How often a success is expected; makes the pipeline late when it stays out."},
    )


class RunSchema(Timestamps):
    """One run of a pipeline."""

    id = fields.UUID(dump_only=True)
    pipeline_id = fields.UUID(dump_only=True)
    external_run_id = _external_id(
        load_default=None, metadata={"description": "The platform's id of the run; made when it is left out."}
    )
    status = fields.Enum(RunStatus, by_value=True, required=True)
    started_at = UtcTime(load_default=None, allow_none=True)
    finished_at = UtcTime(load_default=None, allow_none=True)
    duration_seconds = fields.Float(
        load_default=None,
        allow_none=True,
        validate=validate.Range(min=0),
        metadata={"description": "Derived from the two times where both are known."},
    )
    rows_processed = fields.Integer(
        strict=True, load_default=None, allow_none=True, validate=validate.Range(0, MAX_BIGINT)
    )
    error_message = Text(load_default=None, allow_none=True)
    status_reason = Text(load_default=None, allow_none=True)
    payload = fields.Dict(load_default=None, allow_none=True, metadata={"description": "Stored without secrets."})
    ingested_at = UtcTime(dump_only=True, metadata={"description": "The last write that changed the run."})

    @validates_schema
    def check_times(self, data: dict[str, Any], **_: Any) -> None:
        """A running run has not finished, and no run finishes before it starts."""
        started, finished = data.get("started_at"), data.get("finished_at")
        if finished is not None and data["status"] is RunStatus.RUNNING:
            raise ValidationError("A running run has no finished_at.", "finished_at")
        if started is not None and finished is not None and finished < started:
            raise ValidationError("Must not be before started_at.", "finished_at")


class RunReportSchema(RunSchema):
    """What is reported of a run that the address names."""

    class Meta:
        """All of a run but its name."""

        exclude = ("external_run_id",)


class BatchRunSchema(RunSchema):
    """One run of a batch, of any pipeline."""

    pipeline_id = fields.UUID(required=True)
    external_run_id = _external_id(required=True, metadata={"description": "The platform's id of the run."})


class _Unchecked(fields.Nested):
    """Described as what it nests, but taken as it comes: each one is checked by itself later."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return value


class RunBatchSchema(Schema):
    """Runs of any pipelines. A bad one is rejected by itself and never costs the others."""

    runs = fields.List(_Unchecked(BatchRunSchema), required=True, validate=validate.Length(max=MAX_BATCH))


class RunRejectionSchema(Schema):
    """Why one run of a batch was not taken."""

    index = fields.Integer(metadata={"description": "Its place in the batch, from 0."})
    external_run_id = fields.String(allow_none=True)
    field = fields.String()
    issue = fields.String()


class RecordResultSchema(Schema):
    """What became of a batch."""

    created = fields.Integer()
    updated = fields.Integer()
    unchanged = fields.Integer()
    rejected = fields.List(fields.Nested(RunRejectionSchema))


class LatestOfPipelineSchema(Schema):
    """The latest run of a pipeline, in short."""

    pipeline_id = fields.UUID()
    pipeline_name = fields.String()
    platform = fields.Enum(Platform, by_value=True)
    latest_status = fields.Enum(RunStatus, by_value=True, allow_none=True)
    latest_run_at = UtcTime(allow_none=True, metadata={"description": "Its event time; null without a run."})


class RunSummarySchema(Schema):
    """A client's runs in a window of event time, and the latest run of each of its pipelines."""

    client_id = fields.UUID()
    since = UtcTime(metadata={"description": "Inclusive."})
    until = UtcTime(metadata={"description": "Exclusive."})
    status_counts = fields.Nested(
        Schema.from_dict({status.value: fields.Integer(required=True) for status in RunStatus}, name="StatusCounts")
    )
    latest_by_pipeline = fields.List(fields.Nested(LatestOfPipelineSchema))


def _window_number(description: str) -> fields.Integer:
    return fields.Integer(
        strict=True,
        load_default=None,
        allow_none=True,
        validate=validate.Range(1, MAX_INTEGER),
        metadata={"description": f"{description} Required for failures_in_window."},
    )


class AlertRuleSchema(Timestamps):
    """When to tell whom. The scope is the pipeline when there is one, else the client."""

    id = fields.UUID(dump_only=True)
    client_id = fields.UUID(
        load_default=None,
        allow_none=True,
        metadata={"description": "The client watched; beside a pipeline it only says whose that is."},
    )
    pipeline_id = fields.UUID(load_default=None, allow_none=True, metadata={"description": "The pipeline watched."})
    rule_type = fields.Enum(RuleType, by_value=True, required=True)
    threshold = _window_number("How many failures.")
    window_minutes = _window_number("Within how many minutes.")
    channel = fields.Enum(Channel, by_value=True, required=True)
    destination = Text(
        strip=True,
        required=True,
        validate=validate.Length(1, DESTINATION_MAX_LENGTH),
        metadata={"description": "A Slack channel, user or webhook; an address; or a URL, as the channel asks."},
    )
    is_enabled = fields.Boolean(load_default=True)


class SyncSchema(Schema):
    """What to ingest; everything when empty."""

    client_id = fields.UUID(load_default=None, allow_none=True)
    pipeline_id = fields.UUID(load_default=None, allow_none=True)
    source = Text(load_default=None, allow_none=True, validate=validate.Length(1, NAME_MAX_LENGTH))


class CountsSchema(Schema):
    """What became of the runs that were read."""

    pages = fields.Integer()
    created = fields.Integer()
    updated = fields.Integer()
    unchanged = fields.Integer()
    rejected = fields.Integer()


class SourceProgressSchema(Schema):
    """How far one source of a job has come."""

    name = fields.String()
    state = fields.Enum(JobState, by_value=True)
    counts = fields.Nested(CountsSchema)
    pipelines_done = fields.Integer()
    pipelines_total = fields.Integer()
    started_at = UtcTime(allow_none=True)
    ended_at = UtcTime(allow_none=True)
    error = fields.String(allow_none=True)
    waiting_for = fields.String(allow_none=True)
    waiting_until = UtcTime(allow_none=True)


class JobSchema(Schema):
    """An ingestion job and its progress."""

    id = fields.String()
    state = fields.Enum(JobState, by_value=True)
    scope = fields.Nested(SyncSchema)
    requested_at = UtcTime()
    started_at = UtcTime(allow_none=True)
    ended_at = UtcTime(allow_none=True)
    counts = fields.Nested(CountsSchema)
    pipelines_done = fields.Integer()
    pipelines_total = fields.Integer()
    error = fields.String(allow_none=True)
    waiting_for = fields.String(allow_none=True, metadata={"description": "What it waits for, in words."})
    waiting_until = UtcTime(allow_none=True)
    sources = fields.List(fields.Nested(SourceProgressSchema))


class RejectedRunSchema(Schema):
    """A run that could not be taken in, and why."""

    source = fields.String()
    pipeline_id = fields.UUID(allow_none=True)
    external_run_id = fields.String(allow_none=True)
    reason = fields.String()


class JobDetailSchema(JobSchema):
    """A job with the runs that it rejected (the first hundred)."""

    rejected_runs = fields.List(fields.Nested(RejectedRunSchema))
