"""The first page: what is wrong right now, over all clients."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask import abort, render_template, request

from chm_web.access.permissions import Permission
from chm_web.ingestion.progress import SyncScope
from chm_web.services import health
from chm_web.services.health import Health, HealthTally, PipelineHealth
from chm_web.web.blueprints import PageBlueprint
from chm_web.web.panel import panel_for_scope

blueprint = PageBlueprint("overview", __name__)

LIST_LIMIT = 50
FILTER_LIMIT = 200


@blueprint.get("/", allow=Permission.READ)
def index() -> str:
    """Show what is failing and late right now, worst first. For everyone who is signed in."""
    return render_template("overview/index.html", panel=panel_for_scope(SyncScope()), **_health())


@blueprint.get("/overview/health", allow=Permission.READ)
def fragment() -> str:
    """Show the first page's figures and lists alone, for its own refresh. For everyone who is signed in."""
    return render_template("overview/_health.html", **_health())


def _health() -> dict[str, Any]:
    now = datetime.now(UTC)
    by_client = health.tally_health_by_client(now=now)
    tally = sum(by_client.values(), HealthTally())
    chosen = _chosen()
    lists = {"chosen_list": _list_chosen(chosen, now)} if chosen else _list_trouble(now)
    pipelines = [pipeline for listed in lists.values() for pipeline in listed]
    return {
        "now": now,
        "tally": tally,
        "client_count": len(by_client),
        "chosen": chosen,
        "strips": health.run_strips(pipeline_ids=[pipeline.pipeline_id for pipeline in pipelines]),
        "failing": [],
        "late": [],
        "chosen_list": [],
        **lists,
    }


def _list_trouble(now: datetime) -> dict[str, list[PipelineHealth]]:
    # One look at the fleet for both lists: it is the page's greatest cost.
    trouble = health.list_fleet_health(now=now, health=[Health.FAILING, Health.LATE], limit=LIST_LIMIT)
    return {
        "failing": [pipeline for pipeline in trouble if pipeline.health is Health.FAILING],
        "late": [pipeline for pipeline in trouble if pipeline.health is Health.LATE],
    }


def _list_chosen(chosen: Health, now: datetime) -> list[PipelineHealth]:
    if chosen is Health.RUNNING:
        # The tile counts what runs now, which is no state of health: a failing pipeline may be running too.
        return health.list_fleet_health(now=now, running_now=True, limit=FILTER_LIMIT)
    return health.list_fleet_health(now=now, health=[chosen], limit=FILTER_LIMIT)


def _chosen() -> Health | None:
    value = request.args.get("health")
    try:
        return Health(value) if value else None
    except ValueError:
        abort(400, description=f"There is no state of health called “{value}”.")
