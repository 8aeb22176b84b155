"""What became of the fleet's runs, for less: no run is joined to its pipeline where nothing of the pipeline is asked.

A month of five million runs a year is 400,000 rows, and a join or a grouping by a name costs as much as reading them.
The functions take and give what they did before.

Revision: 0005
Revises: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"

_WINDOW = "r.event_at >= since AND r.event_at < until"
_OF_CLIENT = "(client IS NULL OR p.client_id = client)"
_RUNS = "FROM reporting.runs r JOIN reporting.pipelines p ON p.pipeline_id = r.pipeline_id"
# Each run has a pipeline. Where the client is null the planner leaves an outer join out, where it is not it makes an
# inner one of it.
_RUNS_ALONE = "FROM reporting.runs r LEFT JOIN reporting.pipelines p ON p.pipeline_id = r.pipeline_id"
_ORIGIN = "timestamptz '2001-01-01 00:00+00'"
_BUCKET = f"date_bin(bucket, r.event_at, {_ORIGIN})"
_TIMED = "r.is_success AND r.duration_seconds IS NOT NULL"
_BOUNDS = "0, 1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14400, 28800"


_COUNTS = """
    count(*), count(*) FILTER (WHERE r.is_success), count(*) FILTER (WHERE r.is_failed),
    CAST(count(*) FILTER (WHERE r.is_success) AS double precision)
        / nullif(count(*) FILTER (WHERE r.is_success OR r.is_failed), 0),
    CAST(count(*) FILTER (WHERE r.is_failed) AS double precision)
        / nullif(count(*) FILTER (WHERE r.is_success OR r.is_failed), 0)
"""
# For groups whose rates come later.
_NAMED_COUNTS = """
    count(*) AS runs, count(*) FILTER (WHERE r.is_success) AS succeeded, count(*) FILTER (WHERE r.is_failed) AS failed
"""
_COUNTED = """
    g.runs, g.succeeded, g.failed,
    CAST(g.succeeded AS double precision) / nullif(g.succeeded + g.failed, 0),
    CAST(g.failed AS double precision) / nullif(g.succeeded + g.failed, 0)
"""

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


def _by_bucket(runs: str) -> str:
    platform = "p.platform, " if runs == _RUNS else ""
    # OFFSET 0 keeps the planner from expecting as many buckets as there are moments, and so from sorting all runs.
    return f"""
        FROM (
            SELECT {_BUCKET} AS bucket_start, {platform}r.is_success, r.is_failed, r.rows_processed, r.duration_seconds
            {runs}
            WHERE {_WINDOW} AND {_OF_CLIENT}
            OFFSET 0
        ) r
    """


def _failures_over_time(runs: str) -> str:
    return f"""
        SELECT series.bucket_start, coalesce(found.failures, 0)
        FROM generate_series(date_bin(bucket, since, {_ORIGIN}), until - interval '1 microsecond', bucket)
            AS series(bucket_start)
        LEFT JOIN (
            SELECT {_BUCKET} AS bucket_start, count(*) AS failures
            {runs}
            WHERE r.is_failed AND {_WINDOW} AND {_OF_CLIENT}
            GROUP BY 1
        ) found ON found.bucket_start = series.bucket_start
    """


def _outcomes_over_time(runs: str) -> str:
    return f"SELECT r.bucket_start, {_COUNTS}, sum(r.rows_processed) {_by_bucket(runs)} GROUP BY r.bucket_start"


def _durations_over_time(runs: str) -> str:
    return f"""
        SELECT g.bucket_start, d.runs, d.p50, d.p95, d.p99, d.longest
        FROM (
            SELECT r.bucket_start, array_agg(r.duration_seconds) AS durations
            {_by_bucket(runs)}
            WHERE {_TIMED}
            GROUP BY r.bucket_start
        ) g
        {_PERCENTILES}
    """


def _histogram(runs: str) -> str:
    return f"""
        SELECT bounds.lower_seconds, bounds.upper_seconds, coalesce(found.runs, 0)
        FROM (
            SELECT number, lower_seconds, lead(lower_seconds) OVER (ORDER BY number) AS upper_seconds
            FROM unnest(ARRAY[{_BOUNDS}]) WITH ORDINALITY AS bound(lower_seconds, number)
        ) bounds
        LEFT JOIN (
            SELECT width_bucket(r.duration_seconds, CAST(ARRAY[{_BOUNDS}] AS float8[])) AS number, count(*) AS runs
            {runs}
            WHERE {_TIMED} AND {_WINDOW} AND {_OF_CLIENT}
            GROUP BY 1
        ) found ON found.number = bounds.number
    """


# By ids alone, and with the client's among them: who asks for one client's rows has only that client's runs read.
BY_PIPELINE = f"""
    SELECT g.pipeline_id, named.pipeline_name, g.client_id, named.client_name, named.platform, {_COUNTED},
        g.rows_processed
    FROM (
        SELECT r.pipeline_id, p.client_id, {_NAMED_COUNTS}, sum(r.rows_processed) AS rows_processed
        {_RUNS}
        WHERE {_WINDOW}
        GROUP BY r.pipeline_id, p.client_id
    ) g
    JOIN reporting.pipelines named ON named.pipeline_id = g.pipeline_id
