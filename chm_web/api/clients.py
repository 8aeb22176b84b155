"""``/clients``."""

from __future__ import annotations

from typing import Any
from uuid import UUID

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
from chm_web.models import Client
from chm_web.schemas.inventory import ClientSchema
from chm_web.services import clients
from chm_web.services.paging import Page

blueprint = ApiBlueprint("api_clients", __name__, description="The clients whose pipelines the team runs.")


@blueprint.route("/clients", methods=["GET"], allow=Permission.READ)
@blueprint.arguments(SearchQuery, location="query")
@blueprint.response(200, page_schema(ClientSchema), description="A page of clients.")
def list_clients(query: dict[str, Any]) -> Page[Client]:
    """List clients by name.

    Disabled ones are listed too unless `is_active=true` is asked for.
    """
    return clients.list_clients(**query)


@blueprint.route("/clients", methods=["POST"], allow=Permission.ADMINISTER)
@blueprint.arguments(ClientSchema)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(201, ClientSchema, headers=ETAG | LOCATION, description="The new client.")
@blueprint.alt_response(409, schema=ErrorSchema, description="The name is taken.")
def create_client(body: dict[str, Any], query: dict[str, Any]) -> tuple[Client, dict[str, str]]:
    """Create a client.

    Its name must be free, whatever the case of its letters.
    """
    client = clients.create_client(**body, updated_by=actor().name)
    return created(client, "api_clients.get_client", client_id=client.id)


@blueprint.route("/clients/<uuid:client_id>", methods=["GET"], allow=Permission.READ)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(200, ClientSchema, headers=ETAG, description="The client.")
@blueprint.alt_response(304, description="The version that If-None-Match names is still the latest.")
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such client.")
def get_client(query: dict[str, Any], client_id: UUID) -> tuple[Client, dict[str, str]]:
    """Give one client.

    With `If-None-Match` the answer is 304 as long as nothing has changed.
    """
    return tagged(clients.get_client(client_id=client_id))


@blueprint.route("/clients/<uuid:client_id>", methods=["PATCH"], allow=Permission.ADMINISTER)
@blueprint.arguments(patch_schema(ClientSchema))
@blueprint.arguments(NoQuery, location="query")
@blueprint.arguments(IfMatch, location="headers")
@blueprint.response(200, ClientSchema, headers=ETAG, description="The client.")
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such client.")
@blueprint.alt_response(409, schema=ErrorSchema, description="The name is taken.")
@blueprint.alt_response(412, schema=ErrorSchema, description="The client is not at the version of If-Match any more.")
def update_client(
    body: dict[str, Any], query: dict[str, Any], seen: dict[str, Any], client_id: UUID
) -> tuple[Client, dict[str, str]]:
    """Change a client.

    The fields that are sent are changed, and no others. With `If-Match` the change is made only if nobody has changed
    the client since it was read.
    """
    return tagged(clients.update_client(client_id=client_id, changes=body, updated_by=actor().name, **seen))


@blueprint.route("/clients/<uuid:client_id>", methods=["DELETE"], allow=Permission.ADMINISTER)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(204, description="The client is disabled.")
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such client.")
def disable_client(query: dict[str, Any], client_id: UUID) -> None:
    """Disable a client.

    It leaves the active views and its pipelines are not read any more; its history stays readable. Doing it twice is
    fine. A PATCH of `is_active` enables it again.
    """
    clients.disable_client(client_id=client_id, updated_by=actor().name)
