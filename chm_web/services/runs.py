"""Runs: the history of what ran. ``record_runs`` is the one way a run is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, select, text, true, tuple_
from sqlalchemy.orm import aliased

from chm_web.extensions import db
from chm_web.models import Pipeline, Platform, Run, RunStatus
from chm_web.queries import run_upsert
from chm_web.queries import runs as queries
from chm_web.services.audit import all_of, log_change, log_report
from chm_web.services.clients import get_client
from chm_web.services.exceptions import Conflict, FieldIssue, Invalid, NotFound
from chm_web.services.paging import Page, decode_cursor, encode_cursor
from chm_web.services.pipelines import get_pipeline
from chm_web.services.run_records import RecordResult, Rejection, RunRecord
from chm_web.services.run_values import BadValue, clean_external_id
from chm_web.services.run_writer import write_records

__all__ = [
    "LatestOfPipeline",
    "RecordResult",
    "Rejection",
    "RunRecord",
    "RunSummary",
    "count_client_runs_by_status",
    "create_run",
    "get_latest_run",
    "get_pipeline_run",
    "get_run",
    "list_pipeline_runs",
    "list_runs",
    "record_runs",
    "report_run",
    "success_share",
    "summarize_client_runs",
    "summarize_error",
]

SUMMARY_WINDOW = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class LatestOfPipeline:
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
        raise NotFound(f"There is no run {run_id}.")
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


def list_pipeline_runs(
    *,
    pipeline_id: UUID,
    status: RunStatus | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 100,
    order: str = "desc",
    cursor: str | None = None,
) -> Page[Run]:
    """List a pipeline's runs in the latest-run order (``desc``) or the reverse (``asc``), a page at a time.

    Args:
        pipeline_id: whose runs.
        status: only runs in this state.
        since: only runs with an event time from here on.
        until: only runs with an event time before this.
        limit: runs a page.
        order: ``desc`` or ``asc``.
        cursor: the ``next_cursor`` of the page before.

    Raises:
        NotFound: there is no such pipeline.
        Invalid: the cursor is not one of this list's, or since is not before until.
    """
    get_pipeline(pipeline_id=pipeline_id)
    query = _select_runs(status, since, until).where(Run.pipeline_id == pipeline_id)
    return _latest_order_page(query, descending=order == "desc", limit=limit, cursor=cursor)


def list_runs(
    *,
    client_id: UUID | None = None,
    pipeline_id: UUID | None = None,
    status: RunStatus | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[Run]:
    """List the runs of all pipelines, the newest by event time first, a page at a time.

    Args:
        client_id: only runs of this client's pipelines.
        pipeline_id: only runs of this pipeline.
        status: only runs in this state.
        since: only runs with an event time from here on.
        until: only runs with an event time before this.
        limit: runs a page.
        cursor: the ``next_cursor`` of the page before.

    Raises:
        Invalid: the cursor is not one of this list's, or since is not before until.
    """
    query = _select_runs(status, since, until)
    if pipeline_id is not None:
        query = query.where(Run.pipeline_id == pipeline_id)
    if cursor is not None:
        after = decode_cursor(cursor, kind=_FLEET, types=(datetime, UUID))
        query = query.where(tuple_(Run.event_at, Run.id) < tuple_(*after))
    query = query.order_by(Run.event_at.desc(), Run.id.desc()).limit(limit + 1)
    if client_id is not None:
        query = _of_client(query, client_id).limit(limit + 1)
    items = list(db.session.scalars(query))
    if len(items) <= limit:
        return Page(items, None)
    last = items[limit - 1]
    return Page(items[:limit], encode_cursor((last.event_at, last.id), kind=_FLEET))


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
    _check_window(since, until)
    counts = count_client_runs_by_status(client_id=client_id, since=since, until=until)
    rows = db.session.execute(queries.LATEST_BY_PIPELINE, {"client_id": client_id}).all()
    latest = [
        LatestOfPipeline(pipeline_id, name, Platform(platform), status and RunStatus(status), latest_run_at)
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


def success_share(counts: Mapping[RunStatus, int]) -> float | None:
    """Give the share of successes among the runs that succeeded or failed, 0 to 1; None when there are none."""
    decided = counts.get(RunStatus.SUCCESS, 0) + counts.get(RunStatus.FAILED, 0)
    return counts.get(RunStatus.SUCCESS, 0) / decided if decided else None


# -- what lists have in common ------------------------------------------------------------------------------------

_FLEET = "runs.fleet"


def _check_window(since: datetime | None, until: datetime | None) -> None:
    if since is not None and until is not None and since >= until:
        raise Invalid("The window is empty.", (FieldIssue("since", "Must be before until."),))


def _select_runs(status: RunStatus | None, since: datetime | None, until: datetime | None) -> Select[Run]:
    _check_window(since, until)
    query = select(Run)
    if status is not None:
        query = query.where(Run.status == status)
    if since is not None:
        query = query.where(Run.event_at >= since)
    if until is not None:
        query = query.where(Run.event_at < until)
    return query


def _of_client(newest: Select[Run], client_id: UUID) -> Select[Run]:
    """Ask each pipeline of a client for its ``newest`` runs: a client with few must not cost a scan of the fleet's."""
    of_pipeline = newest.where(Run.pipeline_id == Pipeline.id).correlate(Pipeline).lateral()
    run = aliased(Run, of_pipeline)
    query = select(run).select_from(Pipeline).join(of_pipeline, true()).where(Pipeline.client_id == client_id)
    return query.order_by(run.event_at.desc(), run.id.desc())


