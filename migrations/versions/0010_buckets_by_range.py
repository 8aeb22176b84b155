"""Buckets of time, for less: each is a range of the index, not a group that every run is sorted or hashed into.

Where runs are grouped by their platform as well they meet a list of the buckets that there are. The planner knows how
long that is, where it took every moment for a bucket of its own, so it groups in parallel. Percentiles come from one
sort and one pass. A day's bucket has 24 hours in every time zone: the series of the failures took the session's days,
and missed its own buckets after a change of the clocks. Else the functions take and give what they did before, and keep
what was granted.

Revision: 0010
Revises: 0009
"""

from alembic import op

revision = "0010"
down_revision = "0009"

_WINDOW = "r.event_at >= since AND r.event_at < until"
_OF_CLIENT = "(client IS NULL OR p.client_id = client)"
# Each run has a pipeline. Where the client is null the planner leaves an outer join out, where it is not it makes an
# inner one of it.
_RUNS = "FROM reporting.runs r LEFT JOIN reporting.pipelines p ON p.pipeline_id = r.pipeline_id"
_ORIGIN = "timestamptz '2001-01-01 00:00+00'"
_BUCKET = f"date_bin(bucket, r.event_at, {_ORIGIN})"
_STEP = "make_interval(secs => extract(epoch FROM bucket))"
_TIMED = "r.is_success AND r.duration_seconds IS NOT NULL"

# No bucket before the first run and none after the last: a window may be without end.
_BUCKETS = f"""
    FROM (SELECT min(event_at) AS first, max(event_at) AS last FROM reporting.runs) known
    CROSS JOIN LATERAL generate_series(
        date_bin(bucket, CASE WHEN since > known.first THEN since ELSE known.first END, {_ORIGIN}),
        CASE WHEN until <= known.last THEN until - interval '1 microsecond' ELSE known.last END,
        {_STEP}
    ) AS series(bucket_start)
"""
# Of numbers alone the planner can tell how many there are. Every run is of these years.
_COUNTED_BUCKETS = f"""
    generate_series(
        date_bin(bucket, CASE WHEN isfinite(since) THEN since ELSE timestamptz '1970-01-01 00:00+00' END, {_ORIGIN}),
        CASE WHEN isfinite(until) THEN until ELSE timestamptz '2200-01-01 00:00+00' END - interval '1 microsecond',
        {_STEP}
    ) AS buckets(bucket_start)
"""
_IN_BUCKET = f"""
    r.event_at >= greatest(series.bucket_start, since) AND r.event_at < least(series.bucket_start + {_STEP}, until)
"""

_NAMED_COUNTS = """
    count(*) AS runs, count(*) FILTER (WHERE r.is_success) AS succeeded, count(*) FILTER (WHERE r.is_failed) AS failed
"""
_COUNTED = """
    g.runs, g.succeeded, g.failed,
    CAST(g.succeeded AS double precision) / nullif(g.succeeded + g.failed, 0),
    CAST(g.failed AS double precision) / nullif(g.succeeded + g.failed, 0)
"""
_COUNTS = """
    count(*), count(*) FILTER (WHERE r.is_success), count(*) FILTER (WHERE r.is_failed),
    CAST(count(*) FILTER (WHERE r.is_success) AS double precision)
        / nullif(count(*) FILTER (WHERE r.is_success OR r.is_failed), 0),
    CAST(count(*) FILTER (WHERE r.is_failed) AS double precision)
        / nullif(count(*) FILTER (WHERE r.is_success OR r.is_failed), 0)
"""


def _percentiles(of: str) -> str:
    return f"percentile_cont(ARRAY[0.5, 0.95, 0.99, 1]) WITHIN GROUP (ORDER BY {of}) AS percentiles"


_OF_PERCENTILES = "d.percentiles[1], d.percentiles[2], d.percentiles[3], d.percentiles[4]"
_PERCENTILES_BEFORE = """
    CROSS JOIN LATERAL (
        SELECT count(*) AS runs,
            percentile_cont(0.5) WITHIN GROUP (ORDER BY duration.seconds) AS p50,
            percentile_cont(0.95) WITHIN GROUP (ORDER BY duration.seconds) AS p95,
            percentile_cont(0.99) WITHIN GROUP (ORDER BY duration.seconds) AS p99,
            max(duration.seconds) AS longest
        FROM unnest(g.durations) AS duration(seconds)
    ) d
"""

