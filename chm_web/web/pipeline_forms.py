"""Creating, changing, enabling and disabling one pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flask import flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from chm_web.access.guard import actor
from chm_web.access.permissions import Permission
from chm_web.models import Environment, Pipeline, PipelineType, Platform
from chm_web.schemas.inventory import PipelineSchema
from chm_web.services import clients, pipelines
from chm_web.services.exceptions import Conflict, Invalid, NotFound
from chm_web.web import asked, changing, forms, shared_ids
from chm_web.web.options import client_options
from chm_web.web.pipelines import blueprint

# Enabling and disabling are buttons of their own, which say what they mean.
_SCHEMA = PipelineSchema(exclude=("is_active",))


@blueprint.get("/new", allow=Permission.OPERATE)
def new() -> str:
    """Show the form of a new pipeline, filled in with what the address says of it. For operators and admins."""
    said = {
        "client_id": asked.uuid("client_id"),
        "name": asked.text("name"),
        "external_id": request.args.get("external_id"),
        "platform": asked.one_of("platform", Platform),
    }
    return _new_form({**said, "environment": Environment.PROD}, {})


@blueprint.post("/new", allow=Permission.OPERATE)
def create() -> Response | tuple[str, int]:
    """Create a pipeline and lead to its page. For operators and admins."""
    values, issues = forms.read(_SCHEMA, request.form)
    client_id = _id(request.form.get("client_id"))
    if client_id is None:
        issues = {"client_id": "Choose a client.", **issues}
    elif not issues:
        issues = shared_ids.question(values, client_id=client_id)
    if client_id is not None and not issues:
        try:
            pipeline = pipelines.create_pipeline(client_id=client_id, **values, updated_by=actor().name)
        except NotFound as err:
            issues["client_id"] = err.message
        except (Invalid, Conflict) as err:
            issues = forms.issues_of(err)
        else:
            flash(f"{pipeline.name} is created.")
            return redirect(url_for("pipelines.show", pipeline_id=pipeline.id), code=303)
    return _new_form(forms.shown(request.form), issues), 422


@blueprint.get("/<uuid:pipeline_id>/edit", allow=Permission.OPERATE)
def edit(pipeline_id: UUID) -> str:
    """Show the form of a pipeline. For operators and admins."""
    return changing.edit(_PIPELINE, pipeline_id)


@blueprint.post("/<uuid:pipeline_id>/edit", allow=Permission.OPERATE)
def update(pipeline_id: UUID) -> Response | tuple[str, int]:
    """Change a pipeline and lead to its page. For operators and admins."""
    return changing.save(_PIPELINE, pipeline_id)


@blueprint.post("/<uuid:pipeline_id>/enable", allow=Permission.OPERATE)
def enable(pipeline_id: UUID) -> Response:
    """Enable a pipeline and lead to its page. For operators and admins."""
    return changing.enable(_PIPELINE, pipeline_id)


@blueprint.post("/<uuid:pipeline_id>/disable", allow=Permission.OPERATE)
def disable(pipeline_id: UUID) -> Response | str:
    """Disable a pipeline, once it is confirmed, and lead to its page. For operators and admins."""
    return changing.disable(_PIPELINE, pipeline_id)


def _new_form(values: dict[str, Any], issues: forms.Issues) -> str:
    client_id = asked.uuid("client_id")
    return render_template(
        "pipelines/new.html",
        client=clients.get_client(client_id=client_id) if client_id else None,
        clients=[] if client_id else client_options(is_active=True),
        values=values,
        issues=issues,
        **_choices(),
    )


def _edit_form(
    pipeline: Pipeline,
    version: str,
    values: dict[str, Any],
    issues: forms.Issues,
    theirs: Mapping[str, forms.Theirs],
) -> str:
    return render_template(
        "pipelines/edit.html",
        now=datetime.now(UTC),
        pipeline=pipeline,
        client=clients.get_client(client_id=pipeline.client_id),
        version=version,
        values=values,
        issues=issues,
        theirs=theirs,
        **_choices(),
    )


def _question(values: dict[str, Any], pipeline: Pipeline) -> forms.Issues:
    return shared_ids.question(values, client_id=pipeline.client_id, pipeline=pipeline)


_PIPELINE = changing.Changeable(
    "pipeline", _SCHEMA, pipelines.get_pipeline, pipelines.update_pipeline, _edit_form, _question
)


def _choices() -> dict[str, Any]:
    return {"platforms": Platform, "pipeline_types": PipelineType, "environments": Environment}


def _id(value: str | None) -> UUID | None:
    try:
        return UUID(value or "")
    except ValueError:
        return None
