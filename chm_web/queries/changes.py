"""What has changed in the health of the fleet, as SQL over the definitions of the schema ``reporting``."""

from __future__ import annotations

from sqlalchemy import text

from chm_web.queries.health import counts_by_health

FLEET = text(f"""
    SELECT client_id,
        {counts_by_health("fleet")},
        count(running_since) AS running_now,
        count(*) FILTER (WHERE change = 'newly_failing') AS newly_failing,
        count(*) FILTER (WHERE change = 'recovered') AS recovered,
        count(*) FILTER (WHERE change = 'gone_silent') AS gone_silent,
        array_agg(pipeline_id) FILTER (WHERE health = 'failing') AS failing_ids,
        array_agg(fleet.since) FILTER (WHERE health = 'failing') AS failing_since,
        array_agg(pipeline_id) FILTER (WHERE health = 'late') AS late_ids,
        array_agg(fleet.since) FILTER (WHERE health = 'late') AS late_since
    FROM reporting.fleet_health(:since, :now) fleet
    WHERE in_service
    GROUP BY client_id
""")
"""The fleet in one look: each client's pipelines by health and change, and which are in trouble since when."""

# Health at the moment before the window: a run at its very beginning belongs to the window.
_BEFORE = "CAST(:since AS timestamptz) - interval '1 microsecond'"

# The run that made the change: the first failure of the row, the success that ended it, the last one before silence.
LIST = text(f"""
    SELECT listed.*, before.health AS old_health, run.id AS run_id,
        coalesce(run.error_message, run.status_reason) AS error
    FROM (
        SELECT change.*, count(*) OVER kind AS total,
            row_number() OVER (kind ORDER BY changed_at DESC, pipeline_id) AS place
        FROM reporting.health_changes(:since, :now) change
        WHERE change.pipeline_id = ANY(ARRAY(
            SELECT fleet.pipeline_id FROM reporting.fleet_health(:since, :now) fleet WHERE fleet.change IS NOT NULL
        ))
        WINDOW kind AS (PARTITION BY change.change)
    ) listed
    LEFT JOIN LATERAL (
        SELECT h.health FROM reporting.pipeline_health_at({_BEFORE}) h WHERE h.pipeline_id = listed.pipeline_id
    ) before ON true
    LEFT JOIN LATERAL (
        SELECT r.id, r.error_message, r.status_reason
        FROM runs r
        WHERE r.pipeline_id = listed.pipeline_id
            AND r.status = CAST(CASE listed.change WHEN 'newly_failing' THEN 'failed' ELSE 'success' END AS run_status)
            AND CASE listed.change WHEN 'gone_silent' THEN r.event_at < :now ELSE r.event_at = listed.changed_at END
        ORDER BY r.event_at DESC, r.id DESC
        LIMIT 1
    ) run ON true
    WHERE listed.place <= :limit
    ORDER BY listed.change, listed.place
""")
"""The newest changes of each kind, at most ``limit`` of one, with the health before and how many there are."""

# Either kind has a failure in the window, so that only the pipelines that failed in it are looked at: by a list of
# them, for by a join the planner judges all pipelines first.
BLIPS = text(f"""
    WITH failed AS MATERIALIZED (
        SELECT r.pipeline_id, count(*) AS failures, max(r.event_at) AS last_at,
            (array_agg(r.run_id ORDER BY r.event_at DESC, r.run_id DESC))[1] AS run_id
        FROM reporting.runs r
        WHERE r.is_failed AND r.event_at >= :since AND r.event_at < :now
        GROUP BY r.pipeline_id
    )
    SELECT h.pipeline_id, h.pipeline_name, h.client_id, h.client_name, h.platform, h.health, failed.failures,
        CASE h.health WHEN 'failing' THEN h.last_success_at ELSE failed.last_at END AS changed_at,
        CASE h.health WHEN 'failing' THEN h.last_success_run_id ELSE failed.run_id END AS run_id,
        count(*) OVER () AS total
    FROM failed
    JOIN reporting.pipeline_health_at(:now) h ON h.pipeline_id = failed.pipeline_id
    CROSS JOIN LATERAL (
        SELECT (
            SELECT earlier.health FROM reporting.pipeline_health_at({_BEFORE}) earlier
            WHERE earlier.pipeline_id = failed.pipeline_id
        ) AS health
    ) before
    WHERE h.pipeline_id = ANY(ARRAY(SELECT failed.pipeline_id FROM failed)) AND h.in_service AND CASE h.health
        WHEN 'failing' THEN before.health = 'failing' AND h.last_success_at >= :since
        WHEN 'healthy' THEN before.health <> 'failing'
    END
    ORDER BY changed_at DESC, h.pipeline_id
    LIMIT :limit
""")
"""Pipelines that are as they were before, but were not in between."""
