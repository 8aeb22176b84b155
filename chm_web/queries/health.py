"""The health of pipelines, as SQL.

What health is stands in the functions of the schema ``reporting`` alone (`migrations/`), which dashboards call as
well. The planner inlines them. One pipeline or a few are judged by an index descent each (LATERAL; DISTINCT ON and
window functions over the same rows were 85 to 90 times slower), all of them by ``fleet_health``, in one look.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache

from sqlalchemy import DateTime, FromClause, Text, TextClause, column, text

from chm_web.models import Run
from chm_web.queries.runs import LATEST_ORDER

_LATEST = f"""
    SELECT r.status, r.started_at, r.event_at FROM runs r
    WHERE r.pipeline_id = {{of}}
    ORDER BY {LATEST_ORDER} LIMIT 1
"""


HEALTH_TALLY = text("""
    SELECT health, count(*) AS pipelines, count(running_since) AS running
    FROM reporting.fleet_health(:now, :now)
    WHERE in_service
    GROUP BY health
""")
"""Active pipelines of active clients by health, and how many of them run something now."""


HEALTH_BY_CLIENT = text("""
    SELECT client_id, health, count(*) AS pipelines
    FROM reporting.fleet_health(:now, :now)
    WHERE in_service
    GROUP BY client_id, health
""")
"""Active pipelines by health, of each active client. Whether they run something is not asked for."""


HEALTH_OF_CLIENTS = text("""
    SELECT client_id, health, count(*) AS pipelines
    FROM reporting.pipeline_health_at(:now)
    WHERE in_service AND client_id = ANY(:client_ids)
    GROUP BY client_id, health
""")
"""The same of a few clients alone."""


def verdict(*, now: datetime) -> FromClause:
    """Judge each row of a FROM item that is called ``p`` and has the columns of pipelines, as a LATERAL beside it.

    Columns: health, latest_status, latest_run_at (its event time).
    """
    judged = text(f"""
        SELECT h.health, latest.status AS latest_status, latest.event_at AS latest_run_at
        FROM reporting.pipeline_verdict(p.id, p.created_at, p.expected_every_minutes, :now) h
        LEFT JOIN LATERAL ({_LATEST.format(of="p.id")}) latest ON true
    """).bindparams(now=now)
    return judged.columns(
        column("health", Text),
        column("latest_status", Run.status.type),
        column("latest_run_at", DateTime(timezone=True)),
    ).lateral("verdict")


_STATES = ("failing", "late", "running", "healthy", "no_data")


def counts_by_health(of: str) -> str:
    """Count the rows of the FROM item ``of`` that are in each state of health: a column each, called as the state."""
    return ", ".join(f"count(*) FILTER (WHERE {of}.health = '{state}') AS {state}" for state in _STATES)


WORST_HEALTH_FIRST = "array_position(ARRAY['failing', 'late', 'running', 'healthy', 'no_data'], {of}.health)"
"""A number to order by; ``of`` is what the column health is of."""

# Among the failing and the late, those that have been so for longest come first.
_WORST_FIRST = f"""
    {WORST_HEALTH_FIRST},
    CASE {{of}}.health WHEN 'failing' THEN {{of}}.failing_since WHEN 'late' THEN {{of}}.late_at END,
    lower({{of}}.client_name), lower({{of}}.pipeline_name)
"""


@cache
def pipeline_health(*, where: str) -> TextClause:
    """Health with its circumstances, worst first.

    ``where`` is one of the conditions below; parameters: ``now``, ``health`` (a list, or null for all), ``limit`` (at
    most so many of each state of health) and what the condition names. Of the whole scope only the health is read, and
    of what is failing since when; the rest is read for the rows that are given. Each row also tells how many
    ``pipelines`` of the scope are in its state of health, and how many of these are ``running`` something.
    """
    return text(f"""
        WITH scope AS MATERIALIZED (
            SELECT pipeline_id, pipeline_name, client_id, client_name, platform, pipeline_type, environment, is_active,
                expected_every_minutes, health, late_at, last_finished_at, running_since
            FROM reporting.pipeline_health_at(:now)
            WHERE {where} AND (CAST(:health AS text[]) IS NULL OR health = ANY(:health))
        ), ranked AS (
            SELECT *, row_number() OVER (PARTITION BY health ORDER BY {_WORST_FIRST.format(of="known")}) AS place,
                count(*) OVER of_health AS pipelines, count(running_since) OVER of_health AS running
            FROM (
                SELECT scope.*, streak.failures AS failures_in_row, streak.since AS failing_since
                FROM scope
                CROSS JOIN LATERAL
                    reporting.failing_streak(CASE health WHEN 'failing' THEN pipeline_id END, :now) streak
            ) known
            WINDOW of_health AS (PARTITION BY health)
        ), page AS MATERIALIZED (
            SELECT * FROM ranked WHERE place <= :limit
        )
        SELECT page.*, success.event_at AS last_success_at, success.run_id AS last_success_id,
            failure.run_id AS last_failed_run_id,
            coalesce(failed.error_message, failed.status_reason) AS last_error,
            latest.status AS latest_status, latest.started_at AS latest_started_at
        FROM page
        CROSS JOIN LATERAL reporting.last_success(page.pipeline_id, :now) success
        CROSS JOIN LATERAL reporting.last_failure(CASE health WHEN 'failing' THEN pipeline_id END, :now) failure
        LEFT JOIN runs failed ON failed.id = failure.run_id
        LEFT JOIN LATERAL ({_LATEST.format(of="page.pipeline_id")}) latest ON true
        ORDER BY {_WORST_FIRST.format(of="page")}
    """)


FLEET = "in_service"
FLEET_RUNNING = "in_service AND running_since IS NOT NULL"
OF_CLIENT = "client_id = :client_id AND is_active"
OF_PIPELINE = "pipeline_id = :pipeline_id"
OF_PIPELINES = "pipeline_id = ANY(:pipeline_ids)"


STRIPS = text("""
    SELECT s.pipeline_id, strip.statuses, strip.seconds
    FROM unnest(CAST(:pipeline_ids AS uuid[])) AS s(pipeline_id)
    CROSS JOIN LATERAL (
        SELECT array_agg(CAST(last.status AS text) ORDER BY last.event_at, last.id) AS statuses,
            array_agg(last.duration_seconds ORDER BY last.event_at, last.id) AS seconds
        FROM (
            SELECT r.id, r.status, r.event_at, r.duration_seconds FROM runs r
            WHERE r.pipeline_id = s.pipeline_id
            ORDER BY r.event_at DESC, r.id DESC
            LIMIT :length
        ) last
    ) strip
""")
"""The last ``length`` runs of each pipeline, oldest first, as lists: a row a run would take five times as long."""

RECENT = text("""
    SELECT r.id, r.status, r.event_at, r.duration_seconds
    FROM runs r
    WHERE r.pipeline_id = :pipeline_id
    ORDER BY r.event_at DESC, r.id DESC
    LIMIT :limit
""")
"""The last runs of a pipeline, the newest first."""
