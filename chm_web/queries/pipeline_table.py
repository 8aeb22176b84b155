"""The table of all pipelines, as SQL: first which ones in which order, then all about those of one page.

Names are put in order without looking at any run. Orders by what runs tell take one index descent a pipeline; since
when a pipeline has been failing is looked up for the failing alone.
"""

from __future__ import annotations

import enum
from functools import lru_cache

from sqlalchemy import TextClause, text

from chm_web.queries.health import WORST_HEALTH_FIRST
from chm_web.queries.orderings import Ordering, microseconds

_ID = "scope.pipeline_id"
_NAMES = ("lower(scope.client_name)", "lower(scope.pipeline_name)")


class Order(enum.StrEnum):
    """What the table can be ordered by."""

    CLIENT = "client"
    NAME = "name"
    HEALTH = "health"
    FINISHED = "finished"


ORDERINGS = {
    Order.CLIENT: Ordering(names=_NAMES, id=_ID),
    Order.NAME: Ordering(names=_NAMES[::-1], id=_ID),
    Order.HEALTH: Ordering(
        numbers=(WORST_HEALTH_FIRST.format(of="scope"), microseconds("scope.since")), names=_NAMES, id=_ID
    ),
    Order.FINISHED: Ordering(numbers=(microseconds("scope.last_finished_at"),), names=_NAMES, id=_ID),
}

CONDITIONS = {
    "q": "p.pipeline_name ILIKE :q ESCAPE '\\'",
    "client_id": "p.client_id = :client_id",
    "platform": "p.platform = :platform",
    "pipeline_type": "p.pipeline_type = :pipeline_type",
    "environment": "p.environment = :environment",
    "health": "p.health = :health",
    "in_service": "p.in_service = :in_service",
}
"""What the table can be narrowed by; the parameter is called like the condition."""


@lru_cache(maxsize=256)
def ordered_ids(
    *, order: Order, descending: bool, conditions: tuple[str, ...], is_continued: bool, is_limited: bool
) -> TextClause:
    """Give the ids of the pipelines that meet the ``conditions`` (names of ``CONDITIONS``), with their sort keys.

    Parameters: ``now``, one a condition, and those of ``Ordering.rest``. Columns: pipeline_id, key_0 and so on.
    """
    ordering = ORDERINGS[order]
    where = " AND ".join(CONDITIONS[name] for name in conditions) or "true"
    return text(f"""
        WITH {_scope(order, where, "health" in conditions)}
        SELECT scope.pipeline_id, {ordering.columns(descending=descending)}
        FROM scope
        {ordering.rest(descending=descending, is_continued=is_continued, is_limited=is_limited)}
    """)


def _scope(order: Order, where: str, by_health: bool) -> str:
    names = "p.pipeline_id, p.pipeline_name, p.client_name"
    if order is Order.HEALTH:
        # Judged apart, so that of those that are not failing nothing but the state of health is read.
        return f"""
            judged AS MATERIALIZED (
                SELECT {names}, p.health, p.late_at FROM reporting.pipeline_health_at(:now) p WHERE {where}
            ),
            failing AS MATERIALIZED (
                SELECT p.pipeline_id, p.since FROM reporting.pipeline_health_at(:now) p
                WHERE p.pipeline_id = ANY(ARRAY(SELECT judged.pipeline_id FROM judged WHERE judged.health = 'failing'))
            ),
            scope AS (
                SELECT judged.*,
                    CASE judged.health WHEN 'failing' THEN failing.since WHEN 'late' THEN judged.late_at END AS since
                FROM judged
                LEFT JOIN failing ON failing.pipeline_id = judged.pipeline_id
            )
        """
    needs_runs = by_health or order is Order.FINISHED
    source = "reporting.pipeline_health_at(:now)" if needs_runs else "reporting.pipelines"
    finished = ", p.last_finished_at" if order is Order.FINISHED else ""
    return f"scope AS (SELECT {names}{finished} FROM {source} p WHERE {where})"


ROWS = text("""
    SELECT p.pipeline_id, p.pipeline_name, p.client_id, p.client_name, p.platform, p.pipeline_type, p.environment,
        p.is_active, p.client_is_active, p.expected_every_minutes, p.health, p.since, p.last_finished_at,
        p.last_success_at, p.running_since, known.external_id,
        CASE
            WHEN EXISTS (SELECT FROM alert_rules r WHERE r.pipeline_id = p.pipeline_id AND r.is_enabled)
                THEN 'pipeline'
            WHEN EXISTS (
                SELECT FROM alert_rules r
                WHERE r.client_id = p.client_id AND r.pipeline_id IS NULL AND r.is_enabled
            ) THEN 'client'
            ELSE 'none'
        END AS rule_source
    FROM reporting.pipeline_health_at(:now) p
    JOIN pipelines known ON known.id = p.pipeline_id
    WHERE p.pipeline_id = ANY(CAST(:pipeline_ids AS uuid[]))
""")
"""All about some pipelines, in no order. An enabled rule of a pipeline's own puts those of its client aside."""
