"""What alert rules cover, and how often they would have fired, as SQL."""

from __future__ import annotations

from sqlalchemy import text

# A pipeline's own enabled rules take the place of its client's. `rule_id`: a rule that counts as if it were not there.
_HAS_OWN_RULE = """
    EXISTS (
        SELECT FROM alert_rules own
        WHERE own.pipeline_id = p.id AND own.is_enabled AND own.id IS DISTINCT FROM CAST(:rule_id AS uuid)
    )
"""

_ACTIVE = "p.is_active AND c.is_active"

COVERAGE_BY_CLIENT = text(f"""
    SELECT client_id, count(*) FILTER (WHERE NOT has_own_rule) AS covered,
        count(*) FILTER (WHERE has_own_rule) AS overridden
    FROM (
        SELECT p.client_id, {_HAS_OWN_RULE} AS has_own_rule
        FROM pipelines p
        JOIN clients c ON c.id = p.client_id
        WHERE p.client_id = ANY(:client_ids) AND {_ACTIVE}
    ) scope
    GROUP BY client_id
""")
"""Of each client's active pipelines, how many a rule of the client applies to, and how many have their own."""

_COVERED = f"""
    SELECT p.id, p.name
    FROM pipelines p
    JOIN clients c ON c.id = p.client_id
    WHERE p.client_id = :client_id AND {_ACTIVE} AND (
        p.id = CAST(:pipeline_id AS uuid) OR CAST(:pipeline_id AS uuid) IS NULL AND NOT {_HAS_OWN_RULE}
    )
"""

_BY_PIPELINE = """
    SELECT covered.id AS pipeline_id, covered.name AS pipeline_name, count(*) AS times, max(fired.event_at) AS last_at
    FROM fired
    JOIN covered ON covered.id = fired.pipeline_id
    GROUP BY covered.id, covered.name
    ORDER BY times DESC, last_at DESC, lower(covered.name), covered.id
"""

FIRINGS_ON_FAILURE = text(f"""
    WITH covered AS MATERIALIZED ({_COVERED}), fired AS (
        SELECT failed.pipeline_id, failed.event_at
        FROM covered
        JOIN runs failed ON failed.pipeline_id = covered.id
        LEFT JOIN LATERAL (
            SELECT r.status FROM runs r
            WHERE r.pipeline_id = failed.pipeline_id AND r.status IN ('success', 'failed')
                AND (r.event_at, r.id) < (failed.event_at, failed.id)
            ORDER BY r.event_at DESC, r.id DESC
            LIMIT 1
        ) before ON true
        WHERE failed.status = 'failed' AND failed.event_at >= :since AND failed.event_at < :until
            AND before.status IS DISTINCT FROM 'failed'
    )
    {_BY_PIPELINE}
""")
"""How often each covered pipeline began to fail: a failed run whose last finished run before it did not fail."""

FIRINGS_IN_WINDOW = text(f"""
    WITH covered AS MATERIALIZED ({_COVERED}), failed AS (
        SELECT r.pipeline_id, r.event_at,
            -- So many failures, this one among them, are no further apart than the window is long; before it they
            -- were too few. By places in a total order, so that failures of one moment are not counted twice.
            lag(r.event_at, :threshold - 1) OVER by_time >= r.event_at - CAST(:window AS interval) AS is_reached,
            lag(r.event_at, :threshold) OVER by_time >= r.event_at - CAST(:window AS interval) AS was_reached
        FROM covered
        JOIN runs r ON r.pipeline_id = covered.id
        WHERE r.status = 'failed' AND r.event_at >= :since - CAST(:window AS interval) AND r.event_at < :until
        WINDOW by_time AS (PARTITION BY r.pipeline_id ORDER BY r.event_at, r.id)
    ), fired AS (
        SELECT pipeline_id, event_at FROM failed WHERE event_at >= :since AND is_reached AND was_reached IS NOT TRUE
    )
    {_BY_PIPELINE}
""")
"""How often the failures of each covered pipeline within the window reached the threshold from below."""
