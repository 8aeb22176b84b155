"""What one client's page shows: its health, its runs of a window, its pipelines and when they ran."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from chm_web.services import alert_rule_lists, clients, health, outcomes
from chm_web.services.plans import kept_plans
from chm_web.web import asked
from chm_web.web.charts import run_links
from chm_web.web.formats import iso
from chm_web.web.timelines import lay_out

PIPELINES_LIMIT = 50
TIMELINE_LIMIT = 15


def client_page(client_id: UUID) -> dict[str, Any]:
    """Give the values of one client's page, in the window that the address asks for."""
    now = datetime.now(UTC)
    client = clients.get_client(client_id=client_id)
    window = asked.window(now=now)
    # Both keep theirs: it is said once.
    with kept_plans():
        look = health.look_at_client(client_id=client_id, now=now, limit=PIPELINES_LIMIT)
        pipelines = look.pipelines
        strips = health.run_strips(pipeline_ids=[pipeline.pipeline_id for pipeline in pipelines])
    rows = pipelines if asked.choice("timeline", ("some", "all")) == "all" else pipelines[:TIMELINE_LIMIT]
    return {
        "now": now,
        "client": client,
        "window": window,
        "tally": look.tally,
        "pipelines": pipelines,
        "strips": strips,
        "timeline_rows": rows,
        "timeline": lay_out(
            pipeline_ids=[pipeline.pipeline_id for pipeline in rows], since=window.since, until=window.until
        ),
        "chart": _failures(client_id, window),
        "rules": alert_rule_lists.list_rules_by_scope(client_id=client_id),
        "runs": outcomes.compare_client_runs(client_id=client_id, since=window.since, until=window.until),
    }


def _failures(client_id: UUID, window: asked.Window) -> dict[str, Any]:
    figures = outcomes.client_failures(client_id=client_id, since=window.since, until=window.until)
    return {
        "kind": "bars",
        "unit": "runs",
        "times": "hour" if figures.bucket == outcomes.HOUR else "day",
        "labels": [iso(start) for start in figures.starts],
        "series": [{"name": series.name, "values": series.values, "status": "failed"} for series in figures.series],
        "links": run_links(figures, since=window.since, until=window.until, client_id=client_id, status="failed"),
    }
