"""``/clients/{id}/pipelines`` and ``/pipelines``."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from marshmallow import fields

from chm_web.access.guard import actor
from chm_web.access.permissions import Permission
from chm_web.api.base import (
    ETAG,
    ApiBlueprint,
    ErrorSchema,
    IfMatch,
    NoQuery,
    SearchQuery,
    page_schema,
    patch_schema,
    tagged,
)
from chm_web.models import Environment, Pipeline, PipelineType, Platform
from chm_web.schemas import PipelineSchema
from chm_web.services import pipelines
from chm_web.services.paging import Page

blueprint = ApiBlueprint("api_pipelines", __name__, description="Pipelines")


class PipelineQuery(SearchQuery):
    """The parameters of a list of pipelines."""

    platform = fields.Enum(Platform, by_value=True, load_default=None)


class FleetPipelineQuery(PipelineQuery):
    """The parameters of a list of pipelines of any clients."""

    client_id = fields.UUID(load_default=None)
    pipeline_type = fields.Enum(PipelineType, by_value=True, load_default=None)
    environment = fields.Enum(Environment, by_value=True, load_default=None)


@blueprint.route("/pipelines", methods=["GET"], allow=Permission.READ)
@blueprint.arguments(FleetPipelineQuery, location="query")
@blueprint.response(200, page_schema(PipelineSchema))
def list_pipelines(query: dict[str, Any]) -> Page[Pipeline]:
    """List the pipelines of all clients, by the client's name and their own."""
    return pipelines.list_pipelines(**query)


@blueprint.route("/clients/<uuid:client_id>/pipelines", methods=["GET"], allow=Permission.READ)
@blueprint.arguments(PipelineQuery, location="query")
@blueprint.response(200, page_schema(PipelineSchema))
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such client.")
def list_client_pipelines(query: dict[str, Any], client_id: UUID) -> Page[Pipeline]:
    """List a client's pipelines by name."""
    return pipelines.list_client_pipelines(client_id=client_id, **query)


@blueprint.route("/clients/<uuid:client_id>/pipelines", methods=["POST"], allow=Permission.OPERATE)
@blueprint.arguments(PipelineSchema)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(201, PipelineSchema, headers=ETAG)
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such client.")
@blueprint.alt_response(409, schema=ErrorSchema, description="The name or the external id is taken.")
def create_pipeline(body: dict[str, Any], query: dict[str, Any], client_id: UUID) -> tuple[Pipeline, dict[str, str]]:
    """Create a pipeline of a client."""
    return tagged(pipelines.create_pipeline(client_id=client_id, **body, updated_by=actor().name))


@blueprint.route("/pipelines/<uuid:pipeline_id>", methods=["GET"], allow=Permission.READ)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(200, PipelineSchema, headers=ETAG)
@blueprint.alt_response(304, description="The version that If-None-Match names is still the latest.")
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such pipeline.")
def get_pipeline(query: dict[str, Any], pipeline_id: UUID) -> tuple[Pipeline, dict[str, str]]:
    """Give one pipeline."""
    return tagged(pipelines.get_pipeline(pipeline_id=pipeline_id))


@blueprint.route("/pipelines/<uuid:pipeline_id>", methods=["PATCH"], allow=Permission.OPERATE)
@blueprint.arguments(patch_schema(PipelineSchema))
@blueprint.arguments(NoQuery, location="query")
@blueprint.arguments(IfMatch, location="headers")
@blueprint.response(200, PipelineSchema, headers=ETAG)
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such pipeline.")
@blueprint.alt_response(409, schema=ErrorSchema, description="The name or the external id is taken.")
@blueprint.alt_response(412, schema=ErrorSchema, description="The pipeline is not at the version of If-Match any more.")
def update_pipeline(
    body: dict[str, Any], query: dict[str, Any], seen: dict[str, Any], pipeline_id: UUID
) -> tuple[Pipeline, dict[str, str]]:
    """Change a pipeline: the fields that are sent, and no others. It stays with its client."""
    return tagged(pipelines.update_pipeline(pipeline_id=pipeline_id, changes=body, updated_by=actor().name, **seen))


@blueprint.route("/pipelines/<uuid:pipeline_id>", methods=["DELETE"], allow=Permission.OPERATE)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(204)
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such pipeline.")
def disable_pipeline(query: dict[str, Any], pipeline_id: UUID) -> None:
    """Disable a pipeline. Its history stays readable; doing it twice is fine."""
    pipelines.disable_pipeline(pipeline_id=pipeline_id, updated_by=actor().name)
