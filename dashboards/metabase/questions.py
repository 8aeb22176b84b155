"""Which of the contract's queries are questions, and how they are drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dashboards.queries import fill_in, load_queries

WINDOW = "window"
DEFAULT_WINDOW = "30 days"
WIDTH = 24

_VALUES = {
    "at": "now()",
    "since": f"now() - CAST({{{{{WINDOW}}}}} AS interval)",
    "until": "now()",
    "bucket": "'1 day'",
    "client_id": "NULL",
    "limit": "50",
}
_QUERIES = load_queries()


@dataclass(frozen=True, kw_only=True)
class Question:
    """A query on the dashboard: its name, its drawing, its width and height on the grid.

    ``since`` is where its window begins: at the dashboard's unless it says otherwise.
    """

    name: str
    query: str
    display: str = "table"
    settings: dict[str, Any] = field(default_factory=dict)
    since: str = _VALUES["since"]
    width: int = WIDTH // 2
    height: int = 7

    @property
    def sql(self) -> str:
        """The query with Metabase's variables for its parameters."""
        return fill_in(_QUERIES[self.query], {**_VALUES, "since": self.since})

    @property
    def has_window(self) -> bool:
        """Whether it is of a window of time, and not of the present alone."""
        return f"{{{{{WINDOW}}}}}" in self.sql


def _drawn(x: str, *ys: str, **more: Any) -> dict[str, Any]:
    return {"graph.dimensions": [x], "graph.metrics": list(ys), **more}


_PERCENT = {"number_style": "percent", "decimals": 1}
_STATES = {
    "failing": {"color": "#a8201a"},
    "late": {"color": "#c28400"},
    "running": {"color": "#2a56c6"},
    "healthy": {"color": "#159a78"},
    "no_data": {"color": "#8a93a3"},
}

QUESTIONS = (
    Question(name="Failing now", query="failing_now", width=WIDTH),
    Question(
        name="Pipelines by health",
        query="health_by_client",
        display="bar",
        settings=_drawn("client_name", *_STATES, **{"stackable.stack_type": "stacked", "series_settings": _STATES}),
    ),
    Question(
        name="Failures by client",
        query="failures_by_client",
        display="bar",
        settings=_drawn("client_name", "failures_24h", "failures_7d"),
    ),
    Question(name="Changed in the window", query="changes_since", width=WIDTH),
    Question(
        name="Failures over time",
        query="failures_over_time",
        display="bar",
        settings=_drawn("bucket_start", "failures", series_settings={"failures": _STATES["failing"]}),
    ),
    Question(
        name="Success rate over time",
        query="success_rate_over_time",
        display="line",
        settings=_drawn("bucket_start", "success_rate", column_settings={'["name","success_rate"]': _PERCENT}),
    ),
    Question(
        name="Failure rate by platform",
        query="failure_rate_by_platform",
        display="bar",
        settings=_drawn("platform", "failure_rate", column_settings={'["name","failure_rate"]': _PERCENT}),
    ),
    Question(
        name="Durations",
        query="duration_percentiles_over_time",
        display="line",
        settings=_drawn("bucket_start", "p50_seconds", "p95_seconds", "p99_seconds"),
    ),
    Question(name="Flaky pipelines", query="flaky_pipelines", width=WIDTH),
    Question(name="Least stable clients", query="client_stability"),
    Question(name="Oldest last successes", query="freshness"),
    # Whatever the window: it is about the present, and its exact percentiles cost more than any other question.
    Question(
        name="Ingestion by platform in 7 days",
        query="ingestion_by_platform",
        since="now() - interval '7 days'",
        width=WIDTH,
    ),
)
