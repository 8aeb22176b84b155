"""``/pipelines/{id}/dbt-run-results``: what an invocation of dbt Core has left behind."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from marshmallow import fields, validate

from chm_web.access.guard import actor
from chm_web.access.permissions import Permission
from chm_web.api.base import ETAG, ApiBlueprint, AsItComes, ErrorSchema, NoQuery, reported
from chm_web.ingestion.artifacts import take_run_results
from chm_web.models import EXTERNAL_ID_MAX_LENGTH, Run
from chm_web.schemas.base import told
from chm_web.schemas.runs import RunSchema

blueprint = ApiBlueprint("api_dbt", __name__, description="Runs of dbt Core, by the files that it leaves behind.")


class DbtMetadataSchema(AsItComes):
    """Of the invocation that wrote the file."""

    invocation_id = fields.String(
        required=True,
        validate=validate.Length(1, EXTERNAL_ID_MAX_LENGTH),
        metadata=told("Its id, by which the run is known."),
    )
    generated_at = fields.Raw(metadata=told("When it ended."))
    invocation_started_at = fields.Raw(metadata=told("When it began."))


class DbtRunResultsSchema(AsItComes):
    """dbt's `target/run_results.json` as it is. What is not told here is taken as well."""

    metadata = fields.Nested(DbtMetadataSchema, required=True, metadata=told("Of the invocation."))
    results = fields.List(
        fields.Dict(),
        required=True,
        metadata=told("A node each, with `unique_id`, `status`, `message` and `adapter_response`."),
    )
    elapsed_time = fields.Raw(
        metadata=told("Seconds that the invocation took; its start is reckoned by them where that is not told.")
    )


@blueprint.route("/pipelines/<uuid:pipeline_id>/dbt-run-results", methods=["POST"], allow=Permission.REPORT)
@blueprint.arguments(DbtRunResultsSchema)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(200, RunSchema, headers=ETAG, description="The run was known; it stands as shown.")
@blueprint.alt_response(201, schema=RunSchema, headers=ETAG, success=True, description="The run is new.")
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such pipeline.")
def report_dbt_run(body: dict[str, Any], query: dict[str, Any], pipeline_id: UUID) -> tuple[Run, int, dict[str, str]]:
    """Report a run of dbt Core.

    Send `target/run_results.json` as it is. The run's id is the invocation's: the same file again changes nothing.
    """
    return reported(*take_run_results(pipeline_id=pipeline_id, run_results=body, reported_by=actor().name))
