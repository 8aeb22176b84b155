"""Ingestion jobs as the API takes and shows them."""

from __future__ import annotations

from marshmallow import fields, validate

from chm_web.ingestion.progress import JobState
from chm_web.json_answers import Schema
from chm_web.schemas.base import NAME_MAX_LENGTH, Text, UtcTime, told


class SyncSchema(Schema):
    """What to ingest; everything when empty."""

    client_id = fields.UUID(load_default=None, allow_none=True, metadata=told("Only this client's pipelines."))
    pipeline_id = fields.UUID(load_default=None, allow_none=True, metadata=told("Only this pipeline."))
    source = Text(
        load_default=None,
        allow_none=True,
        validate=validate.Length(1, NAME_MAX_LENGTH),
        metadata=told("Only this source, by its configured name."),
    )


class CountsSchema(Schema):
    """What became of the runs that were read."""

    pages = fields.Integer(metadata=told("Pages read."))
    created = fields.Integer(metadata=told("Runs that are new."))
    updated = fields.Integer(metadata=told("Runs that were known and have changed."))
    unchanged = fields.Integer(metadata=told("Runs of which everything was known already."))
    rejected = fields.Integer(metadata=told("Runs that could not be taken in."))


class _Progress(Schema):
    """How far something has come: a job, or one source of it."""

    state = fields.Enum(JobState, by_value=True, metadata=told("Where it stands."))
    started_at = UtcTime(allow_none=True, metadata=told("When it began; null while it is queued."))
    ended_at = UtcTime(allow_none=True, metadata=told("When it ended; null until then."))
    counts = fields.Nested(CountsSchema, metadata=told("The runs read so far."))
    pipelines_done = fields.Integer(metadata=told("Pipelines read to their end."))
    pipelines_total = fields.Integer(metadata=told("Pipelines to read; 0 until it is known."))
    pipelines_unread = fields.Integer(
        metadata=told("Pipelines of those done that could not be read while others were: unknown to the source, say.")
    )
    error = fields.String(allow_none=True, metadata=told("What went wrong, in words; null: nothing."))
    warning = fields.String(
        allow_none=True,
        metadata=told("What is missing although it has not failed, in words, with an example; null: nothing."),
    )
    waiting_for = fields.String(
        allow_none=True, metadata=told("What it waits for other than a worker, in words; null: nothing.")
    )
    waiting_until = UtcTime(allow_none=True, metadata=told("When it goes on; null: no wait."))


class SourceProgressSchema(_Progress):
    """How far one source of a job has come."""

    name = fields.String(metadata=told("The source's name."))


class JobSchema(_Progress):
    """An ingestion job and its progress, over all its sources."""

    id = fields.String(metadata=told("Its id."))
    scope = fields.Nested(SyncSchema, metadata=told("What it ingests."))
    requested_at = UtcTime(metadata=told("When it was asked for."))
    sources = fields.List(fields.Nested(SourceProgressSchema), metadata=told("Each source by itself."))


class RejectedRunSchema(Schema):
    """A run that could not be taken in, and why."""

    source = fields.String(metadata=told("The source that gave it."))
    pipeline_id = fields.UUID(allow_none=True, metadata=told("The pipeline that it was read for; null: not known."))
    external_run_id = fields.String(allow_none=True, metadata=told("The platform's id of the run; null: not known."))
    reason = fields.String(metadata=told("Why it was not taken."))


class UnreadPipelineSchema(Schema):
    """A pipeline that could not be read while others of its source were, and why."""

    source = fields.String(metadata=told("The source that should have given its runs."))
    pipeline_id = fields.UUID(metadata=told("The pipeline."))
    external_id = fields.String(metadata=told("What the source was asked for."))
    reason = fields.String(metadata=told("Why it could not be read."))


class JobDetailSchema(JobSchema):
    """A job with what it rejected and could not read (the first hundred of each)."""

    rejected_runs = fields.List(fields.Nested(RejectedRunSchema), metadata=told("The runs that it rejected."))
    unread_pipelines = fields.List(
        fields.Nested(UnreadPipelineSchema), metadata=told("The pipelines that it could not read while it read others.")
    )


class JobListSchema(Schema):
    """The latest jobs; there is no further page, they are kept for a week."""

    items = fields.List(fields.Nested(JobSchema), required=True, metadata=told("The jobs, the newest first."))
    next_cursor = fields.String(required=True, allow_none=True, metadata=told("Always null: there is one page."))
