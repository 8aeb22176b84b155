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
