"""Runs: the history of what ran. ``record_runs`` is the one way a run is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import select, text
from sqlalchemy.orm import joinedload

from chm_web.extensions import db
from chm_web.models import Pipeline, Platform, Run, RunStatus
from chm_web.queries import run_upsert
from chm_web.queries import runs as queries
from chm_web.services.audit import all_of, log_change, log_report
from chm_web.services.clients import get_client
from chm_web.services.exceptions import Conflict, FieldIssue, Invalid, NotFound
from chm_web.services.pipelines import get_pipeline
from chm_web.services.run_lists import NamedRun, RunFilter, check_window, list_pipeline_runs, list_runs
from chm_web.services.run_records import RecordResult, Rejection, RunRecord
from chm_web.services.run_values import BadValue, clean_external_id
from chm_web.services.run_writer import write_records

__all__ = [
    "LatestOfPipeline",
    "RecordResult",
    "Rejection",
    "RunFilter",
    "RunRecord",
    "RunSummary",
    "count_client_runs_by_status",
    "create_run",
    "error_of",
    "get_latest_run",
    "get_named_run",
    "get_pipeline_run",
    "get_run",
    "list_pipeline_runs",
    "list_runs",
    "manual_run_id",
    "record_runs",
    "report_run",
    "summarize_client_runs",
    "summarize_error",
]

SUMMARY_WINDOW = timedelta(days=30)

# By their words: to call an enumeration takes ten times as long, and a summary asks for a thousand.
_PLATFORMS = {platform.value: platform for platform in Platform}
_STATUSES = {status.value: status for status in RunStatus}


class LatestOfPipeline(NamedTuple):
    """The latest run of a pipeline: its state and event time, None where it has no run."""

    pipeline_id: UUID
    pipeline_name: str
    platform: Platform
    latest_status: RunStatus | None
    latest_run_at: datetime | None


@dataclass(frozen=True)
class RunSummary:
    """A client's runs in a window of event time, and the latest run of each of its pipelines, by their names."""

    client_id: UUID
    since: datetime
    until: datetime
    status_counts: Mapping[RunStatus, int]
    latest_by_pipeline: list[LatestOfPipeline]


def summarize_error(message: str | None) -> str | None:
    """Give the one line of an error text that says most: the last of a Python traceback, else the first."""
    lines = [line.strip() for line in (message or "").splitlines() if line.strip()]
    if not lines:
        return None
    return lines[-1] if lines[0].startswith("Traceback (most recent call last)") else lines[0]


def error_of(run: Run | NamedRun) -> str | None:
    """Give what went wrong with a run that failed or was canceled: its message, else the reason of its state."""
    if run.status not in (RunStatus.FAILED, RunStatus.CANCELED):
        return None
    return run.error_message or run.status_reason


def record_runs(*, records: Iterable[RunRecord], updated_by: str | None = None) -> RecordResult:
    """Write a batch of runs by the write rule of ``chm_web.queries.run_upsert``; idempotent, in any order.

    Args:
        records: what sources say of runs, of any pipelines; the same run may stand in it several times.
        updated_by: who reports them; None for the platforms' feeds.

    Returns:
        How many runs were created, updated and unchanged, and the records that were rejected with their reasons.
        A bad record never costs its batch.

    Raises:
        Unavailable: the database does not answer; nothing of the batch is written.
        NotWritable: the database answers, but cannot write.
    """
    result = write_records(records, run_upsert.UPSERT, updated_by)
    _log_report(result, updated_by)
    return result


def manual_run_id() -> str:
    """Make an external id for a run that is recorded by hand and has none."""
    return f"manual-{uuid4()}"


def create_run(*, record: RunRecord, updated_by: str | None = None) -> Run:
    """Write one run that must not exist yet.

    Raises:
        NotFound: there is no such pipeline.
        Invalid: a value cannot be stored.
        Conflict: the pipeline has a run with this external id already.
    """
    if not _write_one(record, run_upsert.INSERT_NEW, updated_by):
        issue = "This pipeline has a run with this external id already."
        raise Conflict(issue, (FieldIssue("external_run_id", issue),))
    run = _get_by_external_id(record.pipeline_id, record.external_run_id)
    log_change("create", run, all_of(run), updated_by)
    return run


def report_run(*, record: RunRecord, updated_by: str | None = None) -> tuple[Run, bool]:
    """Write one run by the write rule; idempotent.

    Returns:
        The run as it stands now, and whether it is new.

    Raises:
        NotFound: there is no such pipeline.
        Invalid: a value cannot be stored.
    """
    created = _write_one(record, run_upsert.UPSERT, updated_by)
    return _get_by_external_id(record.pipeline_id, record.external_run_id), created


