"""One pipeline: is it well, since when not, with what error, and its runs."""

from __future__ import annotations

from uuid import UUID

from flask import render_template

from chm_web.access.permissions import Permission
from chm_web.ingestion.progress import SyncScope
from chm_web.web.blueprints import PageBlueprint
from chm_web.web.panel import panel_for_scope
from chm_web.web.pipeline_page import read_pipeline_page

blueprint = PageBlueprint("pipelines", __name__, url_prefix="/pipelines")


@blueprint.get("/<uuid:pipeline_id>", allow=Permission.READ)
def show(pipeline_id: UUID) -> str:
    """Show one pipeline: its health, its history, its runs, how to report them. For everyone who is signed in."""
    values = read_pipeline_page(pipeline_id)
    scope = SyncScope(client_id=values["health"].client_id, pipeline_id=pipeline_id)
    return render_template("pipelines/show.html", panel=panel_for_scope(scope), **values)
