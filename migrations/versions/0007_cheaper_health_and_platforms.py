"""Health, for less, at any moment; and platforms grouped by their number.

What runs is looked up for pipelines that nothing else decides of, and for those that it is asked of; the last success of
a pipeline that does not fail is the run that decides. Runs are grouped by the platform as the enumeration has it: its
text costs as much to make and to hash, 400,000 times in a month, as reading the runs does. The functions take and give
what they did before.

Nothing that was granted is lost, but `chm db grant-reader` must be run again for the new function and view.

Revision: 0007
Revises: 0006
"""

from alembic import op

revision = "0007"
down_revision = "0006"

PIPELINE_PLATFORMS = "SELECT p.id AS pipeline_id, p.client_id, p.platform FROM public.pipelines p"

# What ran at a past moment and has ended since is looked for among what began in the week before, in one short range of
# an index that holds all it asks for; by its end a run could lie anywhere between then and now. The first condition is
# looked at before any run: in the present nothing is read. The last one is no condition on a column of the index,
# or PostgreSQL 18 would reckon with a skip scan over it and, in a prepared plan, read the pipeline's whole history.
_RUNNING = """
        SELECT max(begun.since) AS since
        FROM (
            SELECT coalesce(r.started_at, r.created_at) AS since
            FROM reporting.runs r
            WHERE r.pipeline_id = pipeline AND r.is_running AND r.event_at <= reporting.known_until(at)
            UNION ALL
            SELECT r.started_at
            FROM reporting.runs r
            WHERE reporting.known_until(at) < 'infinity' AND r.pipeline_id = pipeline
                AND r.started_at <= at AND r.started_at > at - interval '7 days'
                AND coalesce(r.finished_at, r.started_at) > at
        ) begun
"""
_DECISIVE = """
    LEFT JOIN LATERAL (
        SELECT r.run_id, r.is_success, r.is_failed, r.event_at
        FROM reporting.runs r
        WHERE r.pipeline_id = pipeline AND (r.is_success OR r.is_failed) AND r.event_at <= reporting.known_until(at)
        ORDER BY r.event_at DESC, r.run_id DESC
        LIMIT 1
    ) decisive ON true
    CROSS JOIN LATERAL (
        SELECT CASE WHEN expected_minutes IS NOT NULL THEN
            coalesce(CASE WHEN decisive.is_success THEN decisive.event_at END, created)
            + 1.25 * expected_minutes * interval '1 minute'
        END AS late_at
    ) late
"""


def _verdict(undecided: str, before: str, after: str) -> str:
    return f"""
        SELECT
            CASE
                WHEN decisive.is_failed THEN 'failing'
                WHEN late.late_at < at THEN 'late'
                WHEN decisive.run_id IS NULL AND {undecided}.since IS NOT NULL THEN 'running'
                WHEN decisive.is_success THEN 'healthy'
                ELSE 'no_data'
            END,
            late.late_at, decisive.event_at, running.since
        {before} {_DECISIVE} {after}
    """


# The second is for those who ask since when a pipeline runs: the planner leaves it out for the others, or keeps it for
# the rows that they keep.
VERDICT = _verdict(
    "undecided",
    "FROM (VALUES (1)) AS one",
    """
    LEFT JOIN LATERAL
        reporting.running_since(CASE WHEN decisive.run_id IS NULL THEN pipeline END, at) undecided ON true
    LEFT JOIN LATERAL reporting.running_since(pipeline, at) running ON true
    """,
)
VERDICT_BEFORE = _verdict("running", f"FROM ({_RUNNING}) running", "")


def _health(last_success: str, success: str) -> str:
    return f"""
        SELECT p.pipeline_id, p.pipeline_name, p.client_id, p.client_name, p.platform, p.pipeline_type, p.environment,
            p.expected_every_minutes, p.is_active, p.client_is_active, p.in_service,
            h.health, CASE h.health WHEN 'failing' THEN streak.since WHEN 'late' THEN h.late_at END,
            streak.failures, {last_success}, success.run_id, h.last_finished_at, h.late_at, h.running_since
        FROM reporting.pipelines p
        CROSS JOIN LATERAL reporting.pipeline_verdict(p.pipeline_id, p.created_at, p.expected_every_minutes, at) h
        LEFT JOIN LATERAL reporting.last_success(p.pipeline_id, at) success ON true
        {success}
        LEFT JOIN LATERAL
            reporting.failing_streak(CASE h.health WHEN 'failing' THEN p.pipeline_id END, at) streak ON true
    """


# The run that decides of a pipeline which does not fail is a success, or there is none.
HEALTH = _health(
    "CASE h.health WHEN 'failing' THEN before.event_at ELSE h.last_finished_at END",
    """
        LEFT JOIN LATERAL
            reporting.last_success(CASE h.health WHEN 'failing' THEN p.pipeline_id END, at) before ON true
    """,
)
HEALTH_BEFORE = _health("success.event_at", "")

_WINDOW = "r.event_at >= since AND r.event_at < until"
_OF_CLIENT = "(client IS NULL OR p.client_id = client)"
_BUCKET = "date_bin(bucket, r.event_at, timestamptz '2001-01-01 00:00+00')"
_TIMED = "r.is_success AND r.duration_seconds IS NOT NULL"
# Collected by hashing first: percentile_cont over groups would sort all runs by their group before it sorts each.
_PERCENTILES = """
    CROSS JOIN LATERAL (
        SELECT count(*) AS runs,
            percentile_cont(0.5) WITHIN GROUP (ORDER BY duration.seconds) AS p50,
            percentile_cont(0.95) WITHIN GROUP (ORDER BY duration.seconds) AS p95,
            percentile_cont(0.99) WITHIN GROUP (ORDER BY duration.seconds) AS p99,
            max(duration.seconds) AS longest
        FROM unnest(g.durations) AS duration(seconds)
    ) d
"""


