"""``/ingestion``: asking for an ingestion and watching it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import flask
from marshmallow import Schema, fields, validate

from chm_web.api.base import LOCATION, ApiBlueprint, ErrorSchema, NoQuery
from chm_web.api.job_schemas import JobDetailSchema, JobListSchema, JobSchema, SyncSchema
from chm_web.ingestion import queue
from chm_web.ingestion.progress import IngestionJob, RejectedRun, SyncScope
from chm_web.schemas import told

blueprint = ApiBlueprint("api_ingestion", __name__, description="Asking for an ingestion and watching it.")


class JobsQuery(Schema):
    """The parameters of the list of jobs."""

    limit = fields.Integer(
        load_default=20, validate=validate.Range(1, 100), metadata=told("Jobs to list, 1 to 100.", example=20)
    )


@dataclass(frozen=True)
class _JobDetail:
    """A job with its rejected runs, as ``JobDetailSchema`` reads it."""

    job: IngestionJob
    rejected_runs: list[RejectedRun]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.job, name)


@blueprint.route("/ingestion/runs/sync", methods=["POST"])
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
    job, _ = queue.request_sync(scope=SyncScope(**body))
    return job, {"Location": flask.url_for("api_ingestion.get_ingestion_job", job_id=job.id)}


@blueprint.route("/ingestion/jobs", methods=["GET"])
@blueprint.arguments(JobsQuery, location="query")
@blueprint.response(200, JobListSchema, description="The latest jobs.")
def list_ingestion_jobs(query: dict[str, Any]) -> dict[str, Any]:
    """List the latest ingestion jobs, the newest first.

    Jobs are kept for a week.
    """
    return {"items": queue.latest_jobs(limit=query["limit"]), "next_cursor": None}


@blueprint.route("/ingestion/jobs/<job_id>", methods=["GET"])
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(200, JobDetailSchema, description="The job.")
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such job, or it is older than a week.")
def get_ingestion_job(query: dict[str, Any], job_id: str) -> _JobDetail:
    """Give an ingestion job, its progress and the runs that it rejected.

    Ask again every few seconds while `state` is `queued` or `running`.
    """
    return _JobDetail(queue.get_job(job_id=job_id), queue.list_rejected(job_id=job_id))
