"""What is flaky, which platforms and clients fail most, how long runs take: over weeks, not at this moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

from flask import Response, abort, render_template

from chm_web.access.permissions import Permission
from chm_web.services import health, stability
from chm_web.services.stability import DurationRange, PlatformOutcomes
from chm_web.web import asked
from chm_web.web.blueprints import PageBlueprint
from chm_web.web.exports import csv_response
from chm_web.web.formats import duration, words
from chm_web.web.shared_looks import shared_look

blueprint = PageBlueprint("insights", __name__, url_prefix="/insights")

SHOWN = 15
EXPORTED = 10_000


@blueprint.get("", allow=Permission.READ)
def index() -> str:
    """Show how stable the fleet was over a window. For everyone who is signed in."""
    window = _window(datetime.now(UTC))
    return render_template("insights/index.html", **shared_look(("insights", window.key), _look))


def _look() -> dict[str, Any]:
    now = datetime.now(UTC)
    window = _window(now)
    since, until = window.since, window.until
    flaky = stability.list_flaky(since=since, until=until, limit=SHOWN)
    platforms = stability.list_platforms(since=since, until=until)
    ranges = stability.count_durations(since=since, until=until)
    # A platform that ran in the window before alone is listed too.
    has_run = any(each.runs for each in platforms)
    clients = stability.list_failures_by_client(now=now, limit=SHOWN)
    return {
        "now": now,
        "window": window,
        "has_run": has_run,
        "has_begun": has_run or stability.has_runs(),
        "flaky": flaky,
        "strips": health.run_strips(pipeline_ids=[pipeline.pipeline_id for pipeline in flaky]),
        "platforms": platforms,
        "platform_chart": _platform_chart(platforms),
        "clients": clients,
        # Of a week, whatever the window: without a failure in it, it is well only if anything ran.
        "ran_in_week": bool(clients) or stability.has_runs(since=now - timedelta(days=7)),
        "shown": SHOWN,
        "timed": sum(each.runs for each in ranges),
        "duration_chart": _duration_chart(ranges),
        "durations": stability.list_durations(since=since, until=until),
    }


@blueprint.get("/<table>.csv", allow=Permission.READ)
def export(table: str) -> Response:
    """Give one of the tables as CSV, all of it. For everyone who is signed in."""
    if table not in _TABLES:
        abort(404)
    now = datetime.now(UTC)
    window = _window(now)
    name = f"{table}-{now:%Y-%m-%d}" if table == "clients" else f"{table}-{window.key}"
    return csv_response(name, tuple(_TABLES[table].columns), _TABLES[table].rows(window.since, now))


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


@dataclass(frozen=True)
class _Table:
    """One of the tables as a file: how to read it, of a window that ends now, and which attribute each column tells."""

    read: Callable[[datetime, datetime], Sequence[Any]]
    columns: Mapping[str, str]

    def rows(self, since: datetime, now: datetime) -> Iterator[Sequence[Any]]:
        tell = attrgetter(*self.columns.values())
        return (tell(each) for each in self.read(since, now))


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


_TABLES = {
    "flaky": _Table(
        lambda since, now: stability.list_flaky(since=since, until=now, limit=EXPORTED),
        {"client": "client_name", "pipeline": "pipeline_name"}
        | _same("pipeline_id", "platform", "runs", "failed", "changes", "flakiness"),
    ),
    "platforms": _Table(
        lambda since, now: stability.list_platforms(since=since, until=now),
        _same("platform", "runs", "succeeded", "failed", "failure_rate", "failure_rate_before"),
    ),
    "clients": _Table(
        lambda since, now: stability.list_failures_by_client(now=now, limit=EXPORTED),
        {"client": "client_name"} | _same("client_id", "failures_24h", "failures_7d"),
    ),
    "durations": _Table(
        lambda since, now: stability.count_durations(since=since, until=now),
        {"from_seconds": "lower_seconds", "below_seconds": "upper_seconds"} | _same("runs"),
    ),
    "percentiles": _Table(
        lambda since, now: stability.list_durations(since=since, until=now),
        _same("platform", "runs", "p50_seconds", "p95_seconds", "p99_seconds", "max_seconds"),
    ),
}
