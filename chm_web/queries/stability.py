"""How stable pipelines were in a window, as SQL over the definitions of the schema ``reporting``."""

from __future__ import annotations

from sqlalchemy import text

FLAKY = text("""
    SELECT *
    FROM reporting.flaky_pipelines(:since, :until)
    WHERE CAST(:client_id AS uuid) IS NULL OR client_id = :client_id
    ORDER BY flakiness DESC, changes DESC, lower(client_name), lower(pipeline_name)
    LIMIT :limit
""")
"""Pipelines that changed between success and failure, those that did most often first."""

BY_PLATFORM = text("""
    SELECT platform, coalesce(this.runs, 0) AS runs, coalesce(this.succeeded, 0) AS succeeded,
        coalesce(this.failed, 0) AS failed, this.failure_rate, before.failure_rate AS failure_rate_before
    FROM reporting.outcomes_by_platform(:since, :until) this
    FULL JOIN reporting.outcomes_by_platform(:before, :since) before USING (platform)
    ORDER BY this.failure_rate DESC NULLS LAST, platform
""")
"""Outcomes by platform in a window and in the one before it, the highest failure rate first."""

FAILURES_BY_CLIENT = text("""
    SELECT client_id, client_name, failures_24h, failures_7d
    FROM reporting.failures_by_client(:now)
    ORDER BY failures_24h DESC, failures_7d DESC, lower(client_name)
    LIMIT :limit
""")
"""Clients with failures in the last 7 days, those with most in the last 24 hours first."""

HISTOGRAM = text("SELECT * FROM reporting.duration_histogram(:since, :until) ORDER BY lower_seconds")
"""How many successful runs took how long."""

DURATIONS = text("SELECT * FROM reporting.durations_by_platform(:since, :until) ORDER BY platform")
"""Percentiles of successful runs' durations by platform."""

BY_PIPELINE = text("""
    SELECT pipeline_id, pipeline_name, platform, runs, succeeded, failed, success_rate
    FROM reporting.outcomes_by_pipeline(:since, :until)
    WHERE client_id = :client_id
    ORDER BY failed DESC, lower(pipeline_name)
""")
"""Outcomes of a client's pipelines that ran in a window, most failures first."""

# A spell begins with a success. What failed within it is one outage, which ends with the success of the next spell.
# Of a pipeline that was failing when the window began, the spell before the first success is that outage's rest.
OUTAGES = text("""
    WITH steps AS (
        SELECT pipeline_id, pipeline_name, event_at, failures,
            count(*) FILTER (WHERE failures = 0) OVER (PARTITION BY pipeline_id ORDER BY event_at, run_id) AS spell
        FROM (
            SELECT p.pipeline_id, p.pipeline_name, r.event_at, r.run_id, CAST(r.is_failed AS integer) AS failures
            FROM reporting.pipelines p
            JOIN reporting.runs r ON r.pipeline_id = p.pipeline_id
            WHERE p.client_id = :client_id AND (r.is_success OR r.is_failed)
                AND r.event_at >= :since AND r.event_at < :until
            UNION ALL
            SELECT pipeline_id, pipeline_name, since, CAST('00000000-0000-0000-0000-000000000000' AS uuid),
                failures_in_row
            FROM reporting.pipeline_health_at(CAST(:since AS timestamptz) - interval '1 microsecond')
            WHERE client_id = :client_id AND health = 'failing'
        ) decided
    )
    SELECT outage.pipeline_id, outage.pipeline_name, outage.began_at, ending.ended_at, outage.failures
    FROM (
        SELECT pipeline_id, pipeline_name, spell, min(event_at) FILTER (WHERE failures > 0) AS began_at,
            sum(failures) AS failures
        FROM steps
        GROUP BY pipeline_id, pipeline_name, spell
    ) outage
    LEFT JOIN (
        SELECT pipeline_id, spell, event_at AS ended_at FROM steps WHERE failures = 0
    ) ending ON ending.pipeline_id = outage.pipeline_id AND ending.spell = outage.spell + 1
    WHERE outage.failures > 0
    ORDER BY coalesce(ending.ended_at, :until) - outage.began_at DESC, outage.began_at, outage.pipeline_id
    LIMIT :limit
""")
"""A client's longest spans from a first failure to the next success that touch a window."""
