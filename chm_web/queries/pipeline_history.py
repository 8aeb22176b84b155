"""The history of one pipeline, as SQL: by day, and what stands around one of its runs."""

from __future__ import annotations

from sqlalchemy import text

DAYS = text("""
    SELECT CAST(series.day AT TIME ZONE 'UTC' AS date) AS day, coalesce(found.succeeded, 0) AS succeeded,
        coalesce(found.failed, 0) AS failed, coalesce(found.runs, 0) AS runs
    FROM generate_series(CAST(:since AS timestamptz), CAST(:until AS timestamptz) - interval '1 day', '1 day')
        AS series(day)
    LEFT JOIN (
        SELECT date_trunc('day', r.event_at, 'UTC') AS day, count(*) AS runs,
            count(*) FILTER (WHERE r.is_success) AS succeeded, count(*) FILTER (WHERE r.is_failed) AS failed
        FROM reporting.runs r
        WHERE r.pipeline_id = :pipeline_id AND r.event_at >= :since AND r.event_at < :until
        GROUP BY 1
    ) found ON found.day = series.day
    ORDER BY series.day
""")
"""The runs of each day of UTC between two midnights, days without any included. One range of ix_runs_window."""

AROUND = text("""
    (
        SELECT 'previous' AS place, r.id, r.status, r.event_at FROM runs r
        WHERE r.pipeline_id = :pipeline_id AND (r.event_at, r.id) < (:event_at, :run_id)
        ORDER BY r.event_at DESC, r.id DESC LIMIT 1
    ) UNION ALL (
        SELECT 'next', r.id, r.status, r.event_at FROM runs r
        WHERE r.pipeline_id = :pipeline_id AND (r.event_at, r.id) > (:event_at, :run_id)
        ORDER BY r.event_at, r.id LIMIT 1
    ) UNION ALL (
        SELECT 'last_good', r.id, r.status, r.event_at FROM runs r
        WHERE r.pipeline_id = :pipeline_id AND r.status = 'success' AND (r.event_at, r.id) < (:event_at, :run_id)
        ORDER BY r.event_at DESC, r.id DESC LIMIT 1
    )
""")
"""The runs of a pipeline before and after one of its runs by event time, and the last success before it."""
