"""``/ingestion``: asking for an ingestion and watching it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from marshmallow import Schema, fields, validate

from chm_web.access.guard import actor
from chm_web.access.permissions import Permission
from chm_web.api.base import ApiBlueprint, ErrorSchema, NoQuery
from chm_web.ingestion import queue
from chm_web.ingestion.progress import IngestionJob, RejectedRun, SyncScope
from chm_web.models import RunStatus
from chm_web.schemas import JobDetailSchema, JobSchema, SyncSchema, UtcTime

blueprint = ApiBlueprint("api_ingestion", __name__, description="Ingestion")


class JobsQuery(Schema):
    """The parameters of the list of jobs."""

    limit = fields.Integer(load_default=20, validate=validate.Range(1, 100))


class JobsSchema(Schema):
    """The latest jobs; there is no further page, they are kept for a week."""

    items = fields.List(fields.Nested(JobSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class UnmappedNameSchema(Schema):
    """What a producer reports of something that is no pipeline here, or may be several."""

    source = fields.String(metadata={"description": "By which way it was reported.", "example": "openlineage"})
    name = fields.String(metadata={"description": "A pipeline with this external id would get its runs."})
    count = fields.Integer(metadata={"description": "How many reports there were."})
    first_seen_at = UtcTime()
    last_seen_at = UtcTime()
    last_status = fields.Enum(RunStatus, by_value=True, allow_none=True)
    reason = fields.String(metadata={"description": "Why no pipeline got the last report."})
    sample = fields.Dict(keys=fields.String(), values=fields.String(), metadata={"description": "Of the last report."})


class UnmappedNamesSchema(Schema):
    """The thousand names that were seen last; there is no further page."""

    items = fields.List(fields.Nested(UnmappedNameSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


@dataclass(frozen=True)
class _JobDetail:
    """A job with its rejected runs, as ``JobDetailSchema`` reads it."""

    job: IngestionJob
    rejected_runs: list[RejectedRun]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.job, name)


@blueprint.route("/ingestion/runs/sync", methods=["POST"], allow=Permission.OPERATE)
@blueprint.arguments(SyncSchema, required=False)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(202, JobSchema)
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such client, pipeline or source.")
@blueprint.alt_response(409, schema=ErrorSchema, description="There is nothing to read in this scope.")
@blueprint.alt_response(503, schema=ErrorSchema, description="The job queue does not answer.")
def request_sync(body: dict[str, Any], query: dict[str, Any]) -> IngestionJob:
    """Ask for an ingestion. A live job that covers the same scope is given back instead of a second one."""
    job, _ = queue.request_sync(scope=SyncScope(**body), requested_by=actor().name)
    return job


@blueprint.route("/ingestion/jobs", methods=["GET"], allow=Permission.READ)
@blueprint.arguments(JobsQuery, location="query")
@blueprint.response(200, JobsSchema)
@blueprint.alt_response(503, schema=ErrorSchema, description="The job queue does not answer.")
def list_jobs(query: dict[str, Any]) -> dict[str, Any]:
    """List the latest ingestion jobs, the newest first."""
    return {"items": queue.latest_jobs(limit=query["limit"]), "next_cursor": None}


@blueprint.route("/ingestion/jobs/<job_id>", methods=["GET"], allow=Permission.READ, is_limited=False)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(200, JobDetailSchema)
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such job, or it is older than a week.")
@blueprint.alt_response(503, schema=ErrorSchema, description="The job queue does not answer.")
def get_job(query: dict[str, Any], job_id: str) -> _JobDetail:
    """Give an ingestion job, its progress and the runs that it rejected."""
    return _JobDetail(queue.get_job(job_id=job_id), queue.list_rejected(job_id=job_id))


@blueprint.route("/ingestion/unmapped", methods=["GET"], allow=Permission.READ)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(200, UnmappedNamesSchema)
@blueprint.alt_response(503, schema=ErrorSchema, description="Redis, which keeps them, does not answer.")
def list_unmapped(query: dict[str, Any]) -> dict[str, Any]:
    """List what is reported but belongs to no pipeline, the last seen first. A name is kept for a week."""
    return {"items": queue.list_unmapped(), "next_cursor": None}