OUTCOMES = f"""
    SELECT series.bucket_start, {_COUNTED}, g.rows_processed
    {_BUCKETS}
    CROSS JOIN LATERAL (
        SELECT {_NAMED_COUNTS}, sum(r.rows_processed) AS rows_processed {_RUNS} WHERE {_IN_BUCKET} AND {_OF_CLIENT}
    ) g
    WHERE g.runs > 0
"""
DURATIONS = f"""
    SELECT series.bucket_start, d.runs, {_OF_PERCENTILES}
    {_BUCKETS}
    CROSS JOIN LATERAL (
        SELECT count(*) AS runs, {_percentiles("r.duration_seconds")}
        {_RUNS}
        WHERE {_IN_BUCKET} AND {_TIMED} AND {_OF_CLIENT}
    ) d
    WHERE d.runs > 0
"""
PLATFORM_OUTCOMES = f"""
    SELECT g.bucket_start, CAST(g.platform AS text), {_COUNTED}
    FROM (
        SELECT buckets.bucket_start, p.platform, {_NAMED_COUNTS}
        FROM reporting.runs r
        JOIN reporting.pipeline_platforms p ON p.pipeline_id = r.pipeline_id
        JOIN {_COUNTED_BUCKETS} ON buckets.bucket_start = {_BUCKET}
        WHERE {_WINDOW} AND {_OF_CLIENT}
        GROUP BY buckets.bucket_start, p.platform
    ) g
"""
_ALL_OF_PLATFORM = f"""
        SELECT p.platform, array_agg(r.duration_seconds) AS durations
        FROM reporting.runs r
        JOIN reporting.pipeline_platforms p ON p.pipeline_id = r.pipeline_id
        WHERE {_TIMED} AND {_WINDOW} AND {_OF_CLIENT}
        GROUP BY p.platform
"""
# Collected by hashing first: percentile_cont over groups would sort all runs by their group before it sorts each.
PLATFORM_DURATIONS = f"""
    SELECT CAST(g.platform AS text), CAST(cardinality(g.durations) AS bigint), {_OF_PERCENTILES}
    FROM ({_ALL_OF_PLATFORM}) g
    CROSS JOIN LATERAL (SELECT {_percentiles("seconds")} FROM unnest(g.durations) AS duration(seconds)) d
"""


def _failures(step: str) -> str:
    return f"""
        SELECT series.bucket_start, coalesce(found.failures, 0)
        FROM generate_series(date_bin(bucket, since, {_ORIGIN}), until - interval '1 microsecond', {step})
            AS series(bucket_start)
        LEFT JOIN (
            SELECT {_BUCKET} AS bucket_start, count(*) AS failures
            {_RUNS}
            WHERE r.is_failed AND {_WINDOW} AND {_OF_CLIENT}
            GROUP BY 1
        ) found ON found.bucket_start = series.bucket_start
    """


_BY_BUCKET_BEFORE = f"""
    FROM (
        SELECT {_BUCKET} AS bucket_start, r.is_success, r.is_failed, r.rows_processed, r.duration_seconds
        {_RUNS}
        WHERE {_WINDOW} AND {_OF_CLIENT}
        OFFSET 0
    ) r
"""
OUTCOMES_BEFORE = (
    f"SELECT r.bucket_start, {_COUNTS}, sum(r.rows_processed) {_BY_BUCKET_BEFORE} GROUP BY r.bucket_start"
)
DURATIONS_BEFORE = f"""
    SELECT g.bucket_start, d.runs, d.p50, d.p95, d.p99, d.longest
    FROM (
        SELECT r.bucket_start, array_agg(r.duration_seconds) AS durations
        {_BY_BUCKET_BEFORE}
        WHERE {_TIMED}
        GROUP BY r.bucket_start
    ) g
    {_PERCENTILES_BEFORE}
"""
PLATFORM_OUTCOMES_BEFORE = f"""
    SELECT g.bucket_start, CAST(g.platform AS text), {_COUNTED}
    FROM (
        SELECT r.bucket_start, r.platform, {_NAMED_COUNTS}
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
PLATFORM_DURATIONS_BEFORE = f"""
    SELECT CAST(g.platform AS text), d.runs, d.p50, d.p95, d.p99, d.longest
    FROM ({_ALL_OF_PLATFORM}) g
    {_PERCENTILES_BEFORE}
"""

_OUTCOMES = "runs bigint, succeeded bigint, failed bigint, success_rate double precision, failure_rate double precision"
_DURATIONS = (
    "runs bigint, p50_seconds double precision, p95_seconds double precision, p99_seconds double precision, "
    "max_seconds double precision"
)
_OVER = "since timestamptz, until timestamptz"
_SERIES = f"{_OVER}, bucket interval, client uuid DEFAULT NULL"

# Name: (parameters, columns, body, body before).
FUNCTIONS = {
    "failures_over_time": (
        _SERIES,
        "bucket_start timestamptz, failures bigint",
        _failures(_STEP),
        _failures("bucket"),
    ),
    "outcomes_over_time": (
        _SERIES,
        f"bucket_start timestamptz, {_OUTCOMES}, rows_processed numeric",
        OUTCOMES,
        OUTCOMES_BEFORE,
    ),
    "durations_over_time": (_SERIES, f"bucket_start timestamptz, {_DURATIONS}", DURATIONS, DURATIONS_BEFORE),
    "platform_outcomes_over_time": (
        _SERIES,
        f"bucket_start timestamptz, platform text, {_OUTCOMES}",
        PLATFORM_OUTCOMES,
        PLATFORM_OUTCOMES_BEFORE,
    ),
    "durations_by_platform": (
        f"{_OVER}, client uuid DEFAULT NULL",
        f"platform text, {_DURATIONS}",
        PLATFORM_DURATIONS,
        PLATFORM_DURATIONS_BEFORE,
    ),
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
