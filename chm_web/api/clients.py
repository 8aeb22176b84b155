"""``/clients``."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from chm_web.api.base import ApiBlueprint, ErrorSchema, NoQuery, SearchQuery, page_schema
from chm_web.models import Client
from chm_web.schemas import ClientSchema
from chm_web.services import clients
from chm_web.services.paging import Page

blueprint = ApiBlueprint("api_clients", __name__, description="Clients")


@blueprint.route("/clients", methods=["GET"])
@blueprint.arguments(SearchQuery, location="query")
@blueprint.response(200, page_schema(ClientSchema))
def list_clients(query: dict[str, Any]) -> Page[Client]:
    """List clients by name."""
    return clients.list_clients(**query)


@blueprint.route("/clients", methods=["POST"])
@blueprint.arguments(ClientSchema)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(201, ClientSchema)
@blueprint.alt_response(409, schema=ErrorSchema, description="The name is taken.")
def create_client(body: dict[str, Any], query: dict[str, Any]) -> Client:
    """Create a client."""
    return clients.create_client(**body)


@blueprint.route("/clients/<uuid:client_id>", methods=["GET"])
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(200, ClientSchema)
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such client.")
def get_client(query: dict[str, Any], client_id: UUID) -> Client:
    """Give one client."""
    return clients.get_client(client_id=client_id)
