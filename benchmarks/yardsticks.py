"""How fast this machine is, beside the one that targets in ms were set for."""

from __future__ import annotations

import statistics
from datetime import timedelta
from time import perf_counter
from typing import Any

import jinja2
import psycopg

from benchmarks.report import Line
from chm_web.queries import RANDOM_PAGE_COST

_NEWEST = "SELECT max(event_at) FROM runs"
GROUPED = "failure rate by platform, 30 d"
SORTED = "duration percentiles, 30 d"
ENTERED = "pipelines by latest status"
# Three shapes that took so many ms on five million runs on the machine that the targets were set for: an index read and
# grouped, sorted, and ten thousand times entered.
_YARDSTICKS = {
    GROUPED: (
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
    SORTED: (
        141.0,
        """
            SELECT percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY r.duration_seconds)
            FROM runs r
            WHERE r.event_at >= %(since)s AND r.event_at < %(until)s AND r.status = 'success'
        """,
    ),
    ENTERED: (
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
# What pages are made by. It has no figure of the targets' machine: it tells how evenly Python ran.
_TABLE = jinja2.Environment(autoescape=True).from_string(
    "{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}"
)
_ROWS = [[f"row {row}, column {column}" for column in range(12)] for row in range(200)]


class Yardsticks:
    """Queries of the seeded table that are never made faster: what they take is the machine's doing.

    The targets are milliseconds of one machine. Where the yardsticks take longer than there, by their median, answers
    over HTTP may too, and a query of a dashboard by the yardstick of the same work; where they take less, targets stay
    as they are.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        """Take the newest run as the windows' end. ``connection`` is in autocommit mode."""
        connection.execute(f"SET random_page_cost = {RANDOM_PAGE_COST}")
        (newest,) = connection.execute(_NEWEST).fetchone() or (None,)
        self._connection = connection
        self._window = {"until": newest, "since": newest - timedelta(days=30)} if newest else {}
        self._took: dict[str, list[float]] = {name: [] for name in _YARDSTICKS}
        self._table_took: list[float] = []

    def measure(self) -> dict[str, float]:
        """Run each, warmed up, and give how many times as long as on the targets' machine each took.

        Done beside what is measured: a machine is not as fast at one moment as at another.
        """
        slowness = {}
        for name, (target_ms, query) in _YARDSTICKS.items():
            self._connection.execute(query, self._window).fetchall()
            started = perf_counter()
            self._connection.execute(query, self._window).fetchall()
            took = (perf_counter() - started) * 1000
            self._took[name].append(took)
            slowness[name] = took / target_ms
        started = perf_counter()
        _TABLE.render(rows=_ROWS)
        self._table_took.append((perf_counter() - started) * 1000)
        return slowness

    @property
    def slowness(self) -> float:
        """How many times as long as a target says answers may take here: the yardsticks' median, at least 1."""
        return max(1.0, self._median)

    def lines(self) -> list[Line]:
        """Give what they took, and what a table of 2,400 cells took Python."""
        lines = [
            Line(
                what=f"yardstick: {name}",
                measured=f"{statistics.median(took):,.0f} ms ({min(took):,.0f} to {max(took):,.0f})",
                target=f"was {_YARDSTICKS[name][0]:,.0f} ms: {self._slowness(name):.2f} x",
            )
            for name, took in self._took.items()
        ]
        took = self._table_took
        return [
            *lines,
            Line(
                what="Python: a table of 2,400 cells",
                measured=f"{statistics.median(took):.1f} ms ({min(took):.1f} to {max(took):.1f})",
            ),
        ]

    def words(self) -> str:
        """Say what that does to the targets."""
        return (
            "Our targets in ms were set for a machine on which the yardsticks took what stands beside them; by their "
            f"median this one takes {self._median:.2f} x as long, and so may the others, where that is more than once."
        )

    @property
    def _median(self) -> float:
        return statistics.median(self._slowness(name) for name in _YARDSTICKS)

    def _slowness(self, name: str) -> float:
        return statistics.median(self._took[name]) / _YARDSTICKS[name][0]
