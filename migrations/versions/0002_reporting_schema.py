"""The schema `reporting`: what dashboards and other readers of the database may rely on.

Views and functions, no table. How to change them later:

- This text stays as it is. A later migration carries the whole new text of what it changes, and the old text in its
  downgrade.
- CREATE OR REPLACE VIEW may add columns at the end and change nothing else, and it keeps what was granted: that is
  the usual way. A function's columns cannot be added to: a new version gets a new name beside the old one.
- A migration that alters or drops a column of a table which a view shows drops what depends on it, by name and never
  by CASCADE (which would take other people's views along), and creates it anew. That loses what was granted: its
  message says that `chm db grant-reader` must be run again, as after every upgrade.

Readers have no right to any table. A view reads with its owner's rights; a function reads with its caller's, so
functions read views alone. Functions have SQL-standard bodies: names in them are bound when they are created, so no
search_path can mislead them and none has to be set, which would keep the planner from inlining them.

Revision: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"

# LEFT JOINs by primary keys, so that the planner leaves a table out whose columns are not asked for. The booleans of
# `runs` are comparisons of the enumeration: conditions on them reach the partial indexes, those on the text do not.
VIEWS = {
    "clients": """
        SELECT id AS client_id, name AS client_name, is_active, created_at
        FROM public.clients
    """,
    "pipelines": """
        SELECT p.id AS pipeline_id, p.name AS pipeline_name, p.client_id, c.name AS client_name,
            CAST(p.platform AS text) AS platform, CAST(p.pipeline_type AS text) AS pipeline_type,
            CAST(p.environment AS text) AS environment, p.expected_every_minutes,
            p.is_active, c.is_active AS client_is_active, p.is_active AND c.is_active AS in_service, p.created_at
        FROM public.pipelines p
        LEFT JOIN public.clients c ON c.id = p.client_id
    """,
    "runs": """
        SELECT r.id AS run_id, r.pipeline_id, r.external_run_id, CAST(r.status AS text) AS status,
            r.status = 'success' AS is_success, r.status = 'failed' AS is_failed, r.status = 'running' AS is_running,
            r.event_at, r.started_at, r.finished_at, r.duration_seconds, r.rows_processed, r.created_at, r.ingested_at
        FROM public.runs r
    """,
    "run_errors": """
        SELECT r.id AS run_id, r.pipeline_id, CAST(r.status AS text) AS status, r.event_at,
            r.error_message, r.status_reason
        FROM public.runs r
        WHERE r.status IN ('failed', 'canceled')
    """,
    "latest_status": """
        SELECT p.pipeline_id, p.pipeline_name, p.client_id, p.client_name, p.platform, p.pipeline_type, p.environment,
            p.is_active, p.client_is_active, p.in_service,
            latest.status AS latest_status, latest.event_at AS latest_run_at,
            latest.started_at AS latest_started_at, latest.finished_at AS latest_finished_at,
            latest.run_id AS latest_run_id
        FROM reporting.pipelines p
        LEFT JOIN LATERAL (
            SELECT r.run_id, r.status, r.event_at, r.started_at, r.finished_at
            FROM reporting.runs r
            WHERE r.pipeline_id = p.pipeline_id
            ORDER BY r.started_at DESC NULLS LAST, r.finished_at DESC NULLS LAST, r.run_id DESC
            LIMIT 1
        ) latest ON true
    """,
}

# Aggregates of one row, where LIMIT 1 would say the same: the planner leaves out an aggregate that is not asked for.
HEALTH = """
    SELECT p.pipeline_id, p.pipeline_name, p.client_id, p.client_name, p.platform, p.pipeline_type, p.environment,
        p.expected_every_minutes, p.is_active, p.client_is_active, p.in_service,
        CASE
            WHEN decisive.is_failed THEN 'failing'
            WHEN late.late_at < at THEN 'late'
            WHEN decisive.run_id IS NULL AND running.since IS NOT NULL THEN 'running'
            WHEN decisive.is_success THEN 'healthy'
            ELSE 'no_data'
        END,
        CASE WHEN decisive.is_failed THEN streak.since WHEN late.late_at < at THEN late.late_at END,
        streak.failures, success.event_at, success.run_id, decisive.event_at, late.late_at, running.since
    FROM reporting.pipelines p
    LEFT JOIN LATERAL (
        SELECT r.run_id, r.is_success, r.is_failed, r.event_at
        FROM reporting.runs r
        WHERE r.pipeline_id = p.pipeline_id AND (r.is_success OR r.is_failed)
        ORDER BY r.event_at DESC, r.run_id DESC
        LIMIT 1
    ) decisive ON true
    CROSS JOIN LATERAL (
        SELECT CASE WHEN p.expected_every_minutes IS NOT NULL THEN
            coalesce(CASE WHEN decisive.is_success THEN decisive.event_at END, p.created_at)
            + 1.25 * p.expected_every_minutes * interval '1 minute'
        END AS late_at
    ) late
    LEFT JOIN LATERAL (
        SELECT max(coalesce(r.started_at, r.created_at)) AS since
        FROM reporting.runs r
        WHERE r.pipeline_id = p.pipeline_id AND r.is_running
    ) running ON true
    LEFT JOIN LATERAL (
        SELECT max(newest.event_at) AS event_at, (array_agg(newest.run_id))[1] AS run_id
        FROM (
            SELECT r.event_at, r.run_id
            FROM reporting.runs r
            WHERE r.pipeline_id = p.pipeline_id AND r.is_success
            ORDER BY r.event_at DESC, r.run_id DESC
            LIMIT 1
        ) newest
    ) success ON true
    LEFT JOIN LATERAL (
        SELECT count(*) AS failures, min(r.event_at) AS since
        FROM reporting.runs r
        WHERE decisive.is_failed AND r.pipeline_id = p.pipeline_id AND r.is_failed
            -- One range of the index; an OR for pipelines that never succeeded would read all their history.
            AND (r.event_at, r.run_id) > (
                coalesce(success.event_at, '-infinity'),
                coalesce(success.run_id, '00000000-0000-0000-0000-000000000000')
            )
    ) streak ON true
