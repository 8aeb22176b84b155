"""One definition of health, for pages, API and dashboards, of the present and of any past moment.

The parts of `pipeline_health_at` become functions that CHM's own queries call, too. Health at a past moment is judged
by what had happened by then, no longer by all runs there are. Nothing that was granted is lost, but
`chm db grant-reader` must be run again for the new functions.

Revision: 0004
Revises: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"

# A source's clock may be ahead by minutes or by a time zone, and what it reports must count at once: in the present all
# runs do. Only a moment that is past for certain, whatever the clocks of those who ask, is judged by its own runs.
KNOWN_UNTIL = """
    SELECT CASE WHEN at >= now() - interval '5 minutes' THEN timestamptz 'infinity' ELSE at END
"""

# What ran at a past moment and has ended since is looked for among what began in the week before, in one short range of
# an index that holds all it asks for; by its end a run could lie anywhere between then and now. The first condition is
# looked at before any run: in the present nothing is read. The last one is no condition on a column of the index,
# or PostgreSQL 18 would reckon with a skip scan over it and, in a prepared plan, read the pipeline's whole history.
VERDICT = """
    SELECT
        CASE
            WHEN decisive.is_failed THEN 'failing'
            WHEN late.late_at < at THEN 'late'
            WHEN decisive.run_id IS NULL AND running.since IS NOT NULL THEN 'running'
            WHEN decisive.is_success THEN 'healthy'
            ELSE 'no_data'
        END,
        late.late_at, decisive.event_at, running.since
    FROM (
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
    ) running
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


def _last(condition: str) -> str:
    # An aggregate of one row, where LIMIT 1 would say the same: the planner leaves it out when it is not asked for.
    return f"""
        SELECT max(newest.event_at), (array_agg(newest.run_id))[1]
        FROM (
            SELECT r.event_at, r.run_id
            FROM reporting.runs r
            WHERE r.pipeline_id = pipeline AND {condition} AND r.event_at <= reporting.known_until(at)
            ORDER BY r.event_at DESC, r.run_id DESC
            LIMIT 1
        ) newest
    """


# One range of the index; an OR for pipelines that never succeeded would read all their history.
STREAK = """
    SELECT count(r.run_id), min(r.event_at)
    FROM reporting.last_success(pipeline, at) success
    JOIN reporting.runs r ON r.pipeline_id = pipeline AND r.is_failed AND r.event_at <= reporting.known_until(at)
        AND (r.event_at, r.run_id) > (
            coalesce(success.event_at, '-infinity'),
            coalesce(success.run_id, '00000000-0000-0000-0000-000000000000')
        )
"""

HEALTH = """
    SELECT p.pipeline_id, p.pipeline_name, p.client_id, p.client_name, p.platform, p.pipeline_type, p.environment,
        p.expected_every_minutes, p.is_active, p.client_is_active, p.in_service,
        h.health, CASE h.health WHEN 'failing' THEN streak.since WHEN 'late' THEN h.late_at END,
        streak.failures, success.event_at, success.run_id, h.last_finished_at, h.late_at, h.running_since
    FROM reporting.pipelines p
    CROSS JOIN LATERAL reporting.pipeline_verdict(p.pipeline_id, p.created_at, p.expected_every_minutes, at) h
    LEFT JOIN LATERAL reporting.last_success(p.pipeline_id, at) success ON true
    LEFT JOIN LATERAL reporting.failing_streak(CASE h.health WHEN 'failing' THEN p.pipeline_id END, at) streak ON true
"""

CHANGES = """
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

HEALTH_BEFORE = """
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

CHANGES_BEFORE = """
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

_RUN = "TABLE (event_at timestamptz, run_id uuid)"

# Name: (parameters, what it gives, body), each after those that it calls.
NEW = {
    "known_until": ("at timestamptz", "timestamptz", KNOWN_UNTIL),
    "pipeline_verdict": (
        "pipeline uuid, created timestamptz, expected_minutes integer, at timestamptz",
        "TABLE (health text, late_at timestamptz, last_finished_at timestamptz, running_since timestamptz)",
        VERDICT,
    ),
    "last_success": ("pipeline uuid, at timestamptz", _RUN, _last("r.is_success")),
    "last_failure": ("pipeline uuid, at timestamptz", _RUN, _last("r.is_failed")),
    "failing_streak": (
        "pipeline uuid, at timestamptz", "TABLE (failures bigint, since timestamptz)", STREAK
    ),
}
_PIPELINE = "pipeline_id uuid, pipeline_name text, client_id uuid, client_name text, platform text"
_HEALTH_AT = (
    "at timestamptz",
    f"TABLE ({_PIPELINE}, pipeline_type text, environment text, expected_every_minutes integer, is_active boolean, "
    "client_is_active boolean, in_service boolean, health text, since timestamptz, failures_in_row bigint, "
    "last_success_at timestamptz, last_success_run_id uuid, last_finished_at timestamptz, late_at timestamptz, "
    "running_since timestamptz)",
)
_HEALTH_CHANGES = (
    "since timestamptz, at timestamptz",
    f"TABLE ({_PIPELINE}, health text, change text, changed_at timestamptz)",
)
REPLACED = {"pipeline_health_at": (*_HEALTH_AT, HEALTH), "health_changes": (*_HEALTH_CHANGES, CHANGES)}
BEFORE = {
    "pipeline_health_at": (*_HEALTH_AT, HEALTH_BEFORE),
    "health_changes": (*_HEALTH_CHANGES, CHANGES_BEFORE),
}


def write(functions: dict[str, tuple[str, str, str]]) -> None:
    for name, (parameters, gives, body) in functions.items():
        op.execute(
            f"CREATE OR REPLACE FUNCTION reporting.{name}({parameters}) RETURNS {gives} "
            f"LANGUAGE sql STABLE PARALLEL SAFE BEGIN ATOMIC {body}; END"
        )


def upgrade() -> None:
    write(NEW)
    write(REPLACED)


def downgrade() -> None:
    write(BEFORE)
    for name in reversed(NEW):
        op.execute(f"DROP FUNCTION reporting.{name}")
