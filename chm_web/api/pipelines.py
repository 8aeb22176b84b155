"""``/clients/{id}/pipelines`` and ``/pipelines``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from marshmallow import fields

from chm_web.access.guard import actor
from chm_web.access.permissions import Permission
from chm_web.api.base import (
    ETAG,
    LOCATION,
    ApiBlueprint,
    ErrorSchema,
    IfMatch,
    NoQuery,
    SearchQuery,
    created,
    page_schema,
    patch_schema,
    tagged,
)
from chm_web.models import Environment, Pipeline, PipelineType, Platform
from chm_web.schemas.base import told
from chm_web.schemas.inventory import ListedPipelineSchema, PipelineHealthSchema, PipelineSchema
from chm_web.services import health, pipeline_lists, pipelines
from chm_web.services.health import Health, PipelineHealth
from chm_web.services.paging import Page
from chm_web.services.pipeline_lists import ListedPipeline

blueprint = ApiBlueprint("api_pipelines", __name__, description="The pipelines of clients, with their health.")


class PipelineQuery(SearchQuery):
    """The parameters of a list of pipelines."""

    platform = fields.Enum(
        Platform, by_value=True, load_default=None, metadata=told("Only those on this platform.", example="airflow")
    )


class FleetPipelineQuery(PipelineQuery):
    """The parameters of a list of pipelines of any clients."""

    client_id = fields.UUID(load_default=None, metadata=told("Only those of this client."))
    pipeline_type = fields.Enum(
        PipelineType, by_value=True, load_default=None, metadata=told("Only those of this type.", example="ingestion")
    )
    environment = fields.Enum(
        Environment, by_value=True, load_default=None, metadata=told("Only those deployed here.", example="prod")
    )
    health = fields.Enum(
        Health, by_value=True, load_default=None, metadata=told("Only those in this health.", example="failing")
    )


@blueprint.route("/pipelines", methods=["GET"], allow=Permission.READ)
@blueprint.arguments(FleetPipelineQuery, location="query")
@blueprint.response(200, page_schema(ListedPipelineSchema), description="A page of pipelines.")
def list_pipelines(query: dict[str, Any]) -> Page[ListedPipeline]:
    """List the pipelines of all clients, by the client's name and their own.

    Each with its health and its latest run. `health=failing&is_active=true` is what is failing now. All pages of one
    listing are judged at the moment of its first page.
    """
    return pipeline_lists.list_pipelines(now=datetime.now(UTC), **query)


@blueprint.route("/clients/<uuid:client_id>/pipelines", methods=["GET"], allow=Permission.READ)
@blueprint.arguments(PipelineQuery, location="query")
@blueprint.response(200, page_schema(ListedPipelineSchema), description="A page of pipelines.")
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such client.")
def list_client_pipelines(query: dict[str, Any], client_id: UUID) -> Page[ListedPipeline]:
    """List a client's pipelines by name.

    Each with its health and its latest run. Disabled ones are listed too unless `is_active=true` is asked for.
    """
    return pipeline_lists.list_client_pipelines(client_id=client_id, now=datetime.now(UTC), **query)


@blueprint.route("/clients/<uuid:client_id>/pipelines", methods=["POST"], allow=Permission.OPERATE)
@blueprint.arguments(PipelineSchema)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(201, PipelineSchema, headers=ETAG | LOCATION, description="The new pipeline.")
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such client.")
@blueprint.alt_response(409, schema=ErrorSchema, description="The name or the external id is taken.")
def create_pipeline(body: dict[str, Any], query: dict[str, Any], client_id: UUID) -> tuple[Pipeline, dict[str, str]]:
    """Create a pipeline of a client.

    Its name must be free within the client, and its external id within the client and the platform. Pipelines of other
    clients may have the same external id: a source that is read for several of them brings the same runs to each, and
    events that name it find none. The pipeline's page warns of it.
    """
    pipeline = pipelines.create_pipeline(client_id=client_id, **body, updated_by=actor().name)
    return created(pipeline, "api_pipelines.get_pipeline", pipeline_id=pipeline.id)


@blueprint.route("/pipelines/<uuid:pipeline_id>", methods=["GET"], allow=Permission.READ)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(200, PipelineSchema, headers=ETAG, description="The pipeline.")
@blueprint.alt_response(304, description="The version that If-None-Match names is still the latest.")
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such pipeline.")
def get_pipeline(query: dict[str, Any], pipeline_id: UUID) -> tuple[Pipeline, dict[str, str]]:
    """Give one pipeline.

    With `If-None-Match` the answer is 304 as long as nothing has changed. Its health changes without it and is told by
    `/pipelines/{pipeline_id}/health`.
    """
    return tagged(pipelines.get_pipeline(pipeline_id=pipeline_id))


@blueprint.route("/pipelines/<uuid:pipeline_id>", methods=["PATCH"], allow=Permission.OPERATE)
@blueprint.arguments(patch_schema(PipelineSchema))
@blueprint.arguments(NoQuery, location="query")
@blueprint.arguments(IfMatch, location="headers")
@blueprint.response(200, PipelineSchema, headers=ETAG, description="The pipeline.")
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such pipeline.")
@blueprint.alt_response(409, schema=ErrorSchema, description="The name or the external id is taken.")
@blueprint.alt_response(412, schema=ErrorSchema, description="The pipeline is not at the version of If-Match any more.")
def update_pipeline(
    body: dict[str, Any], query: dict[str, Any], seen: dict[str, Any], pipeline_id: UUID
) -> tuple[Pipeline, dict[str, str]]:
    """Change a pipeline.

    The fields that are sent are changed, and no others; it stays with its client. With `If-Match` the change is made
    only if nobody has changed the pipeline since it was read.
    """
    return tagged(pipelines.update_pipeline(pipeline_id=pipeline_id, changes=body, updated_by=actor().name, **seen))


@blueprint.route("/pipelines/<uuid:pipeline_id>", methods=["DELETE"], allow=Permission.OPERATE)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(204, description="The pipeline is disabled.")
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such pipeline.")
def disable_pipeline(query: dict[str, Any], pipeline_id: UUID) -> None:
    """Disable a pipeline.

    It leaves the active views and is not read any more; its history stays readable. Doing it twice is fine. A PATCH of
    `is_active` enables it again.
    """
    pipelines.disable_pipeline(pipeline_id=pipeline_id, updated_by=actor().name)


@blueprint.route("/pipelines/<uuid:pipeline_id>/health", methods=["GET"], allow=Permission.READ)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(200, PipelineHealthSchema, description="The pipeline's health.")
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such pipeline.")
def get_pipeline_health(query: dict[str, Any], pipeline_id: UUID) -> PipelineHealth:
    """Give the health of one pipeline.

    Whether it fails, since when, with what error, and how often in a row. A disabled pipeline is judged too.
    """
    return health.get_pipeline_health(pipeline_id=pipeline_id, now=datetime.now(UTC))
