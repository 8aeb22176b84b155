-- The queries of CHM's dashboards. They read the schema "reporting" alone and run as the role chm_reader.
-- dashboard-readme.md beside this file says what their parameters and columns mean.
--
-- A query begins with a line "-- name: ..." and ends with a semicolon. Parameters are written with a colon before
-- their names; every one is cast where it stands, so that text does for a value. client_id null means every client.

-- name: failing_now
SELECT client_name, pipeline_name, platform, environment, since, failures_in_row, last_success_at, running_since,
    client_id, pipeline_id
FROM reporting.pipeline_health_at(CAST(:at AS timestamptz))
WHERE health = 'failing' AND in_service
    AND (CAST(:client_id AS uuid) IS NULL OR client_id = CAST(:client_id AS uuid))
ORDER BY since, lower(client_name), lower(pipeline_name);

-- name: failing_now_with_errors
-- Needs "chm db grant-reader --with-error-texts".
SELECT h.client_name, h.pipeline_name, h.platform, h.environment, h.since, h.failures_in_row, h.last_success_at,
    coalesce(newest.error_message, newest.status_reason) AS last_error, h.client_id, h.pipeline_id
FROM reporting.pipeline_health_at(CAST(:at AS timestamptz)) h
LEFT JOIN LATERAL (
    SELECT r.run_id
    FROM reporting.runs r
    WHERE r.pipeline_id = h.pipeline_id AND r.is_failed
    ORDER BY r.event_at DESC, r.run_id DESC
    LIMIT 1
) failure ON true
LEFT JOIN reporting.run_errors newest ON newest.run_id = failure.run_id
WHERE h.health = 'failing' AND h.in_service
    AND (CAST(:client_id AS uuid) IS NULL OR h.client_id = CAST(:client_id AS uuid))
ORDER BY h.since, lower(h.client_name), lower(h.pipeline_name);

-- name: health_tally
SELECT state.health, count(h.pipeline_id) AS pipelines, count(h.running_since) AS running
FROM unnest(ARRAY['failing', 'late', 'running', 'healthy', 'no_data']) WITH ORDINALITY AS state(health, place)
LEFT JOIN reporting.pipeline_health_at(CAST(:at AS timestamptz)) h
    ON h.health = state.health AND h.in_service
    AND (CAST(:client_id AS uuid) IS NULL OR h.client_id = CAST(:client_id AS uuid))
GROUP BY state.health, state.place
ORDER BY state.place;

-- name: health_by_client
SELECT client_name,
    count(*) FILTER (WHERE health = 'failing') AS failing,
    count(*) FILTER (WHERE health = 'late') AS late,
    count(*) FILTER (WHERE health = 'running') AS running,
    count(*) FILTER (WHERE health = 'healthy') AS healthy,
    count(*) FILTER (WHERE health = 'no_data') AS no_data,
    client_id
FROM reporting.pipeline_health_at(CAST(:at AS timestamptz))
WHERE in_service
GROUP BY client_id, client_name
ORDER BY failing DESC, late DESC, lower(client_name);

-- name: changes_since
SELECT change, client_name, pipeline_name, platform, changed_at, health, client_id, pipeline_id
FROM reporting.health_changes(CAST(:since AS timestamptz), CAST(:at AS timestamptz))
WHERE CAST(:client_id AS uuid) IS NULL OR client_id = CAST(:client_id AS uuid)
ORDER BY array_position(ARRAY['newly_failing', 'gone_silent', 'recovered'], change), changed_at DESC,
    lower(client_name), lower(pipeline_name);

-- name: latest_status_by_pipeline
SELECT pipeline_name, platform, environment, latest_status, latest_run_at, latest_started_at, latest_finished_at,
    is_active, pipeline_id, latest_run_id
FROM reporting.latest_status
WHERE client_id = CAST(:client_id AS uuid)
ORDER BY lower(pipeline_name), pipeline_id;

-- name: freshness
SELECT client_name, pipeline_name, platform, health, last_success_at,
    CAST(extract(epoch FROM CAST(:at AS timestamptz) - last_success_at) AS double precision) AS age_seconds,
    expected_every_minutes * 60 AS expected_every_seconds, late_at, client_id, pipeline_id
