"""The health of pipelines, as SQL.

Every LATERAL below is one index descent a pipeline; DISTINCT ON and window functions over the same rows were
85 to 90 times slower.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import DateTime, FromClause, Text, TextClause, column, text

from chm_web.models import Run
from chm_web.queries.runs import LATEST_ORDER

LATE_AFTER = 1.25
"""A pipeline is late once this many times its expected interval has passed without a success."""

# The newest success or failed run by event time decides. Canceled and skipped runs neither fail nor heal.
_DECISIVE = """
    LEFT JOIN LATERAL (
        SELECT r.id, r.status, r.event_at
        FROM runs r
        WHERE r.pipeline_id = p.id AND r.status IN ('success', 'failed')
        ORDER BY r.event_at DESC, r.id DESC
        LIMIT 1
    ) decisive ON true
    LEFT JOIN LATERAL (
        SELECT max(coalesce(r.started_at, r.created_at)) AS since
        FROM runs r
        WHERE r.pipeline_id = p.id AND r.status = 'running'
    ) running ON true
"""

_LATE_AT = f"""
    CASE WHEN p.expected_every_minutes IS NOT NULL THEN
        coalesce(CASE WHEN decisive.status = 'success' THEN decisive.event_at END, p.created_at)
        + {LATE_AFTER} * p.expected_every_minutes * interval '1 minute'
    END
"""

# The one place that decides a pipeline's health.
_HEALTH = f"""
    CASE
        WHEN decisive.status = 'failed' THEN 'failing'
        WHEN {_LATE_AT} < :now THEN 'late'
        WHEN decisive.status IS NULL AND running.since IS NOT NULL THEN 'running'
        WHEN decisive.status = 'success' THEN 'healthy'
        ELSE 'no_data'
    END
"""

_LATEST = f"""
    SELECT r.status, r.started_at, r.event_at FROM runs r
    WHERE r.pipeline_id = {{of}}
    ORDER BY {LATEST_ORDER} LIMIT 1
"""

_SCOPE = """
    FROM pipelines p
    JOIN clients c ON c.id = p.client_id
"""

_ACTIVE = "p.is_active AND c.is_active"


def health_tally(*, by_client: bool = False) -> TextClause:
    """Count the active pipelines by health. Parameters: ``now``. Columns: [client_id], health, pipelines, running."""
    key = "client_id, " if by_client else ""
    return text(f"""
        SELECT {key}health, count(*) AS pipelines, count(running_since) AS running
        FROM (
            SELECT p.client_id, {_HEALTH} AS health, running.since AS running_since
            {_SCOPE} {_DECISIVE}
            WHERE {_ACTIVE}
        ) h
        GROUP BY {key}health
    """)


def verdict(*, now: datetime) -> FromClause:
    """Judge each row of a FROM item that is called ``p`` and has the columns of pipelines, as a LATERAL beside it.

    Columns: health, latest_status, latest_run_at (its event time).
    """
    judged = text(f"""
        SELECT {_HEALTH} AS health, latest.status AS latest_status, latest.event_at AS latest_run_at
        FROM (VALUES (1)) AS one_row
        {_DECISIVE}
        LEFT JOIN LATERAL ({_LATEST.format(of="p.id")}) latest ON true
    """).bindparams(now=now)
    return judged.columns(
        column("health", Text),
        column("latest_status", Run.status.type),
        column("latest_run_at", DateTime(timezone=True)),
    ).lateral("verdict")


# Worst first; among the failing and the late, those that have been so for longest.
_WORST_FIRST = """
    array_position(ARRAY['failing', 'late', 'running', 'healthy', 'no_data'], {of}.health),
    CASE {of}.health WHEN 'failing' THEN {of}.failing_since WHEN 'late' THEN {of}.late_at END,
    lower({of}.client_name), lower({of}.pipeline_name)
