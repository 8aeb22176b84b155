"""Everything about one client."""

from __future__ import annotations

from uuid import UUID

from flask import render_template

from chm_web.access.permissions import Permission
from chm_web.ingestion.progress import SyncScope
from chm_web.web.blueprints import PageBlueprint
from chm_web.web.client_page import client_page
from chm_web.web.client_report import client_report
from chm_web.web.panel import panel_for_scope

blueprint = PageBlueprint("clients", __name__, url_prefix="/clients")


@blueprint.get("/<uuid:client_id>", allow=Permission.READ)
def show(client_id: UUID) -> str:
    """Show one client: its health, its runs of a window by status, its pipelines. For everyone who is signed in."""
    panel = panel_for_scope(SyncScope(client_id=client_id))
    return render_template("clients/show.html", panel=panel, **client_page(client_id))


@blueprint.get("/<uuid:client_id>/health", allow=Permission.READ)
def fragment(client_id: UUID) -> str:
    """Show one client's figures and pipelines alone, for the page's own refresh. For everyone who is signed in."""
    return render_template("clients/_health.html", **client_page(client_id))


@blueprint.get("/<uuid:client_id>/report", allow=Permission.READ)
def report(client_id: UUID) -> str:
    """Show a client's period as a report to print or send, by default of the last month. For everyone signed in."""
    return render_template("clients/report.html", **client_report(client_id))
