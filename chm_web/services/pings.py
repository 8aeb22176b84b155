"""Runs that a cron job reports by pings: one when it begins, one when it ends, or the latter alone.

A ping says no more than that something has happened just now, so times are ours here. Pings that name their run
(``run_id``) are idempotent and may overlap. Without a name, an end belongs to the run that was last begun; one that
begins anew while another is under way tells that the other will not end any more.
"""

from __future__ import annotations

import enum
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from uuid_utils.compat import uuid7

from chm_web.extensions import db
from chm_web.models import Run, RunStatus
from chm_web.services.pipelines import get_pipeline
from chm_web.services.run_records import RunRecord
from chm_web.services.run_values import MAX_TEXT_LENGTH
from chm_web.services.runs import report_run

# The names of runs that pings have not named.
_UNNAMED = "ping-"
# Of what a run that went well has printed.
_MAX_LOG = 10_000
SUPERSEDED = "Another run began before this one reported an end."
REPORTED_BY = "ping"


class Ping(enum.StrEnum):
    """What a ping says."""

    START = "start"
    SUCCESS = "success"
    FAIL = "fail"


def record_ping(
    *,
    pipeline_id: UUID,
    ping: Ping,
    now: datetime,
    run_id: str | None = None,
    log: str | None = None,
    reason: str | None = None,
) -> Run:
    """Record the run of which a ping tells.

    Args:
        pipeline_id: whose run.
        ping: what has happened.
        now: when.
        run_id: which run, in the words of whoever pings; None: the one that was last begun, or a new one.
        log: what the job has printed; the error message of a failed run, else kept as its payload.
        reason: why the run is in this state, such as ``exit status 3``.

    Raises:
        NotFound: there is no such pipeline.
        Invalid: ``run_id`` cannot be stored.
    """
    get_pipeline(pipeline_id=pipeline_id)
    unnamed = _unnamed_running(pipeline_id) if run_id is None else []
    if ping is Ping.START:
        return _start(pipeline_id, unnamed, run_id, now, log)
    status = RunStatus.FAILED if ping is Ping.FAIL else RunStatus.SUCCESS
    record = RunRecord(
        pipeline_id=pipeline_id,
        external_run_id=run_id or (unnamed[0] if unnamed else _new_name()),
        status=status,
        finished_at=now,
        # Of a long text its beginning is kept, and of a log it is the end that tells.
        error_message=log[-MAX_TEXT_LENGTH:] if log and status is RunStatus.FAILED else None,
        status_reason=reason,
        payload=_payload(log) if status is RunStatus.SUCCESS else None,
    )
    return report_run(record=record, updated_by=REPORTED_BY)[0]


def _start(pipeline_id: UUID, unnamed: list[str], run_id: str | None, now: datetime, log: str | None) -> Run:
    for name in unnamed:
        given_up = RunRecord(
            pipeline_id=pipeline_id,
            external_run_id=name,
            status=RunStatus.CANCELED,
            finished_at=now,
            status_reason=SUPERSEDED,
        )
        report_run(record=given_up, updated_by=REPORTED_BY)
    begun = RunRecord(
        pipeline_id=pipeline_id,
        external_run_id=run_id or _new_name(),
        status=RunStatus.RUNNING,
        started_at=now,
        payload=_payload(log),
    )
    return report_run(record=begun, updated_by=REPORTED_BY)[0]


def _unnamed_running(pipeline_id: UUID) -> list[str]:
    """Give the names of the runs under way that pings have begun without a name, the last begun first."""
    query = (
        select(Run.external_run_id)
        .where(
            Run.pipeline_id == pipeline_id,
            Run.status == RunStatus.RUNNING,
            Run.external_run_id.startswith(_UNNAMED, autoescape=True),
        )
        .order_by(Run.started_at.desc(), Run.id.desc())
    )
    return list(db.session.scalars(query))


def _new_name() -> str:
    return f"{_UNNAMED}{uuid7()}"


def _payload(log: str | None) -> dict[str, str] | None:
    return {"log": log[-_MAX_LOG:]} if log else None