"""

CHANGES = """
    SELECT h.pipeline_id, h.pipeline_name, h.client_id, h.client_name, h.platform, h.health, kind.change,
        CASE kind.change
            WHEN 'recovered' THEN (
                SELECT min(s.event_at)
                FROM reporting.runs s
                WHERE s.pipeline_id = h.pipeline_id AND s.is_success AND (s.event_at, s.run_id) > (
                    SELECT f.event_at, f.run_id
                    FROM reporting.runs f
                    WHERE f.pipeline_id = h.pipeline_id AND f.is_failed
                    ORDER BY f.event_at DESC, f.run_id DESC
                    LIMIT 1
                )
            )
            ELSE h.since
        END
    FROM reporting.pipeline_health_at(at) h
    LEFT JOIN LATERAL (
        SELECT r.is_failed
        FROM reporting.runs r
        WHERE r.pipeline_id = h.pipeline_id AND (r.is_success OR r.is_failed)
            AND r.event_at < health_changes.since
        ORDER BY r.event_at DESC, r.run_id DESC
        LIMIT 1
    ) before ON true
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN h.health = 'failing' AND before.is_failed IS NOT TRUE THEN 'newly_failing'
            WHEN h.health = 'late' AND h.late_at >= health_changes.since THEN 'gone_silent'
            WHEN h.health = 'healthy' AND before.is_failed THEN 'recovered'
        END AS change
    ) kind
    WHERE h.in_service AND kind.change IS NOT NULL
"""

# In the functions below a parameter is named without its function: no column of these views is called like one.
_WINDOW = "r.event_at >= since AND r.event_at < until"
_OF_CLIENT = "(client IS NULL OR p.client_id = client)"
_RUNS = "FROM reporting.runs r JOIN reporting.pipelines p ON p.pipeline_id = r.pipeline_id"
# Aligned to UTC; weeks begin on Mondays, as this day was one.
_ORIGIN = "timestamptz '2001-01-01 00:00+00'"
_BUCKET = f"date_bin(bucket, r.event_at, {_ORIGIN})"
_COUNTS = """
    count(*), count(*) FILTER (WHERE r.is_success), count(*) FILTER (WHERE r.is_failed),
    CAST(count(*) FILTER (WHERE r.is_success) AS double precision)
        / nullif(count(*) FILTER (WHERE r.is_success OR r.is_failed), 0),
    CAST(count(*) FILTER (WHERE r.is_failed) AS double precision)
        / nullif(count(*) FILTER (WHERE r.is_success OR r.is_failed), 0)
"""
# OFFSET 0 keeps the planner from expecting as many buckets as there are moments, and so from sorting all runs.
_BY_BUCKET = f"""
    FROM (
        SELECT {_BUCKET} AS bucket_start, p.platform, r.is_success, r.is_failed, r.rows_processed, r.duration_seconds
        {_RUNS}
        WHERE {_WINDOW} AND {_OF_CLIENT}
        OFFSET 0
    ) r
