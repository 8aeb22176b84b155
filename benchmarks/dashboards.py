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
from benchmarks.yardsticks import ENTERED, GROUPED, SORTED, Yardsticks
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
_SORTS = ("duration_percentiles_over_time", "duration_percentiles_by_platform", "duration_percentiles_by_pipeline")
# Of one client by nature; the others are asked of the whole fleet.
_OF_A_CLIENT = ("latest_status_by_pipeline", "success_rate_by_pipeline", "duration_percentiles_by_pipeline")
_ROLE = "chm_bench_reader"


def run(bench: Bench) -> Report:
    """Measure every query over every window, and look for plans that read all of ``runs``."""
    rounds = 2 if bench.quick else 7
    judged: list[Line] = []
    scans: list[str] = []
    with _reader(bench) as connection, bench.connect() as owner:
        newest, client = (_value(connection, query) for query in (_NEWEST, _LARGEST))
        yardsticks = Yardsticks(owner)
        before = yardsticks.measure()
        for name, query in load_queries().items():
            measured = []
            for window, values in _windows(name, query, newest):
                values |= {"limit": 50, "client_id": client if name in _OF_A_CLIENT else None}
                what = f"{name}, {window}" if window else name
                took = _measure(connection, query, values, rounds=rounds)
                measured.append(_Measured(what, took, has_target=(name, window) not in _WITHOUT_TARGET))
                scans += [what] if _reads_everything(connection, query, values) else []
            after = yardsticks.measure()
            slowness = max(1.0, statistics.mean((before[_yardstick(name)], after[_yardstick(name)])))
            judged += [one.line(slowness) for one in measured]
            before = after
    lines = [*yardsticks.lines(), *judged]
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
        f"Median (lowest to highest). The target is {TARGET_MS:,.0f} ms on a machine on which the yardsticks took what "
        "stands beside them; here it is as many times as long as the yardstick of the same work took just before and "
        "after, where that is longer: to group what a window holds, to sort all durations, or to look into every "
        "pipeline."
    )
    return Report(title="Dashboards", method=method, lines=lines)


def _yardstick(name: str) -> str:
    """Name the yardstick that does the same work as a query does most."""
    return ENTERED if name in _OF_HEALTH else SORTED if name in _SORTS else GROUPED


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
