"""The removal of old runs, as SQL: a batch in the order of event time, by the index ``ix_runs_event``."""

from __future__ import annotations

from sqlalchemy import TextClause, text

from chm_web.queries.runs import LATEST_ORDER

# Of each pipeline that has runs in the batch. A pipeline's health and since when it holds must read the same
# afterwards: they rest on its newest success, its newest decisive run and the first failure since that success.
_KEPT = f"""
    SELECT kept.id
    FROM (SELECT DISTINCT pipeline_id FROM old) p
    LEFT JOIN LATERAL (
        SELECT r.event_at, r.id FROM runs r
        WHERE r.pipeline_id = p.pipeline_id AND r.status = 'success'
        ORDER BY r.event_at DESC, r.id DESC LIMIT 1
    ) success ON true
    CROSS JOIN LATERAL (
        (
            SELECT r.id FROM runs r
            WHERE r.pipeline_id = p.pipeline_id
            ORDER BY {LATEST_ORDER} LIMIT 1
        ) UNION ALL (
            SELECT r.id FROM runs r
            WHERE r.pipeline_id = p.pipeline_id AND r.status IN ('success', 'failed')
            ORDER BY r.event_at DESC, r.id DESC LIMIT 1
        ) UNION ALL (
            SELECT r.id FROM runs r
            WHERE r.pipeline_id = p.pipeline_id AND r.status = 'failed'
                AND (r.event_at, r.id) > (
                    coalesce(success.event_at, '-infinity'),
                    coalesce(success.id, '00000000-0000-0000-0000-000000000000')
                )
            ORDER BY r.event_at, r.id LIMIT 1
        ) UNION ALL SELECT success.id
    ) kept
    WHERE kept.id IS NOT NULL
"""

# A run under way has no end yet whose age could be told.
_SPARE = """
    SELECT old.id FROM old
    WHERE old.status <> 'running' AND NOT EXISTS (SELECT FROM kept WHERE kept.id = old.id)
"""

# Rows that a writer holds are left for the next time: whoever waits for no row cannot be part of a deadlock, though
# this locks in another order than writers do. What a writer has changed meanwhile is judged as it is now.
_REMOVED = f"""
    , locked AS MATERIALIZED (
        SELECT r.id FROM runs r
        WHERE r.id IN ({_SPARE}) AND r.event_at < :before AND r.status <> 'running'
        FOR UPDATE SKIP LOCKED
    ), spare AS (
        DELETE FROM runs r USING locked WHERE r.id = locked.id RETURNING r.id
    )
"""


def old_batch(*, remove: bool) -> TextClause:
    """Look at the next runs older than ``before`` and remove, or only count, those that nothing rests on.

    Parameters: ``before``; ``after_at`` and ``after_id``, where the batch before ended; ``size``. Columns: looked_at,
    removed, and event_at and id of the last one looked at (null after the end).
    """
    spare = _REMOVED if remove else f", spare AS ({_SPARE})"
    return text(f"""
        WITH old AS MATERIALIZED (
            SELECT id, pipeline_id, event_at, status FROM runs
            WHERE event_at < :before AND (event_at, id) > (:after_at, :after_id)
            ORDER BY event_at, id LIMIT :size
        ), kept AS MATERIALIZED ({_KEPT}) {spare}
        SELECT (SELECT count(*) FROM old) AS looked_at, (SELECT count(*) FROM spare) AS removed, last.event_at, last.id
        FROM (SELECT) one
        LEFT JOIN LATERAL (SELECT event_at, id FROM old ORDER BY event_at DESC, id DESC LIMIT 1) last ON true
    """)