"""


def pipeline_health(*, where: str) -> TextClause:
    """Health with its circumstances, worst first.

    ``where`` is one of the conditions below; parameters: ``now``, ``health`` (a list, or null for all), ``limit`` (at
    most so many of each state of health) and what the condition names. Of the whole scope only the health is read, and
    of what is failing since when; the rest is read for the rows that are given.
    """
    return text(f"""
        WITH scope AS MATERIALIZED (
            SELECT * FROM (
                SELECT p.id AS pipeline_id, p.name AS pipeline_name, p.client_id, c.name AS client_name,
                    p.platform, p.pipeline_type, p.environment, p.is_active, p.expected_every_minutes,
                    {_HEALTH} AS health, {_LATE_AT} AS late_at, decisive.event_at AS last_finished_at,
                    running.since AS running_since
                {_SCOPE} {_DECISIVE}
                WHERE {where}
            ) h
            WHERE CAST(:health AS text[]) IS NULL OR health = ANY(:health)
        ), ranked AS (
            SELECT *, row_number() OVER (PARTITION BY health ORDER BY {_WORST_FIRST.format(of="known")}) AS place
            FROM (
                SELECT scope.*, coalesce(streak.failures, 0) AS failures_in_row, streak.since AS failing_since
                FROM scope
                LEFT JOIN LATERAL (
                    SELECT r.id, r.event_at FROM runs r
                    WHERE scope.health = 'failing' AND r.pipeline_id = scope.pipeline_id AND r.status = 'success'
                    ORDER BY r.event_at DESC, r.id DESC LIMIT 1
                ) success ON true
                LEFT JOIN LATERAL (
                    SELECT count(*) AS failures, min(r.event_at) AS since FROM runs r
                    WHERE scope.health = 'failing' AND r.pipeline_id = scope.pipeline_id AND r.status = 'failed'
                        AND (success.id IS NULL OR (r.event_at, r.id) > (success.event_at, success.id))
                ) streak ON true
            ) known
        ), page AS MATERIALIZED (
            SELECT * FROM ranked WHERE place <= :limit
        )
        SELECT page.*, success.event_at AS last_success_at, success.id AS last_success_id,
            failure.id AS last_failed_run_id, failure.error_message AS last_error,
            latest.status AS latest_status, latest.started_at AS latest_started_at
        FROM page
        LEFT JOIN LATERAL (
            SELECT r.id, r.event_at FROM runs r
            WHERE r.pipeline_id = page.pipeline_id AND r.status = 'success'
            ORDER BY r.event_at DESC, r.id DESC LIMIT 1
        ) success ON true
        LEFT JOIN LATERAL (
            SELECT r.id, coalesce(r.error_message, r.status_reason) AS error_message FROM runs r
            WHERE page.health = 'failing' AND r.pipeline_id = page.pipeline_id AND r.status = 'failed'
            ORDER BY r.event_at DESC, r.id DESC LIMIT 1
        ) failure ON true
        LEFT JOIN LATERAL ({_LATEST.format(of="page.pipeline_id")}) latest ON true
        ORDER BY {_WORST_FIRST.format(of="page")}
    """)


FLEET = _ACTIVE
FLEET_RUNNING = f"{_ACTIVE} AND running.since IS NOT NULL"
OF_CLIENT = "p.client_id = :client_id AND p.is_active"
OF_PIPELINE = "p.id = :pipeline_id"


STRIPS = text("""
    SELECT s.pipeline_id, r.id, r.status, r.event_at, r.started_at, r.duration_seconds
    FROM unnest(CAST(:pipeline_ids AS uuid[])) AS s(pipeline_id)
    CROSS JOIN LATERAL (
        SELECT * FROM runs
        WHERE pipeline_id = s.pipeline_id
        ORDER BY event_at DESC, id DESC
        LIMIT :length
    ) r
    ORDER BY s.pipeline_id, r.event_at, r.id
""")
"""The last ``length`` runs of each pipeline, oldest first."""
