"""``/clients``."""

from __future__ import annotations

from typing import Any
from uuid import UUID

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
from chm_web.models import Client
from chm_web.schemas import ClientSchema
from chm_web.services import clients
from chm_web.services.paging import Page

blueprint = ApiBlueprint("api_clients", __name__, description="Clients")


@blueprint.route("/clients", methods=["GET"], allow=Permission.READ)
@blueprint.arguments(SearchQuery, location="query")
@blueprint.response(200, page_schema(ClientSchema))
def list_clients(query: dict[str, Any]) -> Page[Client]:
    """List clients by name."""
    return clients.list_clients(**query)


@blueprint.route("/clients", methods=["POST"], allow=Permission.ADMINISTER)
@blueprint.arguments(ClientSchema)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(201, ClientSchema, headers=ETAG)
@blueprint.alt_response(409, schema=ErrorSchema, description="The name is taken.")
def create_client(body: dict[str, Any], query: dict[str, Any]) -> tuple[Client, dict[str, str]]:
    """Create a client."""
    return tagged(clients.create_client(**body, updated_by=actor().name))


@blueprint.route("/clients/<uuid:client_id>", methods=["GET"], allow=Permission.READ)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(200, ClientSchema, headers=ETAG)
@blueprint.alt_response(304, description="The version that If-None-Match names is still the latest.")
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such client.")
def get_client(query: dict[str, Any], client_id: UUID) -> tuple[Client, dict[str, str]]:
    """Give one client."""
    return tagged(clients.get_client(client_id=client_id))


@blueprint.route("/clients/<uuid:client_id>", methods=["PATCH"], allow=Permission.ADMINISTER)
@blueprint.arguments(patch_schema(ClientSchema))
@blueprint.arguments(NoQuery, location="query")
@blueprint.arguments(IfMatch, location="headers")
@blueprint.response(200, ClientSchema, headers=ETAG)
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such client.")
@blueprint.alt_response(409, schema=ErrorSchema, description="The name is taken.")
@blueprint.alt_response(412, schema=ErrorSchema, description="The client is not at the version of If-Match any more.")
def update_client(
    body: dict[str, Any], query: dict[str, Any], seen: dict[str, Any], client_id: UUID
) -> tuple[Client, dict[str, str]]:
    """Change a client: the fields that are sent, and no others."""
    return tagged(clients.update_client(client_id=client_id, changes=body, updated_by=actor().name, **seen))


@blueprint.route("/clients/<uuid:client_id>", methods=["DELETE"], allow=Permission.ADMINISTER)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(204)
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such client.")
def disable_client(query: dict[str, Any], client_id: UUID) -> None:
    """Disable a client. Its history stays readable; doing it twice is fine."""
    clients.disable_client(client_id=client_id, updated_by=actor().name)