FROM reporting.pipeline_health_at(CAST(:at AS timestamptz))
WHERE in_service AND (CAST(:client_id AS uuid) IS NULL OR client_id = CAST(:client_id AS uuid))
ORDER BY last_success_at NULLS FIRST, lower(client_name), lower(pipeline_name)
LIMIT CAST(:limit AS bigint);

-- name: failures_over_time
SELECT bucket_start, failures
FROM reporting.failures_over_time(
    CAST(:since AS timestamptz), CAST(:until AS timestamptz), CAST(:bucket AS interval), CAST(:client_id AS uuid)
)
ORDER BY bucket_start;

-- name: failures_by_client
SELECT client_name, failures_24h, failures_7d, client_id
FROM reporting.failures_by_client(CAST(:at AS timestamptz))
ORDER BY failures_24h DESC, failures_7d DESC, lower(client_name);

-- name: flaky_pipelines
SELECT client_name, pipeline_name, platform, flakiness, changes, runs, failed, client_id, pipeline_id
FROM reporting.flaky_pipelines(CAST(:since AS timestamptz), CAST(:until AS timestamptz))
WHERE CAST(:client_id AS uuid) IS NULL OR client_id = CAST(:client_id AS uuid)
ORDER BY flakiness DESC, runs DESC, lower(client_name), lower(pipeline_name)
LIMIT CAST(:limit AS bigint);

-- name: failure_rate_by_platform
SELECT platform, failure_rate, failed, succeeded, runs
FROM reporting.outcomes_by_platform(
    CAST(:since AS timestamptz), CAST(:until AS timestamptz), CAST(:client_id AS uuid)
)
ORDER BY failure_rate DESC NULLS LAST, platform;

-- name: failure_rate_by_platform_over_time
SELECT bucket_start, platform, failure_rate, failed, succeeded, runs
FROM reporting.platform_outcomes_over_time(
    CAST(:since AS timestamptz), CAST(:until AS timestamptz), CAST(:bucket AS interval), CAST(:client_id AS uuid)
)
ORDER BY bucket_start, platform;

-- name: success_rate_over_time
SELECT bucket_start, success_rate, succeeded, failed, runs
FROM reporting.outcomes_over_time(
    CAST(:since AS timestamptz), CAST(:until AS timestamptz), CAST(:bucket AS interval), CAST(:client_id AS uuid)
)
ORDER BY bucket_start;

-- name: success_rate_by_pipeline
SELECT pipeline_name, platform, success_rate, succeeded, failed, runs, pipeline_id
FROM reporting.outcomes_by_pipeline(CAST(:since AS timestamptz), CAST(:until AS timestamptz))
WHERE client_id = CAST(:client_id AS uuid)
ORDER BY success_rate NULLS LAST, lower(pipeline_name);

-- name: client_stability
SELECT client_name, success_rate, succeeded, failed, runs, client_id
FROM reporting.outcomes_by_client(CAST(:since AS timestamptz), CAST(:until AS timestamptz))
ORDER BY success_rate NULLS LAST, lower(client_name);

-- name: client_throughput
SELECT client_name, rows_processed, runs, client_id
FROM reporting.outcomes_by_client(CAST(:since AS timestamptz), CAST(:until AS timestamptz))
ORDER BY rows_processed DESC NULLS LAST, lower(client_name);

-- name: throughput_over_time
SELECT bucket_start, rows_processed, runs
FROM reporting.outcomes_over_time(
    CAST(:since AS timestamptz), CAST(:until AS timestamptz), CAST(:bucket AS interval), CAST(:client_id AS uuid)
)
ORDER BY bucket_start;

-- name: duration_percentiles_over_time
SELECT bucket_start, p50_seconds, p95_seconds, p99_seconds, max_seconds, runs
FROM reporting.durations_over_time(
    CAST(:since AS timestamptz), CAST(:until AS timestamptz), CAST(:bucket AS interval), CAST(:client_id AS uuid)
)
ORDER BY bucket_start;

