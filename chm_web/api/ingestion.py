"""``/ingestion``: asking for an ingestion and watching it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import flask
from marshmallow import fields

from chm_web.access.guard import actor
from chm_web.access.permissions import Permission
from chm_web.api.base import LOCATION, ApiBlueprint, ErrorSchema, NoQuery
from chm_web.api.job_schemas import JobDetailSchema, JobListSchema, JobSchema, SyncSchema
from chm_web.ingestion import queue
from chm_web.ingestion.progress import IngestionJob, RejectedRun, SyncScope, UnreadPipeline
from chm_web.json_answers import Schema
from chm_web.models import RunStatus
from chm_web.schemas.base import Bounds, UtcTime, told

blueprint = ApiBlueprint("api_ingestion", __name__, description="Asking for an ingestion and watching it.")


class JobsQuery(Schema):
    """The parameters of the list of jobs."""

    limit = fields.Integer(
        load_default=20, validate=Bounds(1, 100), metadata=told("Jobs to list, 1 to 100.", example=20)
    )


class UnmappedNameSchema(Schema):
    """What a producer reports of something that is no pipeline here, or may be several."""

    source = fields.String(metadata=told("By which way it was reported.", example="openlineage"))
    name = fields.String(
        metadata=told("A pipeline with this external id would get its runs.", example="airflow/orders")
    )
    count = fields.Integer(metadata=told("How many reports there were."))
    first_seen_at = UtcTime(metadata=told("When the first report came."))
    last_seen_at = UtcTime(metadata=told("When the last report came."))
    last_status = fields.Enum(
        RunStatus, by_value=True, allow_none=True, metadata=told("The state that the last report told; null: none.")
    )
    reason = fields.String(
        metadata=told("Why no pipeline got the last report.", example="No active pipeline has this external id.")
    )
    sample = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        metadata=told(
            "Of the last report.", example={"namespace": "airflow", "job": "orders", "event_type": "COMPLETE"}
        ),
    )


class UnmappedListSchema(Schema):
    """The thousand names that were seen last."""

    items = fields.List(
        fields.Nested(UnmappedNameSchema), required=True, metadata=told("The names, the last seen first.")
    )
    next_cursor = fields.String(required=True, allow_none=True, metadata=told("Always null: there is no further page."))


@dataclass(frozen=True)
class _JobDetail:
    """A job with what it could not take in or read, as ``JobDetailSchema`` reads it."""

    job: IngestionJob
    rejected_runs: list[RejectedRun]
    unread_pipelines: list[UnreadPipeline]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.job, name)


@blueprint.route("/ingestion/runs/sync", methods=["POST"], allow=Permission.OPERATE)
@blueprint.arguments(SyncSchema, required=False)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(202, JobSchema, headers=LOCATION, description="The job, new or already under way.")
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such client, pipeline or source.")
@blueprint.alt_response(409, schema=ErrorSchema, description="There is nothing to read in this scope.")
def request_sync(body: dict[str, Any], query: dict[str, Any]) -> tuple[IngestionJob, dict[str, str]]:
    """Ask for an ingestion.

    Of everything, or of what the body names. A live job that covers the same scope is given back instead of a second
    one. The work is done by workers: watch the job at the address in `Location`.
    """
    job, _ = queue.request_sync(scope=SyncScope(**body), requested_by=actor().name)
    return job, {"Location": flask.url_for("api_ingestion.get_ingestion_job", job_id=job.id)}


@blueprint.route("/ingestion/jobs", methods=["GET"], allow=Permission.READ)
@blueprint.arguments(JobsQuery, location="query")
@blueprint.response(200, JobListSchema, description="The latest jobs.")
def list_ingestion_jobs(query: dict[str, Any]) -> dict[str, Any]:
    """List the latest ingestion jobs, the newest first.

    Jobs are kept for a week.
    """
    return {"items": queue.latest_jobs(limit=query["limit"]), "next_cursor": None}


@blueprint.route("/ingestion/jobs/<job_id>", methods=["GET"], allow=Permission.READ, is_limited=False)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(200, JobDetailSchema, description="The job.")
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such job, or it is older than a week.")
def get_ingestion_job(query: dict[str, Any], job_id: str) -> _JobDetail:
    """Give an ingestion job, its progress, and what it rejected or could not read.

    Ask again every few seconds while `state` is `queued` or `running`.
    """
    return _JobDetail(
        queue.get_job(job_id=job_id), queue.list_rejected(job_id=job_id), queue.list_unread(job_id=job_id)
    )


@blueprint.route("/ingestion/unmapped", methods=["GET"], allow=Permission.READ)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(200, UnmappedListSchema, description="The names.")
def list_unmapped(query: dict[str, Any]) -> dict[str, Any]:
    """List what is reported but belongs to no pipeline, the last seen first.

    A name is kept for a week. Once a pipeline bears it as its external id, it gets the reports that come from then on.
    """
    return {"items": queue.list_unmapped(), "next_cursor": None}
