"""What the page of a pipeline shows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from flask import current_app, request

from chm_web.access.guard import may
from chm_web.access.permissions import Permission
from chm_web.access.ping_keys import ping_key
from chm_web.config import Config
from chm_web.models import Pipeline, RunStatus
from chm_web.services import effective_rules, health, pipeline_history, pipelines, run_lists
from chm_web.services.health import RecentRun
from chm_web.services.pipeline_history import UsualDuration
from chm_web.services.pipelines import SameId
from chm_web.web import asked
from chm_web.web.addresses import run_url
from chm_web.web.formats import iso, words

RUNS_A_PAGE = 50
STRIP_LENGTH = 50
STATUS_FILTERS = (
    RunStatus.FAILED,
    RunStatus.SUCCESS,
    RunStatus.RUNNING,
    RunStatus.CANCELED,
    RunStatus.SKIPPED,
)
# Statuses by the colour of their bars, in the order of the legend.
_BAR_COLOURS = {
    RunStatus.SUCCESS: "success",
    RunStatus.FAILED: "failed",
    RunStatus.CANCELED: "none",
    RunStatus.SKIPPED: "none",
}


def read_pipeline_page(pipeline_id: UUID) -> dict[str, Any]:
    """Read all that the page of a pipeline shows, but for the ingest panel; the filters stand in the address."""
    now = datetime.now(UTC)
    filters = asked_filters()
    cursor = request.args.get("cursor")
    pipeline = pipelines.get_pipeline(pipeline_id=pipeline_id)
    recent = health.list_recent_runs(pipeline_id=pipeline_id, limit=pipeline_history.RECENT)
    usual = pipeline_history.usual_duration(recent)
    return {
        "now": now,
        "pipeline": pipeline,
        "same_ids": _same_ids(pipeline),
        "health": health.get_pipeline_health(pipeline_id=pipeline_id, now=now),
        "last_runs": recent[-STRIP_LENGTH:],
        "strip_length": STRIP_LENGTH,
        "usual": usual,
        "duration_chart": duration_chart(recent, usual),
        "days": pipeline_history.list_days(pipeline_id=pipeline_id, now=now),
        "rules": effective_rules.effective_rules(pipeline_id=pipeline_id),
        "runs": run_lists.list_pipeline_runs(
            pipeline_id=pipeline_id, limit=RUNS_A_PAGE, cursor=cursor, payloads=False, **filters
        ),
        **filters,
        "status_choices": [(None, "All"), *((status, words(status)) for status in STATUS_FILTERS)],
        "cursor": cursor,
        "base_url": _base_url(),
        # The key is for those who could report runs anyway.
        "ping_url": f"{_base_url()}/ping/{ping_key(pipeline_id)}" if may(Permission.REPORT) else None,
        "example_start": now - timedelta(minutes=5),
    }


def asked_filters() -> dict[str, Any]:
    """Give the filters that the address asks for on a pipeline's runs."""
    return {
        "status": asked.one_of("status", RunStatus),
        "since": asked.moment("since"),
        "until": asked.moment("until"),
    }


def duration_chart(recent: Sequence[RecentRun], usual: UsualDuration | None) -> dict[str, Any] | None:
    """Draw how long each of some runs took, by status, with the usual duration; None where there is too little."""
    timed = [run for run in recent if run.duration_seconds is not None]
    if len(timed) < 2:
        return None
    series: list[dict[str, Any]] = [
        {
            "name": words(status),
            "status": colour,
            "values": [run.duration_seconds if run.status is status else None for run in timed],
        }
        for status, colour in _BAR_COLOURS.items()
        if any(run.status is status for run in timed)
    ]
    if usual is not None:
        series += [
            {"name": "Median", "level": True, "palette": 0, "values": [usual.median] * len(timed)},
            {
                "name": "95th percentile",
                "level": True,
                "palette": 2,
                "dashed": True,
                "values": [usual.p95] * len(timed),
            },
        ]
    return {
        "kind": "stacked",
        "labels": [iso(run.event_at) for run in timed],
        "times": "hour",
        "series": series,
        "unit": "seconds",
        "links": [run_url(run.id) for run in timed],
    }


def _same_ids(pipeline: Pipeline) -> list[SameId]:
    """Give other clients' pipelines that bear this one's id; of one that is not read or found by it, none."""
    if pipeline.external_id is None or not pipeline.is_active:
        return []
    return pipelines.list_same_external_id(
        external_id=pipeline.external_id, platform=pipeline.platform, client_id=pipeline.client_id
    )


def _base_url() -> str:
    """Give the address under which others reach this app, without a slash at its end."""
    config: Config = current_app.config["CHM"]
    return (config.public_url or request.url_root).rstrip("/")
