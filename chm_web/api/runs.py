"""``/pipelines/{id}/runs``."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from marshmallow import fields, validate

from chm_web.api.base import ApiBlueprint, ErrorSchema, NoQuery, PageQuery, page_schema
from chm_web.models import Run, RunStatus
from chm_web.schemas import RunSchema, UtcTime
from chm_web.services import runs
from chm_web.services.paging import Page
from chm_web.services.runs import RunRecord

blueprint = ApiBlueprint("api_runs", __name__, description="Runs")


class RunQuery(PageQuery):
    """The parameters of a list of a pipeline's runs. The window is on event time."""

    status = fields.Enum(RunStatus, by_value=True, load_default=None)
    since = UtcTime(load_default=None, metadata={"description": "Inclusive."})
    until = UtcTime(load_default=None, metadata={"description": "Exclusive."})
    order = fields.String(load_default="desc", validate=validate.OneOf(["desc", "asc"]))


@blueprint.route("/pipelines/<uuid:pipeline_id>/runs", methods=["GET"])
@blueprint.arguments(RunQuery, location="query")
@blueprint.response(200, page_schema(RunSchema))
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such pipeline.")
def list_runs(query: dict[str, Any], pipeline_id: UUID) -> Page[Run]:
    """List a pipeline's runs, the latest first unless asked otherwise."""
    return runs.list_pipeline_runs(pipeline_id=pipeline_id, **query)


@blueprint.route("/pipelines/<uuid:pipeline_id>/runs", methods=["POST"])
@blueprint.arguments(RunSchema)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(201, RunSchema)
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such pipeline.")
@blueprint.alt_response(409, schema=ErrorSchema, description="The pipeline has this run already.")
def create_run(body: dict[str, Any], query: dict[str, Any], pipeline_id: UUID) -> Run:
    """Record a run by hand."""
    external_run_id = body.pop("external_run_id") or f"manual-{uuid4()}"
    return runs.create_run(record=RunRecord(pipeline_id=pipeline_id, external_run_id=external_run_id, **body))


@blueprint.route("/pipelines/<uuid:pipeline_id>/runs/latest", methods=["GET"])
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(200, RunSchema)
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such pipeline, or it has no run.")
def get_latest_run(query: dict[str, Any], pipeline_id: UUID) -> Run:
    """Give the latest run of a pipeline: the one that started last, finished or not."""
    return runs.get_latest_run(pipeline_id=pipeline_id)