# -- reading a page in the latest-run order -----------------------------------------------------------------------


def _latest_order_page(query: Select[Run], *, descending: bool, limit: int, cursor: str | None) -> Page[Run]:
    kind = f"runs.{'desc' if descending else 'asc'}"
    parts = [query]
    if cursor is not None:
        types = (datetime | None, datetime | None, UUID)
        parts = _after(query, decode_cursor(cursor, kind=kind, types=types), descending)
    items: list[Run] = []
    # One index range a part, read one after the other: an OR over all of them cost ten times as much.
    for part in parts:
        items += db.session.scalars(part.order_by(*_latest_order(descending)).limit(limit + 1 - len(items)))
        if len(items) > limit:
            last = items[limit - 1]
            return Page(items[:limit], encode_cursor((last.started_at, last.finished_at, last.id), kind=kind))
    return Page(items, None)


def _latest_order(descending: bool) -> list[ColumnElement[Any]]:
    if descending:
        return [Run.started_at.desc().nulls_last(), Run.finished_at.desc().nulls_last(), Run.id.desc()]
    return [Run.started_at.asc().nulls_first(), Run.finished_at.asc().nulls_first(), Run.id.asc()]


def _after(query: Select[Run], key: Sequence[Any], descending: bool) -> list[Select[Run]]:
    """The rows behind ``key``, as queries to read in this order. Null is the smallest value of each column."""
    started, finished, run_id = key

    def beyond(column: ColumnElement[Any], value: Any) -> list[ColumnElement[bool]]:
        if descending:
            return [] if value is None else [column < value, column.is_(None)]
        return [column.is_not(None)] if value is None else [column > value]

    def same(column: ColumnElement[Any], value: Any) -> ColumnElement[bool]:
        return column.is_(None) if value is None else column == value

    same_start = same(Run.started_at.expression, started)
    same_finish = same(Run.finished_at.expression, finished)
    beyond_id = Run.id < run_id if descending else Run.id > run_id
    return [
        query.where(same_start, same_finish, beyond_id),
        *(query.where(same_start, part) for part in beyond(Run.finished_at.expression, finished)),
        *(query.where(part) for part in beyond(Run.started_at.expression, started)),
    ]


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