"""
BY_CLIENT = f"""
    SELECT g.client_id, named.client_name, {_COUNTED}, g.rows_processed
    FROM (
        SELECT p.client_id, {_NAMED_COUNTS}, sum(r.rows_processed) AS rows_processed
        {_RUNS}
        WHERE {_WINDOW}
        GROUP BY p.client_id
    ) g
    JOIN reporting.clients named ON named.client_id = g.client_id
"""
# Ten thousand pipelines have four platforms: what is joined and grouped by the platform are sums.
BY_PLATFORM = f"""
    SELECT g.platform, {_COUNTED}
    FROM (
        SELECT named.platform, CAST(sum(each.runs) AS bigint) AS runs,
            CAST(sum(each.succeeded) AS bigint) AS succeeded, CAST(sum(each.failed) AS bigint) AS failed
        FROM (
            SELECT r.pipeline_id, {_NAMED_COUNTS}
            {_RUNS_ALONE}
            WHERE {_WINDOW} AND {_OF_CLIENT}
            GROUP BY r.pipeline_id
        ) each
        JOIN reporting.pipelines named ON named.pipeline_id = each.pipeline_id
        GROUP BY named.platform
    ) g
"""

BY_PIPELINE_BEFORE = f"""
    SELECT p.pipeline_id, p.pipeline_name, p.client_id, p.client_name, p.platform, {_COUNTS}, sum(r.rows_processed)
    {_RUNS}
    WHERE {_WINDOW}
    GROUP BY p.pipeline_id, p.pipeline_name, p.client_id, p.client_name, p.platform
"""
BY_CLIENT_BEFORE = f"""
    SELECT p.client_id, p.client_name, {_COUNTS}, sum(r.rows_processed)
    {_RUNS}
    WHERE {_WINDOW}
    GROUP BY p.client_id, p.client_name
"""
BY_PLATFORM_BEFORE = f"SELECT p.platform, {_COUNTS} {_RUNS} WHERE {_WINDOW} AND {_OF_CLIENT} GROUP BY p.platform"

_PIPELINE = "pipeline_id uuid, pipeline_name text, client_id uuid, client_name text, platform text"
_OUTCOMES = "runs bigint, succeeded bigint, failed bigint, success_rate double precision, failure_rate double precision"
_DURATIONS = (
    "runs bigint, p50_seconds double precision, p95_seconds double precision, p99_seconds double precision, "
    "max_seconds double precision"
)
_OVER = "since timestamptz, until timestamptz"
_OVER_OF_CLIENT = f"{_OVER}, client uuid DEFAULT NULL"
_SERIES = f"{_OVER}, bucket interval, client uuid DEFAULT NULL"

# Name: (parameters, columns, body, body before).
FUNCTIONS = {
    "failures_over_time": (
        _SERIES,
        "bucket_start timestamptz, failures bigint",
        _failures_over_time(_RUNS_ALONE),
        _failures_over_time(_RUNS),
    ),
    "outcomes_over_time": (
        _SERIES,
        f"bucket_start timestamptz, {_OUTCOMES}, rows_processed numeric",
        _outcomes_over_time(_RUNS_ALONE),
        _outcomes_over_time(_RUNS),
    ),
    "durations_over_time": (
        _SERIES,
        f"bucket_start timestamptz, {_DURATIONS}",
        _durations_over_time(_RUNS_ALONE),
        _durations_over_time(_RUNS),
    ),
    "duration_histogram": (
        _OVER_OF_CLIENT,
        "lower_seconds integer, upper_seconds integer, runs bigint",
        _histogram(_RUNS_ALONE),
        _histogram(_RUNS),
    ),
    "outcomes_by_pipeline": (
        _OVER,
        f"{_PIPELINE}, {_OUTCOMES}, rows_processed numeric",
        BY_PIPELINE,
        BY_PIPELINE_BEFORE,
    ),
    "outcomes_by_client": (
        _OVER,
        f"client_id uuid, client_name text, {_OUTCOMES}, rows_processed numeric",
        BY_CLIENT,
        BY_CLIENT_BEFORE,
    ),
    "outcomes_by_platform": (_OVER_OF_CLIENT, f"platform text, {_OUTCOMES}", BY_PLATFORM, BY_PLATFORM_BEFORE),
}


def _write(name: str, parameters: str, columns: str, body: str) -> None:
    # Replaced, never dropped: what was granted stays granted.
    op.execute(
        f"CREATE OR REPLACE FUNCTION reporting.{name}({parameters}) RETURNS TABLE ({columns}) "
        f"LANGUAGE sql STABLE PARALLEL SAFE BEGIN ATOMIC {body}; END"
    )


def upgrade() -> None:
    for name, (parameters, columns, body, _) in FUNCTIONS.items():
        _write(name, parameters, columns, body)


def downgrade() -> None:
    for name, (parameters, columns, _, before) in FUNCTIONS.items():
        _write(name, parameters, columns, before)