def get_run(*, run_id: UUID) -> Run:
    """Give one run.

    Raises:
        NotFound: there is no such run.
    """
    run = db.session.get(Run, run_id)
    if run is None:
        raise _no_such_run(run_id)
    return run


def get_named_run(*, run_id: UUID) -> Run:
    """Give one run with its pipeline and client at hand.

    Raises:
        NotFound: there is no such run.
    """
    named = joinedload(Run.pipeline).joinedload(Pipeline.client)
    run = db.session.get(Run, run_id, options=[named], populate_existing=True)
    if run is None:
        raise _no_such_run(run_id)
    return run


def get_pipeline_run(*, pipeline_id: UUID, external_run_id: str) -> Run:
    """Give one run by its id on the platform.

    Raises:
        NotFound: there is no such pipeline, or it has no such run.
    """
    get_pipeline(pipeline_id=pipeline_id)
    return _get_by_external_id(pipeline_id, external_run_id)


def get_latest_run(*, pipeline_id: UUID) -> Run:
    """Give the latest run of a pipeline: the one that started last.

    Raises:
        NotFound: there is no such pipeline, or it has no run.
    """
    get_pipeline(pipeline_id=pipeline_id)
    query = select(Run).where(Run.pipeline_id == pipeline_id).order_by(text(queries.LATEST_ORDER)).limit(1)
    run = db.session.scalar(query)
    if run is None:
        raise NotFound("This pipeline has no run yet.")
    return run


def summarize_client_runs(
    *, client_id: UUID, now: datetime, since: datetime | None = None, until: datetime | None = None
) -> RunSummary:
    """Sum up a client's runs, those of disabled pipelines included.

    Args:
        client_id: whose runs.
        now: the moment at which the window ends unless ``until`` says otherwise.
        since: the start of the window, inclusive; by default 30 days before its end.
        until: its end, exclusive.

    Raises:
        NotFound: there is no such client.
        Invalid: since is not before until.
    """
    until = until or now
    since = since or until - SUMMARY_WINDOW
    check_window(since, until)
    counts = count_client_runs_by_status(client_id=client_id, since=since, until=until)
    rows = db.session.execute(queries.LATEST_BY_PIPELINE, {"client_id": client_id}).all()
    latest = [
        LatestOfPipeline(pipeline_id, name, _PLATFORMS[platform], status and _STATUSES[status], latest_run_at)
        for pipeline_id, name, platform, status, latest_run_at in rows
    ]
    return RunSummary(client_id, since, until, counts, latest)


def count_client_runs_by_status(*, client_id: UUID, since: datetime, until: datetime) -> dict[RunStatus, int]:
    """Count a client's runs in a window of event time (since inclusive, until exclusive), all five states named.

    Raises:
        NotFound: there is no such client.
    """
    get_client(client_id=client_id)
    rows = db.session.execute(
        queries.STATUS_COUNTS, {"client_id": client_id, "since": since, "until": until}
    ).mappings()
    return dict.fromkeys(RunStatus, 0) | {RunStatus(row["status"]): row["runs"] for row in rows}


def _write_one(record: RunRecord, statement: str, updated_by: str | None) -> bool:
    """Write one run, and tell whether it is new."""
    get_pipeline(pipeline_id=record.pipeline_id)
    result = write_records([record], statement, updated_by)
    if result.rejected:
        rejection = result.rejected[0]
        raise Invalid(rejection.reason, (FieldIssue(rejection.field, rejection.issue),))
    if statement is run_upsert.UPSERT:
        _log_report(result, updated_by)
    return bool(result.created)


def _log_report(result: RecordResult, updated_by: str | None) -> None:
    # What the platforms' feeds say is no change by anybody; their jobs tell how much they took in.
    if updated_by is not None and (result.created or result.updated):
        log_report("report runs", {"created": result.created, "updated": result.updated}, updated_by)


def _no_such_run(run_id: UUID) -> NotFound:
    return NotFound(f"There is no run {run_id}.")


def _get_by_external_id(pipeline_id: UUID, external_run_id: str) -> Run:
    no_such_run = NotFound("This pipeline has no run with this external id.")
    try:
        cleaned = clean_external_id(external_run_id)
    except BadValue as err:
        raise no_such_run from err
    query = select(Run).where(Run.pipeline_id == pipeline_id, Run.external_run_id == cleaned)
    run = db.session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if run is None:
        raise no_such_run
    return run
