"""Runs: one, many at a time, and summed up."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from chm_web.json_answers import Schema
from chm_web.models import Platform, RunStatus
from chm_web.schemas.base import Bounds, Number, Text, Timestamps, UtcTime, external_id_field, told
from chm_web.services.run_values import MAX_BIGINT

MAX_BATCH = 1000


class RunSchema(Timestamps):
    """One run of a pipeline."""

    id = fields.UUID(dump_only=True, metadata=told("Its id."))
    pipeline_id = fields.UUID(dump_only=True, metadata=told("The pipeline that ran."))
    external_run_id = external_id_field(
        load_default=None,
        metadata=told("The platform's id of the run, unique within the pipeline; made when it is left out."),
    )
    status = fields.Enum(RunStatus, by_value=True, required=True, metadata=told("The state of the run."))
    started_at = UtcTime(
        load_default=None, allow_none=True, metadata=told("When it began, between 1970 and 2199; null: not known.")
    )
    finished_at = UtcTime(
        load_default=None,
        allow_none=True,
        metadata=told(
            "When it ended, between 1970 and 2199; null: not known. Not before started_at, and not with `running`."
        ),
    )
    duration_seconds = Number(
        load_default=None,
        allow_none=True,
        validate=Bounds(min=0),
        metadata=told("How long it took. Derived from the two times where both are known.", format="double"),
    )
    rows_processed = fields.Integer(
        strict=True,
        load_default=None,
        allow_none=True,
        validate=Bounds(0, MAX_BIGINT),
        metadata=told("How many rows it handled; null: not known.", format="int64"),
    )
    error_message = Text(load_default=None, allow_none=True, metadata=told("What went wrong, in the source's words."))
    status_reason = Text(
        load_default=None,
        allow_none=True,
        metadata=told("Why it is in this state, such as the source's own word for it."),
    )
    payload = fields.Dict(
        load_default=None,
        allow_none=True,
        metadata=told("What else the source says of it, as a JSON object. Stored without secrets, and only so much."),
    )
    ingested_at = UtcTime(dump_only=True, metadata=told("The last write that changed the run."))

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

    pipeline_id = fields.UUID(required=True, metadata=told("The pipeline that ran."))
    external_run_id = external_id_field(
        required=True, metadata=told("The platform's id of the run, unique within the pipeline.")
    )


class _Unchecked(fields.Nested):
    """Described as what it nests, but taken as it comes: each one is checked by itself later."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return value


class RunBatchSchema(Schema):
    """Runs of any pipelines. A bad one is rejected by itself and never costs the others."""

    runs = fields.List(
        _Unchecked(BatchRunSchema),
        required=True,
        validate=validate.Length(max=MAX_BATCH),
        metadata=told(f"Up to {MAX_BATCH:,} runs. One may stand in it several times."),
    )


class RunRejectionSchema(Schema):
    """Why one run of a batch was not taken."""

    index = fields.Integer(metadata=told("Its place in the batch, from 0."))
    external_run_id = fields.String(
        allow_none=True, metadata=told("The id that was given, cut to 200 characters; null when there was none.")
    )
    field = fields.String(metadata=told("The field that is wrong; `body` for the item as a whole."))
    issue = fields.String(metadata=told("What is wrong with it."))


class RecordResultSchema(Schema):
    """What became of a batch."""

    created = fields.Integer(metadata=told("Runs that are new."))
    updated = fields.Integer(metadata=told("Runs that were known and have changed."))
    unchanged = fields.Integer(metadata=told("Runs of which everything was known already; nothing was written."))
    rejected = fields.List(
        fields.Nested(RunRejectionSchema), metadata=told("What was not taken and why, in the order of the batch.")
    )


class LatestOfPipelineSchema(Schema):
    """The latest run of a pipeline, in short."""

    pipeline_id = fields.UUID(metadata=told("The pipeline."))
    pipeline_name = fields.String(metadata=told("Its name."))
    platform = fields.Enum(Platform, by_value=True, metadata=told("Where it runs."))
    latest_status = fields.Enum(
        RunStatus, by_value=True, allow_none=True, metadata=told("The state of its latest run; null without a run.")
    )
    latest_run_at = UtcTime(allow_none=True, metadata=told("The event time of that run; null without a run."))


class StatusCountsSchema(Schema):
    """How many runs are in each state, all five named."""

    running = fields.Integer(metadata=told("Runs under way."))
    skipped = fields.Integer(metadata=told("Runs that were left out."))
    canceled = fields.Integer(metadata=told("Runs that were stopped."))
    success = fields.Integer(metadata=told("Runs that succeeded."))
    failed = fields.Integer(metadata=told("Runs that failed."))


class RunSummarySchema(Schema):
    """A client's runs in a window of event time, and the latest run of each of its pipelines."""

    client_id = fields.UUID(metadata=told("The client."))
    since = UtcTime(metadata=told("The start of the window, inclusive."))
    until = UtcTime(metadata=told("Its end, exclusive."))
    status_counts = fields.Nested(StatusCountsSchema, metadata=told("The runs of the window by their state."))
    latest_by_pipeline = fields.List(
        fields.Nested(LatestOfPipelineSchema),
        metadata=told("The latest run of each pipeline, whenever it was, by the pipelines' names."),
    )
