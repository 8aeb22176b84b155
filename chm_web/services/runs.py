"""Runs: the history of what ran. ``record_runs`` is the one way a run is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import ColumnElement, Select, select, text
from sqlalchemy.exc import DBAPIError
from uuid_utils.compat import uuid7

from chm_web.extensions import db
from chm_web.models import Pipeline, Run, RunStatus
from chm_web.queries import run_upsert
from chm_web.queries import runs as queries
from chm_web.services import run_values
from chm_web.services.clients import get_client
from chm_web.services.exceptions import Conflict, FieldIssue, Invalid, NotFound, Unavailable
from chm_web.services.paging import Page, decode_cursor, encode_cursor
from chm_web.services.pipelines import get_pipeline
from chm_web.services.run_values import BadValue


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What a source says of one run. Times without a zone are UTC.

    ``attempt_at`` is set by pull mappers alone (start, else queue time): it is what lets a platform's re-run under
    the same id replace the attempt before. ``source_updated_at`` is the source's own change time, never our clock.
    """

    pipeline_id: UUID
    external_run_id: str
    status: RunStatus
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration_seconds: float | None = None
    rows_processed: int | None = None
    error_message: str | None = None
    status_reason: str | None = None
    payload: dict[str, Any] | None = None
    attempt_at: datetime | None = None
    source_updated_at: datetime | None = None


@dataclass(frozen=True)
class Rejection:
    """Why one record of a batch was not taken. ``index`` is its place in the batch, from 0."""

    index: int
    pipeline_id: UUID | None
    external_run_id: str | None
    field: str
    issue: str

    @property
    def reason(self) -> str:
        """The field and what is wrong with it, in one line."""
        return f"{self.field}: {self.issue}"


@dataclass(frozen=True)
class RecordResult:
    """What became of a batch."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: tuple[Rejection, ...] = ()


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
    """
    return _record(records, run_upsert.UPSERT, updated_by)


def create_run(*, record: RunRecord, updated_by: str | None = None) -> Run:
    """Write one run that must not exist yet.

    Raises:
        NotFound: there is no such pipeline.
        Invalid: a value cannot be stored.
        Conflict: the pipeline has a run with this external id already.
    """
    get_pipeline(pipeline_id=record.pipeline_id)
    result = _record([record], run_upsert.INSERT_NEW, updated_by)
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
    external_run_id = run_values.clean_external_id(external_run_id)
    query = select(Run).where(Run.pipeline_id == pipeline_id, Run.external_run_id == external_run_id)
    return db.session.scalars(query.execution_options(populate_existing=True)).one()


# -- writing ------------------------------------------------------------------------------------------------------

# What PostgreSQL or psycopg says of a value that slipped through the checks, and what they say of a lost connection.
_BAD_ROW = (psycopg.DataError, psycopg.IntegrityError, TypeError, ValueError, OverflowError)
_UNREACHABLE = (psycopg.OperationalError, psycopg.InterfaceError)

_COLUMN_TYPES = list(run_upsert.STAGE_COLUMNS.values())


@dataclass(slots=True)
class _Staged:
    """A checked record: its place in the batch, its key and its row for the stage."""

    index: int
    key: tuple[UUID, str]
    row: tuple[Any, ...]


@dataclass
class _Tally:
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: list[Rejection] = field(default_factory=list)


def _record(records: Iterable[RunRecord], statement: str, updated_by: str | None) -> RecordResult:
    records = list(records)
    tally = _Tally()
    try:
        known = _known_pipelines({record.pipeline_id for record in records})
        staged = []
        rounds: Counter[tuple[UUID, str]] = Counter()
        for index, record in enumerate(records):
            try:
                staged.append(_stage(index, record, known, rounds, updated_by))
            except BadValue as bad:
                tally.rejected.append(_rejection(index, record, bad.field, bad.issue))
        if staged:
            _write(staged, statement, tally, records)
        db.session.commit()
    except (*_UNREACHABLE, DBAPIError) as err:
        _give_up(err)
        raise Unavailable("The database does not answer. Nothing of this batch was written.") from err
    except BaseException:
        db.session.rollback()
        raise
    rejected = tuple(sorted(tally.rejected, key=lambda rejection: rejection.index))
    return RecordResult(tally.created, tally.updated, tally.unchanged, rejected)


