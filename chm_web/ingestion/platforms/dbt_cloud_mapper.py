"""What dbt Cloud says of a job's runs, by its Admin API of version 2, as run records."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from chm_web.ingestion.mapper import Unmappable, clamp_finish, map_status, parse_id, parse_text, parse_time
from chm_web.models import RunStatus
from chm_web.services.run_records import RunRecord

# dbt Cloud's numbers for a run's status, and what it calls them.
WORDS: Mapping[int, str] = {1: "queued", 2: "starting", 3: "running", 10: "success", 20: "error", 30: "cancelled"}
STATUSES: Mapping[str, RunStatus] = {
    "queued": RunStatus.RUNNING,
    "starting": RunStatus.RUNNING,
    "running": RunStatus.RUNNING,
    "success": RunStatus.SUCCESS,
    "error": RunStatus.FAILED,
    "cancelled": RunStatus.CANCELED,
}
FAILED = 20

TIMEOUT = "timeout"
_TIMED_OUT = "timed out"

# What helps to find the run again and to judge it.
_KEPT = (
    "job_definition_id",
    "project_id",
    "environment_id",
    "git_branch",
    "git_sha",
    "dbt_version",
    "href",
)

_LOG_MAX_LENGTH = 4000
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def map_run(pipeline_id: UUID, raw: Any) -> RunRecord:
    """Map one run. One that was stopped for its length counts as canceled, as dbt Cloud has it, by ``timeout``.

    Raises:
        Unmappable: the run cannot be understood.
    """
    if not isinstance(raw, dict):
        raise Unmappable("run", "must be an object")
    started = parse_time(raw.get("started_at"), "started_at")
    ended = parse_time(raw.get("finished_at"), "finished_at")
    status, reason = map_status(_word_of(raw.get("status")), is_finished=ended is not None, table=STATUSES)
    finished, skew = (None, None) if status is RunStatus.RUNNING else clamp_finish(started, ended)
    said = parse_text(raw.get("status_message"))
    if status is RunStatus.CANCELED and said and _TIMED_OUT in said.lower():
        reason = TIMEOUT
    return RunRecord(
        pipeline_id=pipeline_id,
        external_run_id=parse_id(raw.get("id"), "id"),
        status=status,
        started_at=started,
        finished_at=finished,
        error_message=said if status in (RunStatus.FAILED, RunStatus.CANCELED) else None,
        status_reason=reason or skew,
        payload={name: raw[name] for name in _KEPT if raw.get(name) not in (None, "")} or None,
        attempt_at=started or parse_time(raw.get("created_at"), "created_at"),
        source_updated_at=parse_time(raw.get("updated_at"), "updated_at"),
    )


def run_id_of(raw: Any) -> str | None:
    """The id by which to name a run that could not be mapped."""
    return _id_text(raw, "id")


def external_id_of(raw: Any) -> str | None:
    """The id of the run's pipeline: its job's."""
    return _id_text(raw, "job_definition_id")


def failed_step(run: Any) -> str | None:
    """Tell the first step of a run that failed, and the end of its log; None when the run shows none."""
    steps = run.get("run_steps") if isinstance(run, dict) else None
    failed = [
        step
        for step in (steps if isinstance(steps, list) else [])
        if isinstance(step, dict) and step.get("status") == FAILED
    ]
    if not failed:
        return None
    first = min(failed, key=lambda step: index if isinstance(index := step.get("index"), int) else 0)
    name = parse_text(first.get("name")) or "A step"
    log = _end_of(parse_text(first.get("logs")) or "")
    return f"{name}: {log}" if log else f"{name} failed"


def _end_of(log: str) -> str:
    """Give the last lines of a log that find room, whole where they can be, without the colours of a terminal."""
    log = _COLOURS.sub("", log).strip()
    if len(log) <= _LOG_MAX_LENGTH:
        return log
    end = log[-_LOG_MAX_LENGTH:]
    return end.partition("\n")[2] or end


def _word_of(status: Any) -> str:
    if isinstance(status, bool) or not isinstance(status, int):
        raise Unmappable("status", "is missing" if status is None else "must be a number")
    return WORDS.get(status, str(status))


def _id_text(raw: Any, name: str) -> str | None:
    value = raw.get(name) if isinstance(raw, dict) else None
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value)[:200] or None
