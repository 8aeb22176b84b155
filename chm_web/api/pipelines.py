"""``/clients/{id}/pipelines`` and ``/pipelines``."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from marshmallow import fields

from chm_web.api.base import ApiBlueprint, ErrorSchema, NoQuery, SearchQuery, page_schema
from chm_web.models import Pipeline, Platform
from chm_web.schemas import PipelineSchema
from chm_web.services import pipelines
from chm_web.services.paging import Page

blueprint = ApiBlueprint("api_pipelines", __name__, description="Pipelines")


class PipelineQuery(SearchQuery):
    """The parameters of a list of pipelines."""

    platform = fields.Enum(Platform, by_value=True, load_default=None)


@blueprint.route("/clients/<uuid:client_id>/pipelines", methods=["GET"])
@blueprint.arguments(PipelineQuery, location="query")
@blueprint.response(200, page_schema(PipelineSchema))
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such client.")
def list_client_pipelines(query: dict[str, Any], client_id: UUID) -> Page[Pipeline]:
    """List a client's pipelines by name."""
    return pipelines.list_client_pipelines(client_id=client_id, **query)


@blueprint.route("/clients/<uuid:client_id>/pipelines", methods=["POST"])
@blueprint.arguments(PipelineSchema)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(201, PipelineSchema)
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such client.")
@blueprint.alt_response(409, schema=ErrorSchema, description="The name or the external id is taken.")
def create_pipeline(body: dict[str, Any], query: dict[str, Any], client_id: UUID) -> Pipeline:
    """Create a pipeline of a client."""
    return pipelines.create_pipeline(client_id=client_id, **body)


@blueprint.route("/pipelines/<uuid:pipeline_id>", methods=["GET"])
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(200, PipelineSchema)
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such pipeline.")
def get_pipeline(query: dict[str, Any], pipeline_id: UUID) -> Pipeline:
    """Give one pipeline."""
    return pipelines.get_pipeline(pipeline_id=pipeline_id)