"""
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

FAILURES_OVER_TIME = f"""
    SELECT series.bucket_start, coalesce(found.failures, 0)
    FROM generate_series(date_bin(bucket, since, {_ORIGIN}), until - interval '1 microsecond', bucket)
        AS series(bucket_start)
    LEFT JOIN (
        SELECT {_BUCKET} AS bucket_start, count(*) AS failures
        {_RUNS}
        WHERE r.is_failed AND {_WINDOW} AND {_OF_CLIENT}
        GROUP BY 1
    ) found ON found.bucket_start = series.bucket_start
"""

# Without a failure nothing changes, so only the pipelines that have one are read, each from one range of its index.
FLAKY = f"""
    SELECT p.pipeline_id, p.pipeline_name, p.client_id, p.client_name, p.platform,
        history.runs, history.failed, history.changes,
        CAST(history.changes AS double precision) / (history.runs - 1)
    FROM (SELECT DISTINCT r.pipeline_id FROM reporting.runs r WHERE r.is_failed AND {_WINDOW}) suspect
    JOIN reporting.pipelines p ON p.pipeline_id = suspect.pipeline_id
    CROSS JOIN LATERAL (
        SELECT count(*) AS runs, count(*) FILTER (WHERE step.is_failed) AS failed,
            count(*) FILTER (WHERE step.is_failed <> step.before) AS changes
        FROM (
            SELECT r.is_failed, lag(r.is_failed) OVER (ORDER BY r.event_at, r.run_id) AS before
            FROM reporting.runs r
            WHERE r.pipeline_id = suspect.pipeline_id AND (r.is_success OR r.is_failed) AND {_WINDOW}
        ) step
    ) history
    WHERE history.runs >= 5 AND history.changes > 0
"""

HISTOGRAM = f"""
    SELECT bounds.lower_seconds, bounds.upper_seconds, coalesce(found.runs, 0)
    FROM (
        SELECT number, lower_seconds, lead(lower_seconds) OVER (ORDER BY number) AS upper_seconds
        FROM unnest(ARRAY[0, 1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14400, 28800])
            WITH ORDINALITY AS bound(lower_seconds, number)
    ) bounds
    LEFT JOIN (
        SELECT width_bucket(
            r.duration_seconds, CAST(ARRAY[0, 1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14400, 28800] AS float8[])
        ) AS number, count(*) AS runs
        {_RUNS}
        WHERE {_TIMED} AND {_WINDOW} AND {_OF_CLIENT}
        GROUP BY 1
    ) found ON found.number = bounds.number
