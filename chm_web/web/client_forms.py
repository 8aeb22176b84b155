"""Creating, renaming, enabling and disabling one client."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flask import flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from chm_web.access.guard import actor
from chm_web.access.permissions import Permission
from chm_web.models import Client
from chm_web.schemas.inventory import ClientSchema
from chm_web.services import clients
from chm_web.services.exceptions import Conflict, Invalid
from chm_web.web import changing, forms
from chm_web.web.clients import blueprint

# Enabling and disabling are buttons of their own, which say what they mean.
_SCHEMA = ClientSchema(exclude=("is_active",))


@blueprint.get("/new", allow=Permission.ADMINISTER)
def new() -> str:
    """Show the form of a new client. For admins."""
    return render_template("clients/new.html", values={}, issues={})


@blueprint.post("/new", allow=Permission.ADMINISTER)
def create() -> Response | tuple[str, int]:
    """Create a client and lead to its page. For admins."""
    values, issues = forms.read(_SCHEMA, request.form)
    if not issues:
        try:
            client = clients.create_client(**values, updated_by=actor().name)
        except (Invalid, Conflict) as err:
            issues = forms.issues_of(err)
        else:
            flash(f"{client.name} is created. Add its pipelines next.")
            return redirect(url_for("clients.show", client_id=client.id), code=303)
    return render_template("clients/new.html", values=forms.shown(request.form), issues=issues), 422


@blueprint.get("/<uuid:client_id>/edit", allow=Permission.ADMINISTER)
def edit(client_id: UUID) -> str:
    """Show the form of a client. For admins."""
    return changing.edit(_CLIENT, client_id)


@blueprint.post("/<uuid:client_id>/edit", allow=Permission.ADMINISTER)
def update(client_id: UUID) -> Response | tuple[str, int]:
    """Rename a client and lead to its page. For admins."""
    return changing.save(_CLIENT, client_id)


@blueprint.post("/<uuid:client_id>/enable", allow=Permission.ADMINISTER)
def enable(client_id: UUID) -> Response:
    """Enable a client and lead to its page. For admins."""
    return changing.enable(_CLIENT, client_id)


@blueprint.post("/<uuid:client_id>/disable", allow=Permission.ADMINISTER)
def disable(client_id: UUID) -> Response | str:
    """Disable a client, once it is confirmed, and lead to its page. For admins."""
    return changing.disable(_CLIENT, client_id)


def _edit_form(
    client: Client,
    version: str,
    values: dict[str, Any],
    issues: forms.Issues,
    theirs: Mapping[str, forms.Theirs],
) -> str:
    return render_template(
        "clients/edit.html",
        now=datetime.now(UTC),
        client=client,
        version=version,
        values=values,
        issues=issues,
        theirs=theirs,
    )


_CLIENT = changing.Changeable("client", _SCHEMA, clients.get_client, clients.update_client, _edit_form)
