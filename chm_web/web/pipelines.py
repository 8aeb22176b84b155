"""One pipeline: is it well, since when not, with what error, and its runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flask import abort, render_template, request

from chm_web.access.permissions import Permission
from chm_web.ingestion.progress import SyncScope
from chm_web.models import RunStatus
from chm_web.services import health, pipelines, runs
from chm_web.web.blueprints import PageBlueprint
from chm_web.web.panel import panel_for_scope

blueprint = PageBlueprint("pipelines", __name__, url_prefix="/pipelines")

RUNS_A_PAGE = 50
STRIP_LENGTH = 50
STATUS_FILTERS = (
    RunStatus.FAILED,
    RunStatus.SUCCESS,
    RunStatus.RUNNING,
    RunStatus.CANCELED,
    RunStatus.SKIPPED,
)


@blueprint.get("/<uuid:pipeline_id>", allow=Permission.READ)
def show(pipeline_id: UUID) -> str:
    """Show one pipeline: its health, its last error in full, its runs. For everyone who is signed in."""
    values = _pipeline(pipeline_id)
    scope = SyncScope(client_id=values["health"].client_id, pipeline_id=pipeline_id)
    return render_template("pipelines/show.html", panel=panel_for_scope(scope), **values)


@blueprint.get("/<uuid:pipeline_id>/health", allow=Permission.READ)
def fragment(pipeline_id: UUID) -> str:
    """Show one pipeline's health and runs alone, for the page's own refresh. For everyone who is signed in."""
    return render_template("pipelines/_health.html", **_pipeline(pipeline_id))


def _pipeline(pipeline_id: UUID) -> dict[str, Any]:
    now = datetime.now(UTC)
    status = _status()
    cursor = request.args.get("cursor")
    return {
        "now": now,
        "pipeline": pipelines.get_pipeline(pipeline_id=pipeline_id),
        "health": health.get_pipeline_health(pipeline_id=pipeline_id, now=now),
        "strip": health.run_strips(pipeline_ids=[pipeline_id], length=STRIP_LENGTH)[pipeline_id],
        "strip_length": STRIP_LENGTH,
        "runs": runs.list_pipeline_runs(pipeline_id=pipeline_id, limit=RUNS_A_PAGE, cursor=cursor, status=status),
        "status": status,
        "status_filters": STATUS_FILTERS,
        "cursor": cursor,
    }


def _status() -> RunStatus | None:
    value = request.args.get("status")
    try:
        return RunStatus(value) if value else None
    except ValueError:
        abort(400, description=f"There is no status called “{value}”.")
