"""A pipeline that has failed once and not recovered, or recovered and not failed again, is not flaky.

`flaky_pipelines` leaves out what changed between success and failure only once: that is a breakdown, or the end of one.

Revision: 0006
Revises: 0005
"""

from alembic import op

revision = "0006"
down_revision = "0005"

# Without a failure nothing changes, so only the pipelines that have one are read, each from one range of its index.
FLAKY = """
    SELECT p.pipeline_id, p.pipeline_name, p.client_id, p.client_name, p.platform,
        history.runs, history.failed, history.changes,
        CAST(history.changes AS double precision) / (history.runs - 1)
    FROM (
        SELECT DISTINCT r.pipeline_id
        FROM reporting.runs r
        WHERE r.is_failed AND r.event_at >= since AND r.event_at < until
    ) suspect
    JOIN reporting.pipelines p ON p.pipeline_id = suspect.pipeline_id
    CROSS JOIN LATERAL (
        SELECT count(*) AS runs, count(*) FILTER (WHERE step.is_failed) AS failed,
            count(*) FILTER (WHERE step.is_failed <> step.before) AS changes
        FROM (
            SELECT r.is_failed, lag(r.is_failed) OVER (ORDER BY r.event_at, r.run_id) AS before
            FROM reporting.runs r
            WHERE r.pipeline_id = suspect.pipeline_id AND (r.is_success OR r.is_failed)
                AND r.event_at >= since AND r.event_at < until
        ) step
    ) history
    WHERE history.runs >= 5 AND history.changes > {more_than}
"""


def write(more_than: int) -> None:
    op.execute(
        "CREATE OR REPLACE FUNCTION reporting.flaky_pipelines(since timestamptz, until timestamptz) RETURNS TABLE "
        "(pipeline_id uuid, pipeline_name text, client_id uuid, client_name text, platform text, runs bigint, "
        "failed bigint, changes bigint, flakiness double precision) "
        f"LANGUAGE sql STABLE PARALLEL SAFE BEGIN ATOMIC {FLAKY.format(more_than=more_than)}; END"
    )


def upgrade() -> None:
    write(1)


def downgrade() -> None:
    write(0)
