"""The dashboard queries of the contract over a day, a week and a month, asked as the reader that dashboards are."""

from __future__ import annotations

import secrets
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any

import psycopg

from benchmarks.environment import SESSION_NAME, Bench
from benchmarks.report import Line, Report, at_most
from chm_web.queries import RANDOM_PAGE_COST
from chm_web.services.reader import grant_reader, revoke_reader
from dashboards.queries import for_psycopg, load_queries, parameters_of

TARGET_MS = 250.0
WINDOWS = {
    "24 h": (timedelta(days=1), "1 hour"),
    "7 d": (timedelta(days=7), "6 hours"),
    "30 d": (timedelta(days=30), "1 day"),
}
_NEWEST = "SELECT max(event_at) FROM reporting.runs"
_LARGEST = "SELECT client_id FROM reporting.pipelines GROUP BY client_id ORDER BY count(*) DESC LIMIT 1"
# Exact percentiles of all runs: the dashboards ask for a day or a week of them, not for a month.
_WITHOUT_TARGET = {("ingestion_over_time", "30 d"), ("ingestion_by_platform", "30 d")}
_OF_HEALTH = (
    "failing_now",
    "failing_now_with_errors",
    "health_tally",
    "health_by_client",
    "changes_since",
    "freshness",
)
# Of one client by nature; the others are asked of the whole fleet.
_OF_A_CLIENT = ("latest_status_by_pipeline", "success_rate_by_pipeline", "duration_percentiles_by_pipeline")
_ROLE = "chm_bench_reader"
# Three shapes that took so many ms on five million runs on the machine that the target was set for: an index read and
# grouped, sorted, and ten thousand times entered. What they take here tells how fast this machine is.
_YARDSTICKS = {
    "failure rate by platform, 30 d": (
        183.0,
        """
            SELECT p.platform, sum(g.failed) / sum(g.runs)
            FROM (
                SELECT r.pipeline_id, count(*) AS runs, count(*) FILTER (WHERE r.status = 'failed') AS failed
                FROM runs r
                WHERE r.event_at >= %(since)s AND r.event_at < %(until)s
                GROUP BY r.pipeline_id
            ) g
            JOIN pipelines p ON p.id = g.pipeline_id
            GROUP BY p.platform
        """,
    ),
    "duration percentiles, 30 d": (
        141.0,
        """
            SELECT percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY r.duration_seconds)
            FROM runs r
            WHERE r.event_at >= %(since)s AND r.event_at < %(until)s AND r.status = 'success'
        """,
    ),
    "pipelines by latest status": (
        92.0,
        """
            SELECT latest.status, count(*)
            FROM pipelines p
            LEFT JOIN LATERAL (
                SELECT r.status
                FROM runs r
                WHERE r.pipeline_id = p.id
                ORDER BY r.started_at DESC NULLS LAST, r.finished_at DESC NULLS LAST, r.id DESC
                LIMIT 1
            ) latest ON true
            GROUP BY latest.status
        """,
    ),
}


def run(bench: Bench) -> Report:
    """Measure every query over every window, and look for plans that read all of ``runs``."""
    rounds = 2 if bench.quick else 7
    found: list[_Measured] = []
    scans: list[str] = []
    yardsticks: dict[str, list[float]] = {name: [] for name in _YARDSTICKS}
    with _reader(bench) as connection, bench.connect() as owner:
        newest, client = (_value(connection, query) for query in (_NEWEST, _LARGEST))
        owner.execute(f"SET random_page_cost = {RANDOM_PAGE_COST}")
        for name, query in load_queries().items():
            # Beside the queries, for a machine is not as fast at one moment as at another.
            _measure_yardsticks(owner, yardsticks, newest)
            for window, values in _windows(name, query, newest):
                values |= {"limit": 50, "client_id": client if name in _OF_A_CLIENT else None}
                what = f"{name}, {window}" if window else name
                took = _measure(connection, query, values, rounds=rounds)
                found.append(_Measured(what, took, has_target=(name, window) not in _WITHOUT_TARGET))
                scans += [what] if _reads_everything(connection, query, values) else []
    slowness = {name: statistics.median(took) / _YARDSTICKS[name][0] for name, took in yardsticks.items()}
    here = statistics.median(slowness.values())
    lines = [
        Line(
            what=f"yardstick: {name}",
            measured=f"{statistics.median(took):,.0f} ms ({min(took):,.0f} to {max(took):,.0f})",
            target=f"was {_YARDSTICKS[name][0]:,.0f} ms: {slowness[name]:.2f} x",
        )
        for name, took in yardsticks.items()
    ]
    lines += [one.line(here) for one in found]
    lines.append(
        Line(
            what="queries whose plan reads the whole of runs",
            measured=", ".join(scans) or "none",
            target="none",
            holds=not scans,
        )
    )
    method = (
        f"Each query {rounds} times after one that warms up, rows fetched, as a role made by `chm db grant-reader` "
        "with its settings; of the whole fleet, or of the largest client where a query is of one. "
        f"Median (lowest to highest). The target of {TARGET_MS:,.0f} ms was set for a machine on which the yardsticks "
        f"took what stands beside them; by their median this one takes {here:.2f} x as long, and so may the queries."
    )
    return Report(title="Dashboards", method=method, lines=lines)


