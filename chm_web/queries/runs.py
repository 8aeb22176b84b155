"""Reads of runs, as SQL."""

from __future__ import annotations

from sqlalchemy import text

LATEST_ORDER = "started_at DESC NULLS LAST, finished_at DESC NULLS LAST, id DESC"
"""The latest-run order: the index ``ix_runs_latest`` serves it."""

STATUS_COUNTS = text("""
    SELECT r.status, count(*) AS runs
    FROM pipelines p
    JOIN runs r ON r.pipeline_id = p.id
    WHERE p.client_id = :client_id AND r.event_at >= :since AND r.event_at < :until
    GROUP BY r.status
""")
"""Runs of a client in a window of event time, by status."""

LATEST_BY_PIPELINE = text(f"""
    SELECT p.id AS pipeline_id, p.name AS pipeline_name, p.platform,
        latest.status AS latest_status, latest.event_at AS latest_run_at
    FROM pipelines p
    LEFT JOIN LATERAL (
        SELECT r.status, r.event_at FROM runs r
        WHERE r.pipeline_id = p.id
        ORDER BY {LATEST_ORDER} LIMIT 1
    ) latest ON true
    WHERE p.client_id = :client_id
    ORDER BY lower(p.name), p.id
""")
"""The latest run of each pipeline of a client, by the pipelines' names. One index descent a pipeline."""
