"""What is flaky, which platforms and clients fail most, how long runs take: over weeks, not at this moment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from flask import Response, abort, render_template

from chm_web.access.permissions import Permission
from chm_web.services import health, stability
from chm_web.services.stability import DurationRange, PlatformOutcomes
from chm_web.web import asked
from chm_web.web.blueprints import PageBlueprint
from chm_web.web.exports import csv_response
from chm_web.web.formats import duration, words

blueprint = PageBlueprint("insights", __name__, url_prefix="/insights")

SHOWN = 15
EXPORTED = 10_000


@blueprint.get("", allow=Permission.READ)
def index() -> str:
    """Show how stable the fleet was over a window. For everyone who is signed in."""
    now = datetime.now(UTC)
    window = _window(now)
    since, until = window.since, window.until
    flaky = stability.list_flaky(since=since, until=until, limit=SHOWN)
    platforms = stability.list_platforms(since=since, until=until)
    ranges = stability.count_durations(since=since, until=until)
    return render_template(
        "insights/index.html",
        now=now,
        window=window,
        flaky=flaky,
        strips=health.run_strips(pipeline_ids=[pipeline.pipeline_id for pipeline in flaky]),
        platforms=platforms,
        platform_chart=_platform_chart(platforms),
        clients=stability.list_failures_by_client(now=now, limit=SHOWN),
        shown=SHOWN,
        timed=sum(each.runs for each in ranges),
        duration_chart=_duration_chart(ranges),
        durations=stability.list_durations(since=since, until=until),
    )


@blueprint.get("/<table>.csv", allow=Permission.READ)
def export(table: str) -> Response:
    """Give one of the tables as CSV, all of it. For everyone who is signed in."""
    if table not in _TABLES:
        abort(404)
    now = datetime.now(UTC)
    window = _window(now)
    header, rows = _TABLES[table](now, window.since)
    return csv_response(f"{table}-{now:%Y-%m-%d}" if table == "clients" else f"{table}-{window.key}", header, rows)


def _window(now: datetime) -> asked.Window:
    return asked.window(now=now, options=("7d", "14d", "30d"), custom=False)


def _platform_chart(platforms: Sequence[PlatformOutcomes]) -> dict[str, Any]:
    def per_cent(rate: float | None) -> float | None:
        return None if rate is None else 100 * rate

    return {
        "kind": "bars",
        "unit": "percent",
        "horizontal": True,
        "labels": [words(each.platform) for each in platforms],
        "series": [
            {"name": "This window", "values": [per_cent(each.failure_rate) for each in platforms], "status": "failed"},
            {
                "name": "The window before",
                "values": [per_cent(each.failure_rate_before) for each in platforms],
                "status": "none",
            },
        ],
    }


def _duration_chart(ranges: Sequence[DurationRange]) -> dict[str, Any]:
    return {
        "kind": "bars",
        "unit": "runs",
        "labels": [_range_words(each) for each in ranges],
        "series": [{"name": "Successful runs", "values": [each.runs for each in ranges], "status": "success"}],
    }


def _range_words(each: DurationRange) -> str:
    if each.upper_seconds is None:
        return f"{duration(each.lower_seconds)} or more"
    return f"under {duration(each.upper_seconds)}"


Table = tuple[Sequence[str], Iterable[Sequence[Any]]]


def _flaky(now: datetime, since: datetime) -> Table:
    header = ("client", "pipeline", "pipeline_id", "platform", "runs", "failed", "changes", "flakiness")
    rows = (
        (
            each.client_name,
            each.pipeline_name,
            each.pipeline_id,
            each.platform,
            each.runs,
            each.failed,
            each.changes,
            each.flakiness,
        )
        for each in stability.list_flaky(since=since, until=now, limit=EXPORTED)
    )
    return header, rows


def _platforms(now: datetime, since: datetime) -> Table:
    header = ("platform", "runs", "succeeded", "failed", "failure_rate", "failure_rate_before")
    rows = (
        (each.platform, each.runs, each.succeeded, each.failed, each.failure_rate, each.failure_rate_before)
        for each in stability.list_platforms(since=since, until=now)
    )
    return header, rows


def _clients(now: datetime, since: datetime) -> Table:
    header = ("client", "client_id", "failures_24h", "failures_7d")
    rows = (
        (each.client_name, each.client_id, each.failures_24h, each.failures_7d)
        for each in stability.list_failures_by_client(now=now, limit=EXPORTED)
    )
    return header, rows


def _durations(now: datetime, since: datetime) -> Table:
    header = ("from_seconds", "below_seconds", "runs")
    rows = (
        (each.lower_seconds, each.upper_seconds, each.runs)
        for each in stability.count_durations(since=since, until=now)
    )
    return header, rows


def _percentiles(now: datetime, since: datetime) -> Table:
    header = ("platform", "runs", "p50_seconds", "p95_seconds", "p99_seconds", "max_seconds")
    rows = (
        (each.platform, each.runs, each.p50_seconds, each.p95_seconds, each.p99_seconds, each.max_seconds)
        for each in stability.list_durations(since=since, until=now)
    )
    return header, rows


_TABLES = {
    "flaky": _flaky,
    "platforms": _platforms,
    "clients": _clients,
    "durations": _durations,
    "percentiles": _percentiles,
}