def _give_up(err: Exception) -> None:
    """Drop the broken connection; an error that is not about the connection is a bug and goes on as it is."""
    if isinstance(err, DBAPIError) and not isinstance(err.orig, _UNREACHABLE):
        db.session.rollback()
        raise err
    # The pool must not hand out again what psycopg, behind SQLAlchemy's back, found broken.
    db.session().invalidate()
    db.session.close()


def _known_pipelines(ids: set[UUID]) -> set[UUID]:
    return set(db.session.scalars(select(Pipeline.id).where(Pipeline.id.in_(ids)))) if ids else set()


def _rejection(index: int, record: RunRecord, name: str, issue: str) -> Rejection:
    # What was rejected may be of any type, whatever the record's signature says.
    shown = run_values.clean_text(str(record.external_run_id or ""), "external_run_id")
    return Rejection(index, record.pipeline_id, shown[:200] if shown else None, name, issue)


def _stage(
    index: int, record: RunRecord, known: set[UUID], rounds: Counter[tuple[UUID, str]], updated_by: str | None
) -> _Staged:
    """Check one record and lay it out for the stage.

    Raises:
        BadValue: a value cannot be stored.
    """
    if record.pipeline_id not in known:
        raise BadValue("pipeline_id", "there is no such pipeline")
    key = (record.pipeline_id, run_values.clean_external_id(record.external_run_id))
    try:
        status = RunStatus(record.status)
    except ValueError:
        raise BadValue("status", f"must be one of {', '.join(RunStatus)}") from None
    started = run_values.clean_time(record.started_at, "started_at")
    finished = run_values.clean_time(record.finished_at, "finished_at")
    duration = run_values.clean_duration(record.duration_seconds)
    if finished is not None:
        if status is RunStatus.RUNNING:
            raise BadValue("finished_at", "a running run has none")
        if started is not None:
            if finished < started:
                raise BadValue("finished_at", "is before started_at")
            duration = (finished - started).total_seconds()
    payload = run_values.clean_payload(record.payload)
    row = (
        rounds[key],
        uuid7(),
        *key,
        status.value,
        started,
        finished,
        duration,
        run_values.clean_count(record.rows_processed),
        run_values.clean_text(record.error_message, "error_message"),
        run_values.clean_text(record.status_reason, "status_reason"),
        None if payload is None else run_upsert.JSONB_VERSION + payload,
        run_values.clean_time(record.attempt_at, "attempt_at"),
        run_values.clean_time(record.source_updated_at, "source_updated_at"),
        updated_by,
    )
    # A key that stands twice goes in rounds: one statement cannot touch a row twice.
    rounds[key] += 1
    return _Staged(index, key, row)


def _write(staged: list[_Staged], statement: str, tally: _Tally, records: Sequence[RunRecord]) -> None:
    """Write a batch; when the database refuses it after all, halve it until the record at fault stands alone."""
    try:
        with db.session.begin_nested():
            written = _copy_and_upsert([item.row for item in staged], statement)
    except _BAD_ROW as err:
        if len(staged) == 1:
            issue = f"the database refused it ({type(err).__name__})"
            tally.rejected.append(_rejection(staged[0].index, records[staged[0].index], "record", issue))
            return
        middle = len(staged) // 2
        _write(staged[:middle], statement, tally, records)
        _write(staged[middle:], statement, tally, records)
        return
    created = sum(written)
    tally.created += created
    tally.updated += len(written) - created
    tally.unchanged += len(staged) - len(written)


def _copy_and_upsert(rows: list[tuple[Any, ...]], statement: str) -> list[bool]:
    """Stage the rows and run the statement once a round; give, for each row written, whether it was created."""
    # psycopg's own connection: COPY is not part of SQLAlchemy, but runs in the session's transaction all the same.
    connection = db.session.connection().connection.driver_connection
    assert isinstance(connection, psycopg.Connection)  # noqa: S101 - tells the type checker what the driver is
    with connection.cursor() as cursor:
        cursor.execute(run_upsert.CREATE_STAGE)
        cursor.execute(run_upsert.CLEAR_STAGE)
        with cursor.copy(run_upsert.COPY_STAGE) as copy:
            copy.set_types(_COLUMN_TYPES)
            for row in rows:
                copy.write_row(row)
        written: list[bool] = []
        for number in range(max(row[0] for row in rows) + 1):
            cursor.execute(statement, (number,), prepare=True)
            written += [created for (created,) in cursor]
    return written
