"""The fleet in one look: what all pipelines are and what has changed, by the newest runs of all.

Whoever asks for one pipeline's health enters the index of its runs. For all of them that was ten thousand times, and as
often again for what they were before. The newest runs of the whole fleet tell nearly as much and lie side by side:
three for every two pipelines decide of most, and only the others are entered. How many are read depends on the
pipelines alone. Where few run so often that the newest are all theirs, the others are entered as before.

What decides is still stated once: how a deciding run makes a pipeline's health, and which healths make a change, are
functions that those of one pipeline and those of the fleet share. The functions that there were take and give what they
did, and keep what was granted, but call new ones: where functions are not everybody's to call, which they are by
PostgreSQL's default, `chm db grant-reader` must be run before dashboards work again.

Revision: 0011
Revises: 0010
"""

from alembic import op

revision = "0011"
down_revision = "0010"

_DECIDES = "(r.is_success OR r.is_failed)"
_KNOWN = "r.event_at <= reporting.known_until(at)"
_NEWEST_FIRST = "ORDER BY r.event_at DESC, r.run_id DESC"
_RUNNING_SINCE = "(SELECT r.since FROM reporting.running_since({of}, at) r)"

DECIDING_RUN = f"""
    SELECT r.run_id, r.is_failed, r.event_at
    FROM reporting.runs r
    WHERE r.pipeline_id = pipeline AND {_DECIDES} AND {_KNOWN}
    {_NEWEST_FIRST}
    LIMIT 1
"""

# A query within CASE is made where it is asked for alone. Seconds, not numerics: 75 are a quarter more than a minute.
HEALTH_BY_RUN = f"""
    SELECT
        CASE
            WHEN failed THEN 'failing'
            WHEN late.late_at < at THEN 'late'
            WHEN decided_at IS NULL AND {_RUNNING_SINCE.format(of="pipeline")} IS NOT NULL THEN 'running'
            WHEN decided_at IS NOT NULL THEN 'healthy'
            ELSE 'no_data'
        END,
        late.late_at
    FROM (VALUES (1)) AS one
    CROSS JOIN LATERAL (
        SELECT CASE WHEN expected_minutes IS NOT NULL THEN
            coalesce(CASE WHEN NOT failed THEN decided_at END, created) + expected_minutes * interval '75 seconds'
        END AS late_at
    ) late
"""

HEALTH_CHANGE = """
    SELECT CASE
        WHEN health = 'failing' AND had_failed IS NOT TRUE THEN 'newly_failing'
        WHEN health = 'late' AND late_at >= since THEN 'gone_silent'
        WHEN health = 'healthy' AND had_failed THEN 'recovered'
    END
"""

VERDICT = f"""
    SELECT h.health, h.late_at, decisive.event_at, {_RUNNING_SINCE.format(of="pipeline")}
    FROM (VALUES (1)) AS one
    LEFT JOIN LATERAL reporting.deciding_run(pipeline, at) decisive ON true
    CROSS JOIN LATERAL
        reporting.health_by_run(pipeline, decisive.is_failed, decisive.event_at, created, expected_minutes, at) h
"""
VERDICT_BEFORE = f"""
    SELECT
        CASE
            WHEN decisive.is_failed THEN 'failing'
            WHEN late.late_at < at THEN 'late'
            WHEN decisive.run_id IS NULL AND {_RUNNING_SINCE.format(of="pipeline")} IS NOT NULL THEN 'running'
            WHEN decisive.is_success THEN 'healthy'
            ELSE 'no_data'
        END,
        late.late_at, decisive.event_at, {_RUNNING_SINCE.format(of="pipeline")}
    FROM (VALUES (1)) AS one
    LEFT JOIN LATERAL (
        SELECT r.run_id, r.is_success, r.is_failed, r.event_at
        FROM reporting.runs r
        WHERE r.pipeline_id = pipeline AND {_DECIDES} AND {_KNOWN}
        {_NEWEST_FIRST}
        LIMIT 1
    ) decisive ON true
    CROSS JOIN LATERAL (
        SELECT CASE WHEN expected_minutes IS NOT NULL THEN
            coalesce(CASE WHEN decisive.is_success THEN decisive.event_at END, created)
                + expected_minutes * interval '75 seconds'
        END AS late_at
    ) late
"""


def _had_failed(function: str, pipeline: str) -> str:
    return f"""
        SELECT r.is_failed
        FROM reporting.runs r
        WHERE r.pipeline_id = {pipeline} AND {_DECIDES} AND r.event_at < {function}.since
        {_NEWEST_FIRST}
        LIMIT 1
    """


def _changes(kind: str) -> str:
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
        {kind}
        WHERE h.in_service AND kind.change IS NOT NULL
    """


_BEFORE = _had_failed("health_changes", "h.pipeline_id")
CHANGES = _changes(f"""
    CROSS JOIN LATERAL (SELECT ({_BEFORE}) AS had_failed) before
    CROSS JOIN LATERAL
        reporting.health_change(h.health, h.late_at, before.had_failed, health_changes.since) kind
""")
CHANGES_BEFORE = _changes(f"""
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN h.health = 'failing' AND ({_BEFORE}) IS NOT TRUE THEN 'newly_failing'
            WHEN h.health = 'late' AND h.late_at >= health_changes.since THEN 'gone_silent'
            WHEN h.health = 'healthy' AND ({_BEFORE}) THEN 'recovered'
        END AS change
    ) kind
