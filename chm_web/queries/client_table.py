"""The table of all clients, as SQL: every figure of every client in one look at the fleet.

Clients are few beside their pipelines, so that ordering by a figure costs no more than showing it.
"""

from __future__ import annotations

import enum
from functools import lru_cache

from sqlalchemy import TextClause, text

from chm_web.queries.health import counts_by_health
from chm_web.queries.orderings import Ordering

_ID = "t.client_id"
_NAMES = ("lower(t.client_name)",)
# Disabled clients last, whatever the direction.
_FIRST = ("CASE WHEN t.is_active THEN 0 END",)


class Order(enum.StrEnum):
    """What the table can be ordered by."""

    FAILING = "failing"
    NAME = "name"
    LATE = "late"
    NEWLY = "newly"
    SUCCESS = "success"


ORDERINGS = {
    Order.FAILING: Ordering(first=_FIRST, numbers=("t.failing", "t.late"), names=_NAMES, id=_ID),
    Order.NAME: Ordering(names=_NAMES, id=_ID),
    Order.LATE: Ordering(first=_FIRST, numbers=("t.late",), names=_NAMES, id=_ID),
    Order.NEWLY: Ordering(first=_FIRST, numbers=("t.newly_failing",), names=_NAMES, id=_ID),
    Order.SUCCESS: Ordering(first=_FIRST, numbers=("t.success_rate",), names=_NAMES, id=_ID),
}

CONDITIONS = {"q": "c.client_name ILIKE :q ESCAPE '\\'", "is_active": "c.is_active = :is_active"}
"""What the table can be narrowed by; the parameter is called like the condition."""


@lru_cache(maxsize=256)
def clients(
    *, order: Order, descending: bool, conditions: tuple[str, ...], is_continued: bool, is_limited: bool
) -> TextClause:
    """Give the clients that meet the ``conditions`` (names of ``CONDITIONS``) with their figures and sort keys.

    Newly failing is what dashboards call so. Success rates are of the seven days before ``now``, and of the seven
    before those. Parameters: ``now``, ``day_ago``, ``week_ago``, ``two_weeks_ago``, one a condition, and those of
    ``Ordering.rest``.
    """
    ordering = ORDERINGS[order]
    where = " AND ".join(CONDITIONS[name] for name in conditions) or "true"
    return text(f"""
        WITH tallies AS (
            SELECT fleet.client_id, count(*) AS total, count(fleet.running_since) AS running_now,
                count(*) FILTER (WHERE fleet.change = 'newly_failing') AS newly_failing,
                {counts_by_health("fleet")}
            FROM reporting.fleet_health(:day_ago, :now) fleet
            WHERE fleet.in_service
            GROUP BY fleet.client_id
        ), rules AS (
            SELECT coalesce(r.client_id, p.client_id) AS client_id, count(*) AS rules
            FROM alert_rules r
            LEFT JOIN pipelines p ON p.id = r.pipeline_id
            WHERE r.is_enabled
            GROUP BY 1
        ), t AS (
            SELECT c.client_id, c.client_name, c.is_active,
                {_or_zero("tallies", "total", "running_now", "newly_failing")},
                {_or_zero("tallies", "failing", "late", "running", "healthy", "no_data")},
                {_or_zero("rules", "rules")},
                week.success_rate, before.success_rate AS success_rate_before
            FROM reporting.clients c
            LEFT JOIN tallies ON tallies.client_id = c.client_id
            LEFT JOIN rules ON rules.client_id = c.client_id
            LEFT JOIN reporting.outcomes_by_client(:week_ago, :now) week ON week.client_id = c.client_id
            LEFT JOIN reporting.outcomes_by_client(:two_weeks_ago, :week_ago) before ON before.client_id = c.client_id
            WHERE {where}
        )
        SELECT t.*, {ordering.columns(descending=descending)}
        FROM t
        {ordering.rest(descending=descending, is_continued=is_continued, is_limited=is_limited)}
    """)


def _or_zero(table: str, *columns: str) -> str:
    return ", ".join(f"coalesce({table}.{column}, 0) AS {column}" for column in columns)