"""

_PIPELINE = "pipeline_id uuid, pipeline_name text, client_id uuid, client_name text, platform text"
_OUTCOMES = "runs bigint, succeeded bigint, failed bigint, success_rate double precision, failure_rate double precision"
_DURATIONS = (
    "runs bigint, p50_seconds double precision, p95_seconds double precision, p99_seconds double precision, "
    "max_seconds double precision"
)
_OVER = "since timestamptz, until timestamptz"
_OVER_OF_CLIENT = f"{_OVER}, client uuid DEFAULT NULL"
_SERIES = f"{_OVER}, bucket interval, client uuid DEFAULT NULL"

# Name: (parameters, columns, body), each after those that it calls.
FUNCTIONS = {
    "pipeline_health_at": (
        "at timestamptz",
        f"{_PIPELINE}, pipeline_type text, environment text, expected_every_minutes integer, is_active boolean, "
        "client_is_active boolean, in_service boolean, health text, since timestamptz, failures_in_row bigint, "
        "last_success_at timestamptz, last_success_run_id uuid, last_finished_at timestamptz, late_at timestamptz, "
        "running_since timestamptz",
        HEALTH,
    ),
    "health_changes": (
        "since timestamptz, at timestamptz",
        f"{_PIPELINE}, health text, change text, changed_at timestamptz",
        CHANGES,
    ),
    "failures_over_time": (_SERIES, "bucket_start timestamptz, failures bigint", FAILURES_OVER_TIME),
    "failures_by_client": (
        "at timestamptz",
        "client_id uuid, client_name text, failures_24h bigint, failures_7d bigint",
        f"""
            SELECT p.client_id, p.client_name, count(*) FILTER (WHERE r.event_at >= at - interval '24 hours'), count(*)
            {_RUNS}
            WHERE r.is_failed AND r.event_at >= at - interval '168 hours' AND r.event_at < at
            GROUP BY p.client_id, p.client_name
        """,
    ),
    "flaky_pipelines": (
        _OVER, f"{_PIPELINE}, runs bigint, failed bigint, changes bigint, flakiness double precision", FLAKY
    ),
    "outcomes_by_pipeline": (
        _OVER,
        f"{_PIPELINE}, {_OUTCOMES}, rows_processed numeric",
        f"""
            SELECT p.pipeline_id, p.pipeline_name, p.client_id, p.client_name, p.platform, {_COUNTS},
                sum(r.rows_processed)
            {_RUNS}
            WHERE {_WINDOW}
            GROUP BY p.pipeline_id, p.pipeline_name, p.client_id, p.client_name, p.platform
        """,
    ),
    "outcomes_by_client": (
        _OVER,
        f"client_id uuid, client_name text, {_OUTCOMES}, rows_processed numeric",
        f"""
            SELECT p.client_id, p.client_name, {_COUNTS}, sum(r.rows_processed)
            {_RUNS}
            WHERE {_WINDOW}
            GROUP BY p.client_id, p.client_name
        """,
    ),
    "outcomes_by_platform": (
        _OVER_OF_CLIENT,
        f"platform text, {_OUTCOMES}",
        f"SELECT p.platform, {_COUNTS} {_RUNS} WHERE {_WINDOW} AND {_OF_CLIENT} GROUP BY p.platform",
    ),
    "outcomes_over_time": (
        _SERIES,
        f"bucket_start timestamptz, {_OUTCOMES}, rows_processed numeric",
        f"SELECT r.bucket_start, {_COUNTS}, sum(r.rows_processed) {_BY_BUCKET} GROUP BY r.bucket_start",
    ),
    "platform_outcomes_over_time": (
        _SERIES,
        f"bucket_start timestamptz, platform text, {_OUTCOMES}",
        f"SELECT r.bucket_start, r.platform, {_COUNTS} {_BY_BUCKET} GROUP BY r.bucket_start, r.platform",
    ),
    "durations_by_pipeline": (
        _OVER,
        f"{_PIPELINE}, {_DURATIONS}",
        f"""
            SELECT g.pipeline_id, g.pipeline_name, g.client_id, g.client_name, g.platform,
                d.runs, d.p50, d.p95, d.p99, d.longest
            FROM (
                SELECT p.pipeline_id, p.pipeline_name, p.client_id, p.client_name, p.platform,
                    array_agg(r.duration_seconds) AS durations
                {_RUNS}
                WHERE {_TIMED} AND {_WINDOW}
                GROUP BY p.pipeline_id, p.pipeline_name, p.client_id, p.client_name, p.platform
            ) g
            {_PERCENTILES}
        """,
    ),
    "durations_by_platform": (
        _OVER_OF_CLIENT,
        f"platform text, {_DURATIONS}",
        f"""
            SELECT g.platform, d.runs, d.p50, d.p95, d.p99, d.longest
            FROM (
                SELECT p.platform, array_agg(r.duration_seconds) AS durations
                {_RUNS}
                WHERE {_TIMED} AND {_WINDOW} AND {_OF_CLIENT}
                GROUP BY p.platform
            ) g
            {_PERCENTILES}
        """,
    ),
    "durations_over_time": (
        _SERIES,
        f"bucket_start timestamptz, {_DURATIONS}",
        f"""
            SELECT g.bucket_start, d.runs, d.p50, d.p95, d.p99, d.longest
            FROM (
                SELECT r.bucket_start, array_agg(r.duration_seconds) AS durations
                {_BY_BUCKET}
                WHERE {_TIMED}
                GROUP BY r.bucket_start
            ) g
            {_PERCENTILES}
        """,
    ),
    "duration_histogram": (
        _OVER_OF_CLIENT, "lower_seconds integer, upper_seconds integer, runs bigint", HISTOGRAM
    ),
}

# The views that ask for the present moment stand on functions, and so come after them.
VIEWS_ON_FUNCTIONS = {
    "pipeline_health": "SELECT * FROM reporting.pipeline_health_at(now())",
}


def upgrade() -> None:
    op.execute("CREATE SCHEMA reporting")
    for name, body in VIEWS.items():
        op.execute(f"CREATE VIEW reporting.{name} AS {body}")
    for name, (parameters, columns, body) in FUNCTIONS.items():
        op.execute(
            f"CREATE FUNCTION reporting.{name}({parameters}) RETURNS TABLE ({columns}) "
            f"LANGUAGE sql STABLE PARALLEL SAFE BEGIN ATOMIC {body}; END"
        )
    for name, body in VIEWS_ON_FUNCTIONS.items():
        op.execute(f"CREATE VIEW reporting.{name} AS {body}")


def downgrade() -> None:
    for name in reversed(VIEWS_ON_FUNCTIONS):
        op.execute(f"DROP VIEW reporting.{name}")
    for name in reversed(FUNCTIONS):
        op.execute(f"DROP FUNCTION reporting.{name}")
    for name in reversed(VIEWS):
        op.execute(f"DROP VIEW reporting.{name}")
    # Refused while it holds something that is not ours.
    op.execute("DROP SCHEMA reporting")