""")


def _newest(condition: str) -> str:
    return f"""
        SELECT newest.pipeline_id,
            max(newest.event_at) FILTER (WHERE newest.is_success) AS succeeded_at,
            max(newest.event_at) FILTER (WHERE newest.is_failed) AS failed_at
        FROM (
            SELECT r.pipeline_id, r.is_success, r.is_failed, r.event_at
            FROM reporting.runs r
            WHERE {_DECIDES} AND {condition}
            {_NEWEST_FIRST}
            LIMIT (SELECT 3 * count(*) / 2 FROM reporting.pipelines)
        ) newest
        GROUP BY newest.pipeline_id
    """


# Where a failure and a success share the moment their ids decide, which are not at hand.
_TELL = "{of}.succeeded_at IS DISTINCT FROM {of}.failed_at"


def _failed_by_newest(of: str, else_by: str) -> str:
    failed = f"coalesce({of}.failed_at > {of}.succeeded_at, {of}.succeeded_at IS NULL)"
    return f"CASE WHEN {_TELL.format(of=of)} THEN {failed} ELSE {else_by} END"


_HAD_FAILED = _failed_by_newest("judged", f"({_had_failed('fleet_health', 'judged.pipeline_id')})")

# Each OFFSET 0 keeps what is below it from being worked out again wherever it is named above, and in `entered` its
# condition from being asked after the descent. What is out of service has no change, as in `health_changes`.
FLEET_HEALTH = f"""
    SELECT found.pipeline_id, found.client_id, found.in_service, found.health,
        CASE found.health
            WHEN 'failing' THEN (SELECT s.since FROM reporting.failing_streak(found.pipeline_id, at) s)
            WHEN 'late' THEN found.late_at
        END,
        found.late_at,
        CASE WHEN reporting.known_until(at) < 'infinity'
            OR found.pipeline_id IN (SELECT r.pipeline_id FROM reporting.runs r WHERE r.is_running)
            THEN {_RUNNING_SINCE.format(of="found.pipeline_id")}
        END,
        found.change
    FROM (
        SELECT judged.*, kind.change
        FROM (
            SELECT decided.*, h.health, h.late_at
            FROM (
                SELECT p.pipeline_id, p.client_id, p.in_service, p.created_at, p.expected_every_minutes,
                    {_failed_by_newest("newest", "entered.is_failed")} AS failed,
                    coalesce(entered.event_at, greatest(newest.succeeded_at, newest.failed_at)) AS decided_at,
                    before.succeeded_at, before.failed_at
                FROM reporting.pipelines p
                LEFT JOIN ({_newest(_KNOWN)}) newest ON newest.pipeline_id = p.pipeline_id
                LEFT JOIN ({_newest("r.event_at < fleet_health.since")}) before ON before.pipeline_id = p.pipeline_id
                LEFT JOIN LATERAL (
                    SELECT d.is_failed, d.event_at
                    FROM reporting.deciding_run(p.pipeline_id, at) d
                    WHERE NOT ({_TELL.format(of="newest")})
                    OFFSET 0
                ) entered ON true
                OFFSET 0
            ) decided
            CROSS JOIN LATERAL reporting.health_by_run(
                decided.pipeline_id, decided.failed, decided.decided_at,
                decided.created_at, decided.expected_every_minutes, at
            ) h
            OFFSET 0
        ) judged
        CROSS JOIN LATERAL (SELECT {_HAD_FAILED} AS had_failed) before
        CROSS JOIN LATERAL reporting.health_change(
            CASE WHEN judged.in_service THEN judged.health END, judged.late_at, before.had_failed, fleet_health.since
        ) kind
        OFFSET 0
    ) found
"""

_PIPELINE = "pipeline_id uuid, pipeline_name text, client_id uuid, client_name text, platform text"
# Name: (parameters, columns, body), each after those that it calls.
NEW = {
    "deciding_run": (
        "pipeline uuid, at timestamptz",
        "run_id uuid, is_failed boolean, event_at timestamptz",
        DECIDING_RUN,
    ),
    "health_by_run": (
        "pipeline uuid, failed boolean, decided_at timestamptz, created timestamptz, expected_minutes integer, "
        "at timestamptz",
        "health text, late_at timestamptz",
        HEALTH_BY_RUN,
    ),
    "health_change": (
        "health text, late_at timestamptz, had_failed boolean, since timestamptz",
        "change text",
        HEALTH_CHANGE,
    ),
    "fleet_health": (
        "since timestamptz, at timestamptz",
        "pipeline_id uuid, client_id uuid, in_service boolean, health text, since timestamptz, "
        "late_at timestamptz, running_since timestamptz, change text",
        FLEET_HEALTH,
    ),
}
# Name: (parameters, columns, body, body before).
CHANGED = {
    "pipeline_verdict": (
        "pipeline uuid, created timestamptz, expected_minutes integer, at timestamptz",
        "health text, late_at timestamptz, last_finished_at timestamptz, running_since timestamptz",
        VERDICT,
        VERDICT_BEFORE,
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
    for name, (parameters, columns, body) in NEW.items():
        _write(name, parameters, columns, body)
    for name, (parameters, columns, body, _) in CHANGED.items():
        _write(name, parameters, columns, body)


def downgrade() -> None:
    for name, (parameters, columns, _, before) in CHANGED.items():
        _write(name, parameters, columns, before)
    for name in reversed(NEW):
        op.execute(f"DROP FUNCTION reporting.{name}")
