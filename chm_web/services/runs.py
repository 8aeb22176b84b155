"""Runs: the history of what ran. ``record_runs`` is the one way a run is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, select, text

from chm_web.extensions import db
from chm_web.models import Run, RunStatus
from chm_web.queries import run_upsert
from chm_web.queries import runs as queries
from chm_web.services.clients import get_client
from chm_web.services.exceptions import Conflict, FieldIssue, Invalid, NotFound
from chm_web.services.paging import Page, decode_cursor, encode_cursor
from chm_web.services.pipelines import get_pipeline
from chm_web.services.run_records import RecordResult, Rejection, RunRecord
from chm_web.services.run_values import clean_external_id
from chm_web.services.run_writer import write_records

__all__ = [
    "RecordResult",
    "Rejection",
    "RunRecord",
    "count_client_runs_by_status",
    "create_run",
    "get_latest_run",
    "list_pipeline_runs",
    "record_runs",
    "success_share",
    "summarize_error",
]


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
    return write_records(records, run_upsert.UPSERT, updated_by)


def create_run(*, record: RunRecord, updated_by: str | None = None) -> Run:
    """Write one run that must not exist yet.

    Raises:
        NotFound: there is no such pipeline.
        Invalid: a value cannot be stored.
        Conflict: the pipeline has a run with this external id already.
    """
    get_pipeline(pipeline_id=record.pipeline_id)
    result = write_records([record], run_upsert.INSERT_NEW, updated_by)
    if result.rejected:
        rejection = result.rejected[0]
        raise Invalid(rejection.reason, (FieldIssue(rejection.field, rejection.issue),))
    if not result.created:
        issue = "This pipeline has a run with this external id already."
        raise Conflict(issue, (FieldIssue("external_run_id", issue),))
    return _get_by_external_id(record.pipeline_id, record.external_run_id)


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
    if since is not None and until is not None and since >= until:
        raise Invalid("The window is empty.", (FieldIssue("since", "Must be before until."),))
    query = select(Run).where(Run.pipeline_id == pipeline_id)
    if status is not None:
        query = query.where(Run.status == status)
    if since is not None:
        query = query.where(Run.event_at >= since)
    if until is not None:
        query = query.where(Run.event_at < until)
    return _latest_order_page(query, descending=order == "desc", limit=limit, cursor=cursor)


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


def _get_by_external_id(pipeline_id: UUID, external_run_id: str) -> Run:
    external_run_id = clean_external_id(external_run_id)
    query = select(Run).where(Run.pipeline_id == pipeline_id, Run.external_run_id == external_run_id)
    return db.session.scalars(query.execution_options(populate_existing=True)).one()