# OFFSET 0 keeps the planner from expecting as many buckets as there are moments, and so from sorting all runs.
PLATFORM_OUTCOMES = f"""
    SELECT g.bucket_start, CAST(g.platform AS text), g.runs, g.succeeded, g.failed,
        CAST(g.succeeded AS double precision) / nullif(g.succeeded + g.failed, 0),
        CAST(g.failed AS double precision) / nullif(g.succeeded + g.failed, 0)
    FROM (
        SELECT r.bucket_start, r.platform, count(*) AS runs, count(*) FILTER (WHERE r.is_success) AS succeeded,
            count(*) FILTER (WHERE r.is_failed) AS failed
        FROM (
            SELECT {_BUCKET} AS bucket_start, p.platform, r.is_success, r.is_failed
            FROM reporting.runs r
            JOIN reporting.pipeline_platforms p ON p.pipeline_id = r.pipeline_id
            WHERE {_WINDOW} AND {_OF_CLIENT}
            OFFSET 0
        ) r
        GROUP BY r.bucket_start, r.platform
    ) g
"""
PLATFORM_OUTCOMES_BEFORE = f"""
    SELECT r.bucket_start, r.platform,
        count(*), count(*) FILTER (WHERE r.is_success), count(*) FILTER (WHERE r.is_failed),
        CAST(count(*) FILTER (WHERE r.is_success) AS double precision)
            / nullif(count(*) FILTER (WHERE r.is_success OR r.is_failed), 0),
        CAST(count(*) FILTER (WHERE r.is_failed) AS double precision)
            / nullif(count(*) FILTER (WHERE r.is_success OR r.is_failed), 0)
    FROM (
        SELECT {_BUCKET} AS bucket_start, p.platform, r.is_success, r.is_failed, r.rows_processed, r.duration_seconds
        FROM reporting.runs r
        JOIN reporting.pipelines p ON p.pipeline_id = r.pipeline_id
        WHERE {_WINDOW} AND {_OF_CLIENT}
        OFFSET 0
    ) r
    GROUP BY r.bucket_start, r.platform
"""


def _platform_durations(pipelines: str, platform: str) -> str:
    return f"""
        SELECT {platform}, d.runs, d.p50, d.p95, d.p99, d.longest
        FROM (
            SELECT p.platform, array_agg(r.duration_seconds) AS durations
            FROM reporting.runs r
            JOIN reporting.{pipelines} p ON p.pipeline_id = r.pipeline_id
            WHERE {_TIMED} AND {_WINDOW} AND {_OF_CLIENT}
            GROUP BY p.platform
        ) g
        {_PERCENTILES}
    """


_OUTCOMES = "runs bigint, succeeded bigint, failed bigint, success_rate double precision, failure_rate double precision"
_DURATIONS = (
    "runs bigint, p50_seconds double precision, p95_seconds double precision, p99_seconds double precision, "
    "max_seconds double precision"
)
RUNNING_SINCE = ("pipeline uuid, at timestamptz", "since timestamptz", _RUNNING)

# Name: (parameters, columns, body, body before), each after those that it calls.
FUNCTIONS = {
    "pipeline_verdict": (
        "pipeline uuid, created timestamptz, expected_minutes integer, at timestamptz",
        "health text, late_at timestamptz, last_finished_at timestamptz, running_since timestamptz",
        VERDICT,
        VERDICT_BEFORE,
    ),
    "pipeline_health_at": (
        "at timestamptz",
        "pipeline_id uuid, pipeline_name text, client_id uuid, client_name text, platform text, pipeline_type text, "
        "environment text, expected_every_minutes integer, is_active boolean, client_is_active boolean, "
        "in_service boolean, health text, since timestamptz, failures_in_row bigint, last_success_at timestamptz, "
        "last_success_run_id uuid, last_finished_at timestamptz, late_at timestamptz, running_since timestamptz",
        HEALTH,
        HEALTH_BEFORE,
    ),
    "platform_outcomes_over_time": (
        "since timestamptz, until timestamptz, bucket interval, client uuid DEFAULT NULL",
        f"bucket_start timestamptz, platform text, {_OUTCOMES}",
        PLATFORM_OUTCOMES,
        PLATFORM_OUTCOMES_BEFORE,
    ),
    "durations_by_platform": (
        "since timestamptz, until timestamptz, client uuid DEFAULT NULL",
        f"platform text, {_DURATIONS}",
        _platform_durations("pipeline_platforms", "CAST(g.platform AS text)"),
        _platform_durations("pipelines", "g.platform"),
    ),
}


def _write(name: str, parameters: str, columns: str, body: str) -> None:
    # Replaced, never dropped: what was granted stays granted.
    op.execute(
        f"CREATE OR REPLACE FUNCTION reporting.{name}({parameters}) RETURNS TABLE ({columns}) "
        f"LANGUAGE sql STABLE PARALLEL SAFE BEGIN ATOMIC {body}; END"
    )


def upgrade() -> None:
    op.execute(f"CREATE VIEW reporting.pipeline_platforms AS {PIPELINE_PLATFORMS}")
    _write("running_since", *RUNNING_SINCE)
    for name, (parameters, columns, body, _) in FUNCTIONS.items():
        _write(name, parameters, columns, body)


def downgrade() -> None:
    for name, (parameters, columns, _, before) in reversed(FUNCTIONS.items()):
        _write(name, parameters, columns, before)
    op.execute("DROP FUNCTION reporting.running_since")
    op.execute("DROP VIEW reporting.pipeline_platforms")
