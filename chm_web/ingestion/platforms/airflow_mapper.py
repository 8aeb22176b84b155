"""What Airflow says of DAG runs, by its REST API of version 1 (Airflow 2) or 2 (Airflow 3), as run records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from chm_web.ingestion.mapper import (
    Unmappable,
    clamp_finish,
    map_status,
    parse_id,
    parse_number,
    parse_text,
    parse_time,
)
from chm_web.models import RunStatus
from chm_web.services.run_records import RunRecord

# The states of a DAG run. One whose tasks were all skipped says success.
STATES: Mapping[str, RunStatus] = {
    "queued": RunStatus.RUNNING,
    "running": RunStatus.RUNNING,
    "success": RunStatus.SUCCESS,
    "failed": RunStatus.FAILED,
}

# What helps to find the run again and to judge it. Not when the scheduler last looked at it: that changes without end.
_KEPT = (
    "dag_id",
    "run_type",
    "run_after",
    "logical_date",
    "data_interval_start",
    "data_interval_end",
    "conf",
    "note",
    "triggered_by",
    "triggering_user_name",
    "external_trigger",
    "bundle_version",
    "partition_key",
)


def map_run(pipeline_id: UUID, raw: Any) -> RunRecord:
    """Map one DAG run.

    A cleared run keeps its id and begins anew: its new start, or until then its new time in the queue, is later than
    all that is known of the attempt before, which it thereby replaces. Airflow 2 does not tell the time in the queue.

    Raises:
        Unmappable: the run cannot be understood.
    """
    if not isinstance(raw, dict):
        raise Unmappable("run", "must be an object")
    started = parse_time(raw.get("start_date"), "start_date")
    ended = parse_time(raw.get("end_date"), "end_date")
    status, word = map_status(raw.get("state"), is_finished=ended is not None, table=STATES)
    # A run that was cleared may still show the end of the attempt before.
    finished, skew = (None, None) if status is RunStatus.RUNNING else clamp_finish(started, ended)
    return RunRecord(
        pipeline_id=pipeline_id,
        external_run_id=parse_id(raw.get("dag_run_id"), "dag_run_id"),
        status=status,
        started_at=started,
        finished_at=finished,
        duration_seconds=parse_number(raw.get("duration"), "duration"),
        error_message=parse_text(raw.get("note")) if status is RunStatus.FAILED else None,
        status_reason=word or skew,
        payload={name: raw[name] for name in _KEPT if raw.get(name) not in (None, "", {})} or None,
        attempt_at=started or parse_time(raw.get("queued_at"), "queued_at"),
    )


def run_id_of(raw: Any) -> str | None:
    """The id by which to name a run that could not be mapped."""
    value = raw.get("dag_run_id") if isinstance(raw, dict) else None
    return str(value)[:200] if isinstance(value, str | int) else None


def external_id_of(raw: Any) -> str | None:
    """The id of the run's pipeline: its DAG's."""
    value = raw.get("dag_id") if isinstance(raw, dict) else None
    return value if isinstance(value, str) and value else None


def first_failure(task_instances: Any) -> dict[str, Any] | None:
    """Give the task instance that failed first; one that failed because another did (upstream_failed) is none."""
    rows = task_instances.get("task_instances") if isinstance(task_instances, dict) else None
    failed = [
        row
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict) and row.get("state") == "failed" and isinstance(row.get("task_id"), str)
    ]
    return min(failed, key=lambda row: str(row.get("end_date") or "~"), default=None)


def logged_error(log: Any) -> str | None:
    """Give the last exception that a task's structured log tells, else the last thing it calls an error."""
    lines = log.get("content") if isinstance(log, dict) else None
    errors = [line for line in (lines if isinstance(lines, list) else []) if _is_error(line)]
    for line in reversed(errors):
        details = line.get("error_detail")
        for detail in details if isinstance(details, list) else []:
            if isinstance(detail, dict) and detail.get("exc_type"):
                said = ": ".join(str(detail[key]) for key in ("exc_type", "exc_value") if detail.get(key))
                return said or None
    return parse_text(errors[-1].get("event")) if errors else None


def _is_error(line: Any) -> bool:
    return isinstance(line, dict) and line.get("level") in ("error", "critical")
