"""Health asks of a pipeline only what its answer needs.

What only some pipelines need (since when they run, how long they fail, what was before) is a query within the
expression that asks for it, not a join: a join is entered for every pipeline, even where its key is null, and that took
as long as reading the runs that decide. A quarter more than the expected minutes is counted in seconds, so many times
75, not in numerics. The functions take and give what they did before, and keep what was granted.

Revision: 0009
Revises: 0008
"""

from alembic import op

revision = "0009"
down_revision = "0008"

_DECISIVE = """
    LEFT JOIN LATERAL (
        SELECT r.run_id, r.is_success, r.is_failed, r.event_at
        FROM reporting.runs r
        WHERE r.pipeline_id = pipeline AND (r.is_success OR r.is_failed) AND r.event_at <= reporting.known_until(at)
        ORDER BY r.event_at DESC, r.run_id DESC
        LIMIT 1
    ) decisive ON true
"""


def _verdict(undecided: str, running: str, quarter_more: str, joined: str) -> str:
    return f"""
        SELECT
            CASE
                WHEN decisive.is_failed THEN 'failing'
                WHEN late.late_at < at THEN 'late'
                WHEN decisive.run_id IS NULL AND {undecided} IS NOT NULL THEN 'running'
                WHEN decisive.is_success THEN 'healthy'
                ELSE 'no_data'
            END,
            late.late_at, decisive.event_at, {running}
        FROM (VALUES (1)) AS one
        {_DECISIVE}
        CROSS JOIN LATERAL (
            SELECT CASE WHEN expected_minutes IS NOT NULL THEN
                coalesce(CASE WHEN decisive.is_success THEN decisive.event_at END, created) + {quarter_more}
            END AS late_at
        ) late
        {joined}
    """


_RUNNING_SINCE = "(SELECT r.since FROM reporting.running_since(pipeline, at) r)"
VERDICT = _verdict(_RUNNING_SINCE, _RUNNING_SINCE, "expected_minutes * interval '75 seconds'", "")
VERDICT_BEFORE = _verdict(
    "undecided.since",
    "running.since",
    "1.25 * expected_minutes * interval '1 minute'",
    """
    LEFT JOIN LATERAL
        reporting.running_since(CASE WHEN decisive.run_id IS NULL THEN pipeline END, at) undecided ON true
    LEFT JOIN LATERAL reporting.running_since(pipeline, at) running ON true
    """,
)


def _health(since: str, failures: str, success_at: str, success_run: str, joined: str) -> str:
    return f"""
        SELECT p.pipeline_id, p.pipeline_name, p.client_id, p.client_name, p.platform, p.pipeline_type, p.environment,
            p.expected_every_minutes, p.is_active, p.client_is_active, p.in_service,
            h.health, CASE h.health WHEN 'failing' THEN {since} WHEN 'late' THEN h.late_at END,
            {failures}, CASE h.health WHEN 'failing' THEN {success_at} ELSE h.last_finished_at END,
            {success_run}, h.last_finished_at, h.late_at, h.running_since
        FROM reporting.pipelines p
        CROSS JOIN LATERAL reporting.pipeline_verdict(p.pipeline_id, p.created_at, p.expected_every_minutes, at) h
        {joined}
    """


HEALTH = _health(
    "(SELECT s.since FROM reporting.failing_streak(p.pipeline_id, at) s)",
    "CASE h.health WHEN 'failing' THEN (SELECT s.failures FROM reporting.failing_streak(p.pipeline_id, at) s) ELSE 0 END",
    "(SELECT s.event_at FROM reporting.last_success(p.pipeline_id, at) s)",
    "(SELECT s.run_id FROM reporting.last_success(p.pipeline_id, at) s)",
    "",
)
HEALTH_BEFORE = _health(
    "streak.since",
    "streak.failures",
    "before.event_at",
    "success.run_id",
    """
        LEFT JOIN LATERAL reporting.last_success(p.pipeline_id, at) success ON true
        LEFT JOIN LATERAL
            reporting.last_success(CASE h.health WHEN 'failing' THEN p.pipeline_id END, at) before ON true
        LEFT JOIN LATERAL
            reporting.failing_streak(CASE h.health WHEN 'failing' THEN p.pipeline_id END, at) streak ON true
    """,
)

_BEFORE_SINCE = """
        SELECT r.is_failed
        FROM reporting.runs r
        WHERE r.pipeline_id = h.pipeline_id AND (r.is_success OR r.is_failed)
            AND r.event_at < health_changes.since
        ORDER BY r.event_at DESC, r.run_id DESC
        LIMIT 1
"""


def _changes(failed_before: str, joined: str) -> str:
    return f"""
        SELECT h.pipeline_id, h.pipeline_name, h.client_id, h.client_name, h.platform, h.health, kind.change,
            CASE kind.change
                WHEN 'recovered' THEN (
                    SELECT min(s.event_at)
                    FROM reporting.runs s
                    WHERE s.pipeline_id = h.pipeline_id AND s.is_success AND (s.event_at, s.run_id) > (
                        SELECT failure.event_at, failure.run_id FROM reporting.last_failure(h.pipeline_id, at) failure
                    )
                )
                ELSE h.since
            END
        FROM reporting.pipeline_health_at(at) h
        {joined}
        CROSS JOIN LATERAL (
            SELECT CASE
                WHEN h.health = 'failing' AND {failed_before} IS NOT TRUE THEN 'newly_failing'
                WHEN h.health = 'late' AND h.late_at >= health_changes.since THEN 'gone_silent'
                WHEN h.health = 'healthy' AND {failed_before} THEN 'recovered'
            END AS change
        ) kind
        WHERE h.in_service AND kind.change IS NOT NULL
    """


CHANGES = _changes(f"({_BEFORE_SINCE})", "")
CHANGES_BEFORE = _changes("before.is_failed", f"LEFT JOIN LATERAL ({_BEFORE_SINCE}) before ON true")

_PIPELINE = "pipeline_id uuid, pipeline_name text, client_id uuid, client_name text, platform text"
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
        f"{_PIPELINE}, pipeline_type text, environment text, expected_every_minutes integer, is_active boolean, "
        "client_is_active boolean, in_service boolean, health text, since timestamptz, failures_in_row bigint, "
        "last_success_at timestamptz, last_success_run_id uuid, last_finished_at timestamptz, late_at timestamptz, "
        "running_since timestamptz",
        HEALTH,
        HEALTH_BEFORE,
    ),
    "health_changes": (
        "since timestamptz, at timestamptz",
        f"{_PIPELINE}, health text, change text, changed_at timestamptz",
        CHANGES,
        CHANGES_BEFORE,
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
    for name, (parameters, columns, _, before) in reversed(FUNCTIONS.items()):
        _write(name, parameters, columns, before)
