"""The way of a batch of run records into the database: checked, staged by COPY, merged by one statement a round."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
from psycopg.errors import ForeignKeyViolation
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from uuid_utils import uuid7

from chm_web.extensions import db
from chm_web.models import RunStatus
from chm_web.queries import run_upsert
from chm_web.services import run_values
from chm_web.services.exceptions import NotWritable, Unavailable
from chm_web.services.run_records import RecordResult, Rejection, RunRecord
from chm_web.services.run_values import BadValue

# What PostgreSQL or psycopg says of a value that slipped through the checks, and what they say of a lost connection.
_BAD_ROW = (psycopg.DataError, psycopg.IntegrityError, TypeError, ValueError, OverflowError)
_UNREACHABLE = (psycopg.OperationalError, psycopg.InterfaceError)

# By status or by its word; the value is the plain text that COPY sends.
_LABELS = {status: status.value for status in RunStatus}
_COLUMN_TYPES = list(run_upsert.STAGE_COLUMNS.values())


# Pages are cleaned and written in this many pieces, one being cleaned here while the server merges the one before.
_PIECES = 4
_SMALLEST_PIECE = 50

# A checked record: its place in the batch and its row for the stage.
_Staged = tuple[int, tuple[Any, ...]]


@dataclass
class _Piece:
    """A part of a batch, checked; its rows bear round numbers of its own, ``first`` to ``last``."""

    rows: list[_Staged]
    first: int
    last: int


@dataclass
class _Batch:
    """A batch on its way, and what has become of it so far."""

    records: list[RunRecord]
    statement: str
    updated_by: str | None
    created: int = 0
    written: int = 0
    staged: list[_Staged] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)

    def reject(self, index: int, bad: BadValue) -> None:
        """Note why a record is not taken."""
        record = self.records[index]
        # What was rejected may be of any type, whatever the record's signature says.
        shown = run_values.clean_text(str(record.external_run_id or ""), "external_run_id")
        rejection = Rejection(index, record.pipeline_id, shown[:200] if shown else None, bad.field, bad.issue)
        self.rejected.append(rejection)

    def count(self, counts: tuple[Any, ...] | None) -> None:
        """Add what a statement wrote."""
        written, created = counts or (0, 0)
        self.written += written
        self.created += created


def write_records(records: Iterable[RunRecord], statement: str, updated_by: str | None) -> RecordResult:
    """Write a batch by ``statement`` (one of ``chm_web.queries.run_upsert``) in a transaction of its own.

    Raises:
        Unavailable: the database does not answer; nothing is written.
        NotWritable: it answers, but cannot write: a full disk, missing rights.
    """
    batch = _Batch(list(records), statement, updated_by)
    try:
        if batch.records:
            _know_pipelines({record.pipeline_id for record in batch.records})
            _write(batch)
        db.session.commit()
    except (*_UNREACHABLE, DBAPIError) as err:
        raise _explained(err) from err
    except BaseException:
        db.session.rollback()
        raise
    rejected = tuple(sorted(batch.rejected, key=lambda rejection: rejection.index))
    unchanged = len(batch.records) - len(rejected) - batch.written
    return RecordResult(batch.created, batch.written - batch.created, unchanged, rejected)


def _explained(err: Exception) -> Exception:
    """Leave a clean session behind, and give the error to raise: for an absent database, or one that refuses."""
    cause = err.orig if isinstance(err, DBAPIError) else err
    if not isinstance(cause, _UNREACHABLE):
        db.session.rollback()
        return err
    code = cause.sqlstate
    if code is None or code.startswith(("08", "57P")):
        # The pool must not hand out again what psycopg, behind SQLAlchemy's back, found broken.
        db.session().invalidate()
        db.session.close()
        return Unavailable("The database does not answer. Nothing of this batch was written.")
    db.session.rollback()
    if code.startswith("40") or code == "55P03":
        return Unavailable("The database was too busy with other writers. Nothing of this batch was written.")
    return NotWritable(f"The database refuses to write ({type(cause).__name__}). Nothing of this batch was written.")


# Pipelines are disabled, never deleted: one that was there once need not be looked up again in this process.
_seen_pipelines: set[UUID] = set()


def _know_pipelines(ids: set[UUID]) -> None:
    new = ids - _seen_pipelines
    if new:
        query = text("SELECT id FROM pipelines WHERE id = ANY(:ids)")
        _seen_pipelines.update(db.session.scalars(query, {"ids": list(new)}))


def _pieces(batch: _Batch) -> Iterator[_Piece]:
    """Check the records piece by piece, in the order of their keys, in which every writer takes its locks."""
    indexed = list(enumerate(batch.records))
    size = max(_SMALLEST_PIECE, -(-len(indexed) // _PIECES))
    try:
        indexed.sort(key=lambda item: (item[1].pipeline_id.int, item[1].external_run_id))
    except (TypeError, AttributeError):
        # An id of a wrong type, about to be rejected, has no place in the order: all in one piece, which SQL sorts.
        size = len(indexed)
    number = 0
    for start in range(0, len(indexed), size):
        piece = _check_piece(batch, indexed[start : start + size], number)
        number = piece.last + 1
        batch.staged += piece.rows
        yield piece


def _check_piece(batch: _Batch, indexed: list[tuple[int, RunRecord]], first: int) -> _Piece:
    piece = _Piece([], first, first)
    # A key that stands twice goes in rounds: one statement cannot touch a row twice.
    rounds: dict[tuple[UUID, str], int] = {}
    for index, record in indexed:
        try:
            key = (record.pipeline_id, run_values.clean_external_id(record.external_run_id))
            number = rounds.get(key, first)
            row = (number, uuid7().bytes, *key, *_facts(record), batch.updated_by)
        except BadValue as bad:
            batch.reject(index, bad)
        except Exception as err:  # noqa: BLE001 - whatever a value does to its check, it costs that record alone
            batch.reject(index, BadValue("record", f"cannot be read ({type(err).__name__})"))
        else:
            rounds[key] = number + 1
            piece.rows.append((index, row))
            piece.last = max(piece.last, number)
    return piece


def _no_pipeline() -> BadValue:
    return BadValue("pipeline_id", "there is no such pipeline")


def _facts(record: RunRecord) -> tuple[Any, ...]:
    """Check one record and give its facts in the order of the stage's columns.

    Raises:
        BadValue: a value cannot be stored.
    """
    if record.pipeline_id not in _seen_pipelines:
        raise _no_pipeline()
    status = _LABELS.get(record.status)
    if status is None:
        raise BadValue("status", f"must be one of {', '.join(RunStatus)}")
    started = run_values.clean_time(record.started_at, "started_at")
    finished = run_values.clean_time(record.finished_at, "finished_at")
    duration = run_values.clean_duration(record.duration_seconds)
    if finished is not None:
        if status == RunStatus.RUNNING:
            raise BadValue("finished_at", "a running run has none")
        if started is not None:
            if finished < started:
                raise BadValue("finished_at", "is before started_at")
            duration = (finished - started).total_seconds()
    payload = run_values.clean_payload(record.payload)
    return (
        status,
        started,
        finished,
        duration,
        run_values.clean_count(record.rows_processed),
        run_values.clean_text(record.error_message, "error_message"),
        run_values.clean_text(record.status_reason, "status_reason"),
        None if payload is None else run_upsert.JSONB_VERSION + payload,
        run_values.clean_time(record.attempt_at, "attempt_at"),
        run_values.clean_time(record.source_updated_at, "source_updated_at"),
    )


def _write(batch: _Batch) -> None:
    """Write a batch piece by piece; when the database refuses one after all, all of it again, in halves."""
    statement = batch.statement
    if statement == run_upsert.UPSERT and _driver_connection().info.server_version >= run_upsert.MERGE_SINCE_VERSION:
        statement = run_upsert.MERGE
    pieces = _pieces(batch)
    try:
        _stream(batch, pieces, statement)
    except _BAD_ROW:
        # Nearly never, so no savepoint was taken; a run that somebody else inserted meanwhile is a reason too.
        db.session.rollback()
        batch.created = batch.written = 0
        for _ in pieces:
            pass  # what is not checked yet
        _write_in_halves(batch, batch.staged)


def _stream(batch: _Batch, pieces: Iterator[_Piece], statement: str) -> None:
    connection = _driver_connection()
    with connection.cursor() as cursor:
        cursor.execute(run_upsert.PREPARE_STAGE)
        piece = next(pieces, None)
        while piece is not None:
            _copy(cursor, piece.rows)
            with connection.pipeline() as pipeline:
                cursor.execute(statement, (piece.first,), prepare=True)
                pipeline.sync()
                # The server merges this piece while the next one is checked here.
                following = next(pieces, None)
            batch.count(cursor.fetchone())
            for number in range(piece.first + 1, piece.last + 1):
                batch.count(cursor.execute(statement, (number,), prepare=True).fetchone())
            piece = following


def _write_in_halves(batch: _Batch, staged: list[_Staged]) -> None:
    """Halve until the record at fault stands alone."""
    if not staged:
        return
    try:
        with db.session.begin_nested(), _driver_connection().cursor() as cursor:
            cursor.execute(run_upsert.PREPARE_STAGE)
            _copy(cursor, staged)
            counts = [
                cursor.execute(batch.statement, (number,), prepare=True).fetchone()
                for number in sorted({row[0] for _, row in staged})
            ]
    except _BAD_ROW as err:
        if len(staged) > 1:
            middle = len(staged) // 2
            _write_in_halves(batch, staged[:middle])
            _write_in_halves(batch, staged[middle:])
        elif isinstance(err, ForeignKeyViolation):
            batch.reject(staged[0][0], _no_pipeline())
        else:
            batch.reject(staged[0][0], BadValue("record", f"the database refused it ({type(err).__name__})"))
        return
    for pair in counts:
        batch.count(pair)


def _copy(cursor: psycopg.Cursor[Any], staged: list[_Staged]) -> None:
    with cursor.copy(run_upsert.COPY_STAGE) as copy:
        copy.set_types(_COLUMN_TYPES)
        for _, row in staged:
            copy.write_row(row)


def _driver_connection() -> psycopg.Connection[Any]:
    """Give psycopg's own connection: SQLAlchemy knows no COPY, but it runs in the session's transaction."""
    connection = db.session.connection().connection.driver_connection
    assert isinstance(connection, psycopg.Connection)  # noqa: S101 - tells the type checker what the driver is
    return connection
