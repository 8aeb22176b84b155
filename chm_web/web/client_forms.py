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
from chm_web.schemas import ClientSchema
from chm_web.services import clients
from chm_web.services.exceptions import Conflict, Invalid
from chm_web.services.versions import version_of
from chm_web.web import forms
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
    client = clients.get_client(client_id=client_id)
    return _edit_form(client, {"name": client.name}, {})


@blueprint.post("/<uuid:client_id>/edit", allow=Permission.ADMINISTER)
def update(client_id: UUID) -> Response | tuple[str, int]:
    """Rename a client and lead to its page. For admins."""
    values, issues = forms.read(_SCHEMA, request.form)
    if not issues:
        issues = forms.attempt(
            lambda: clients.update_client(
                client_id=client_id, changes=values, if_version=request.form.get("version"), updated_by=actor().name
            )
        )
    if issues:
        client = clients.get_client(client_id=client_id)
        theirs = forms.differences(issues, values, {"name": client.name})
        return _edit_form(client, forms.shown(request.form), issues, theirs), 422
    flash("Saved.")
    return redirect(url_for("clients.show", client_id=client_id), code=303)


@blueprint.post("/<uuid:client_id>/enable", allow=Permission.ADMINISTER)
def enable(client_id: UUID) -> Response:
    """Enable a client and lead to its page. For admins."""
    clients.update_client(client_id=client_id, changes={"is_active": True}, updated_by=actor().name)
    flash("The client is enabled.")
    return redirect(url_for("clients.show", client_id=client_id), code=303)


@blueprint.post("/<uuid:client_id>/disable", allow=Permission.ADMINISTER)
def disable(client_id: UUID) -> Response | str:
    """Disable a client, once it is confirmed, and lead to its page. For admins."""
    if request.form.get("confirmed") != "yes":
        return render_template("clients/disable.html", client=clients.get_client(client_id=client_id))
    clients.disable_client(client_id=client_id, updated_by=actor().name)
    flash("The client is disabled.")
    return redirect(url_for("clients.show", client_id=client_id), code=303)


def _edit_form(
    client: Client, values: dict[str, Any], issues: forms.Issues, theirs: Mapping[str, forms.Theirs] | None = None
) -> str:
    return render_template(
        "clients/edit.html",
        now=datetime.now(UTC),
        client=client,
        version=forms.version_to_show(request.form.get("version"), version_of(client), issues),
        values=values,
        issues=issues,
        theirs=theirs or {},
    )