-- name: duration_percentiles_by_platform
SELECT platform, p50_seconds, p95_seconds, p99_seconds, max_seconds, runs
FROM reporting.durations_by_platform(
    CAST(:since AS timestamptz), CAST(:until AS timestamptz), CAST(:client_id AS uuid)
)
ORDER BY platform;

-- name: duration_percentiles_by_pipeline
SELECT pipeline_name, platform, p50_seconds, p95_seconds, p99_seconds, max_seconds, runs, pipeline_id
FROM reporting.durations_by_pipeline(CAST(:since AS timestamptz), CAST(:until AS timestamptz))
WHERE client_id = CAST(:client_id AS uuid)
ORDER BY p95_seconds DESC, lower(pipeline_name);

-- name: duration_histogram
SELECT lower_seconds, upper_seconds, runs
FROM reporting.duration_histogram(
    CAST(:since AS timestamptz), CAST(:until AS timestamptz), CAST(:client_id AS uuid)
)
ORDER BY lower_seconds;

-- name: clients
SELECT client_name, is_active, client_id
FROM reporting.clients
ORDER BY lower(client_name);

-- name: ingestion_now
SELECT count(*) FILTER (WHERE ingested_at > CAST(:at AS timestamptz) - interval '1 hour') AS runs_1h,
    count(*) FILTER (WHERE ingested_at > CAST(:at AS timestamptz) - interval '24 hours') AS runs_24h,
    max(ingested_at) AS last_ingested_at,
    CAST(extract(epoch FROM CAST(:at AS timestamptz) - max(ingested_at)) AS double precision) AS age_seconds
FROM reporting.runs
WHERE event_at >= CAST(:at AS timestamptz) - interval '7 days' AND ingested_at <= CAST(:at AS timestamptz);

-- name: ingestion_over_time
-- Collected by hashing, then sorted group by group; OFFSET 0 keeps the planner from expecting a bucket a moment.
SELECT collected.bucket_start, collected.runs, delay.p50_delay_seconds, delay.p95_delay_seconds
FROM (
    SELECT arrived.bucket_start, count(*) AS runs, array_agg(arrived.delay_seconds) AS delays
    FROM (
        SELECT date_bin(CAST(:bucket AS interval), r.event_at, timestamptz '2001-01-01 00:00+00') AS bucket_start,
            date_part('epoch', r.created_at - r.event_at) AS delay_seconds
        FROM reporting.runs r
        LEFT JOIN reporting.pipelines p ON p.pipeline_id = r.pipeline_id
        WHERE r.event_at >= CAST(:since AS timestamptz) AND r.event_at < CAST(:until AS timestamptz)
            AND (CAST(:client_id AS uuid) IS NULL OR p.client_id = CAST(:client_id AS uuid))
        OFFSET 0
    ) arrived
    GROUP BY arrived.bucket_start
) collected
CROSS JOIN LATERAL (
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS p50_delay_seconds,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) AS p95_delay_seconds
    FROM unnest(collected.delays) AS of_run(seconds)
) delay
ORDER BY collected.bucket_start;

-- name: ingestion_by_platform
SELECT collected.platform, collected.runs, collected.last_ingested_at, delay.p50_delay_seconds, delay.p95_delay_seconds
FROM (
    SELECT p.platform, count(*) AS runs, max(r.ingested_at) AS last_ingested_at,
        array_agg(date_part('epoch', r.created_at - r.event_at)) AS delays
    FROM reporting.runs r
    JOIN reporting.pipelines p ON p.pipeline_id = r.pipeline_id
    WHERE r.event_at >= CAST(:since AS timestamptz) AND r.event_at < CAST(:until AS timestamptz)
        AND (CAST(:client_id AS uuid) IS NULL OR p.client_id = CAST(:client_id AS uuid))
    GROUP BY p.platform
) collected
CROSS JOIN LATERAL (
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS p50_delay_seconds,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) AS p95_delay_seconds
    FROM unnest(collected.delays) AS of_run(seconds)
) delay
ORDER BY collected.platform;