@dataclass(frozen=True)
class _Measured:
    """A query over a window, and what it took each time, in ms."""

    what: str
    took: list[float]
    has_target: bool

    def line(self, slowness: float) -> Line:
        """Judge it for a machine that takes ``slowness`` times as long as the target's."""
        middle = statistics.median(self.took)
        measured = f"{middle:,.0f} ms ({min(self.took):,.0f} to {max(self.took):,.0f})"
        if not self.has_target:
            return Line(what=self.what, measured=measured)
        judged = at_most(self.what, middle, TARGET_MS * slowness, unit=" ms")
        return Line(what=self.what, measured=measured, target=judged.target, holds=judged.holds)


def _windows(name: str, query: str, newest: datetime) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name the windows that a query is measured over, with their values."""
    # Later than every run, whenever the database was seeded: the window's end is exclusive.
    end = newest + timedelta(seconds=1)
    # Health is asked for at the moment, and a past one costs more.
    at = datetime.now(UTC) if name in _OF_HEALTH else end
    if "since" in parameters_of(query):
        for window, (length, bucket) in WINDOWS.items():
            yield window, {"at": at, "until": end, "since": end - length, "bucket": bucket}
        return
    yield "", {"at": at}
    if name in _OF_HEALTH:
        yield "a day ago", {"at": at - timedelta(days=1)}


@contextmanager
def _reader(bench: Bench) -> Iterator[psycopg.Connection[Any]]:
    password = secrets.token_hex(24)
    grant_reader(role=_ROLE, password=password, with_error_texts=True)
    try:
        with psycopg.connect(
            bench.database_url, user=_ROLE, password=password, autocommit=True, application_name=SESSION_NAME
        ) as connection:
            yield connection
    finally:
        revoke_reader(role=_ROLE)


def _value(connection: psycopg.Connection[Any], query: str) -> Any:
    (value,) = connection.execute(query).fetchone() or (None,)
    return value


def _measure_yardsticks(connection: psycopg.Connection[Any], took: dict[str, list[float]], newest: datetime) -> None:
    values = {"until": newest, "since": newest - timedelta(days=30)}
    for name, (_, query) in _YARDSTICKS.items():
        started = perf_counter()
        connection.execute(query, values).fetchall()
        took[name].append((perf_counter() - started) * 1000)


def _measure(connection: psycopg.Connection[Any], query: str, values: dict[str, Any], *, rounds: int) -> list[float]:
    took = []
    for _ in range(rounds + 1):
        started = perf_counter()
        connection.execute(for_psycopg(query), values).fetchall()
        took.append((perf_counter() - started) * 1000)
    return took[1:]


def _reads_everything(connection: psycopg.Connection[Any], query: str, values: dict[str, Any]) -> bool:
    plan = connection.execute(f"EXPLAIN (FORMAT JSON) {for_psycopg(query)}", values).fetchone()
    return any(node.get("Node Type") == "Seq Scan" and node.get("Relation Name") == "runs" for node in _nodes(plan))


def _nodes(plan: Any) -> Iterator[dict[str, Any]]:
    if isinstance(plan, list | tuple):
        for part in plan:
            yield from _nodes(part)
    elif isinstance(plan, dict):
        yield plan
        for part in plan.values():
            yield from _nodes(part)
