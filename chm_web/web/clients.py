"""Everything about one client."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from flask import abort, render_template, request

from chm_web.access.permissions import Permission
from chm_web.ingestion.progress import SyncScope
from chm_web.services import clients, health, runs
from chm_web.services.health import Health
from chm_web.web.blueprints import PageBlueprint
from chm_web.web.panel import panel_for_scope

blueprint = PageBlueprint("clients", __name__, url_prefix="/clients")

WINDOWS = {"24h": timedelta(hours=24), "7d": timedelta(days=7), "30d": timedelta(days=30)}
WINDOW_WORDS = {"24h": "24 hours", "7d": "7 days", "30d": "30 days"}


@blueprint.get("/<uuid:client_id>", allow=Permission.READ)
def show(client_id: UUID) -> str:
    """Show one client: its health, its runs of a window by status, its pipelines. For everyone who is signed in."""
    panel = panel_for_scope(SyncScope(client_id=client_id))
    return render_template("clients/show.html", panel=panel, **_client(client_id))


@blueprint.get("/<uuid:client_id>/health", allow=Permission.READ)
def fragment(client_id: UUID) -> str:
    """Show one client's figures and pipelines alone, for the page's own refresh. For everyone who is signed in."""
    return render_template("clients/_health.html", **_client(client_id))


def _client(client_id: UUID) -> dict[str, Any]:
    now = datetime.now(UTC)
    client = clients.get_client(client_id=client_id)
    window = request.args.get("window", "24h")
    if window not in WINDOWS:
        abort(400, description=f"There is no window called “{window}”. Choose 24h, 7d or 30d.")
    pipelines = health.list_client_health(client_id=client_id, now=now)
    counts = runs.count_client_runs_by_status(client_id=client_id, since=now - WINDOWS[window], until=now)
    return {
        "now": now,
        "client": client,
        "window": window,
        "window_words": WINDOW_WORDS,
        "pipelines": pipelines,
        "tally": {state: sum(pipeline.health is state for pipeline in pipelines) for state in Health},
        "strips": health.run_strips(pipeline_ids=[pipeline.pipeline_id for pipeline in pipelines]),
        "run_counts": counts,
        "success_share": runs.success_share(counts),
    }
