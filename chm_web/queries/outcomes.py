"""What became of runs over time, as SQL over the definitions of the schema ``reporting``."""

from __future__ import annotations

from sqlalchemy import TextClause, text

_KEYS = {"client": "p.client_name", "platform": "p.platform"}


def failures_over_time(*, by: str) -> TextClause:
    """Count the fleet's failures by ``client`` or ``platform`` and bucket of time, aligned to UTC.

    Parameters: ``since``, ``until``, ``bucket``. Columns: name, bucket_start, failures; only what is not zero.
    """
    return text(f"""
        SELECT {_KEYS[by]} AS name, date_bin(:bucket, r.event_at, timestamptz '2001-01-01 00:00+00') AS bucket_start,
            count(*) AS failures
        FROM reporting.runs r
        JOIN reporting.pipelines p ON p.pipeline_id = r.pipeline_id
        WHERE r.is_failed AND r.event_at >= :since AND r.event_at < :until
        GROUP BY 1, 2
    """)


RECENT_BY_STATUS = text("""
    SELECT status, count(*) AS last_day, count(*) FILTER (WHERE event_at >= :hour_ago) AS last_hour
    FROM runs
    WHERE event_at >= :day_ago AND event_at < :now
    GROUP BY status
""")
"""The fleet's runs of a day and of its last hour by status, by the index on their event time alone."""

CLIENT_FAILURES = text("""
    SELECT bucket_start, failures
    FROM reporting.failures_over_time(:since, :until, :bucket, :client_id)
    ORDER BY bucket_start
""")
"""A client's failures by bucket of time, those without any too."""

CLIENT_RUNS = text("""
    SELECT r.event_at >= :since AS is_within, r.status, count(*) AS runs
    FROM pipelines p
    JOIN runs r ON r.pipeline_id = p.id
    WHERE p.client_id = :client_id AND r.event_at >= :before AND r.event_at < :until
    GROUP BY 1, 2
""")
"""A client's runs by status, those of a window (``since`` to ``until``) and those ``before`` it apart."""

# A pipeline has few runs to a slot, and a slot is narrower than a mark: what is drawn stays the same however many ran.
TIMELINES = text("""
    SELECT s.pipeline_id, r.status, count(*) AS runs, count(*) FILTER (WHERE r.event_at < :until) AS runs_within,
        min(r.started_at) AS started_at, max(r.ended_at) AS ended_at
    FROM unnest(CAST(:pipeline_ids AS uuid[])) AS s(pipeline_id)
    CROSS JOIN LATERAL (
        SELECT status, event_at, coalesce(started_at, event_at) AS started_at,
            CASE status WHEN 'running' THEN :until ELSE event_at END AS ended_at
        FROM runs
        WHERE pipeline_id = s.pipeline_id AND event_at >= :since AND event_at < :until + interval '1 day'
            AND coalesce(started_at, event_at) < :until
        UNION ALL
        SELECT status, event_at, event_at, :until
        FROM runs
        WHERE pipeline_id = s.pipeline_id AND status = 'running' AND event_at < :since
    ) r
    GROUP BY s.pipeline_id, r.status, date_bin(:slot, r.event_at, :since)
    ORDER BY s.pipeline_id, r.status, started_at
""")
"""When each pipeline ran, in slots of time. In the order in which it is drawn: failures lie on top.

What was under way at the end of the window and ended within a day of it is drawn, too: ``runs_within`` leaves it out.
"""
