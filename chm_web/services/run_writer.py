"""The way of a batch of run records into the database: checked, staged by COPY, merged by one statement a round."""

from __future__ import annotations

from collections.abc import Iterable
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


# A checked record: its place in the batch and its row for the stage.
_Staged = tuple[int, tuple[Any, ...]]


@dataclass
class _Batch:
    """A batch on its way, and what has become of it so far."""

    records: list[RunRecord]
    statement: str
    created: int = 0
    written: int = 0
    rejected: list[Rejection] = field(default_factory=list)

    def reject(self, index: int, bad: BadValue) -> None:
        """Note why a record is not taken."""
        record = self.records[index]
        # What was rejected may be of any type, whatever the record's signature says.
        shown = run_values.clean_text(str(record.external_run_id or ""), "external_run_id")
        rejection = Rejection(index, record.pipeline_id, shown[:200] if shown else None, bad.field, bad.issue)
        self.rejected.append(rejection)


def write_records(records: Iterable[RunRecord], statement: str, updated_by: str | None) -> RecordResult:
    """Write a batch by ``statement`` (one of ``chm_web.queries.run_upsert``) in a transaction of its own.

    Raises:
        Unavailable: the database does not answer; nothing is written.
        NotWritable: it answers, but cannot write: a full disk, missing rights.
    """
    batch = _Batch(list(records), statement)
    try:
        staged = _stage_all(batch, updated_by)
        if staged:
            _write(batch, staged)
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


# Pipelines are disabled, never deleted: one that was there once need not be looked up again in this process. By the
# number of its id, since a UUID's own hash and comparison are Python code and this is asked for every record.
_seen_pipelines: set[int] = set()


def _know_pipelines(records: list[RunRecord]) -> None:
    new = {record.pipeline_id.int for record in records} - _seen_pipelines
    if new:
        query = text("SELECT id FROM pipelines WHERE id = ANY(:ids)")
        found = db.session.scalars(query, {"ids": [UUID(int=number) for number in new]})
        _seen_pipelines.update(pipeline_id.int for pipeline_id in found)


def _stage_all(batch: _Batch, updated_by: str | None) -> list[_Staged]:
    _know_pipelines(batch.records)
    staged = []
    # A key that stands twice goes in rounds: one statement cannot touch a row twice.
    rounds: dict[tuple[int, str], int] = {}
    for index, record in enumerate(batch.records):
        try:
            external_id = run_values.clean_external_id(record.external_run_id)
            key = (record.pipeline_id.int, external_id)
            number = rounds.get(key, 0)
            row = (number, uuid7().bytes, record.pipeline_id, external_id, *_facts(record), updated_by)
        except BadValue as bad:
            batch.reject(index, bad)
        except Exception as err:  # noqa: BLE001 - whatever a value does to its check, it costs that record alone
            batch.reject(index, BadValue("record", f"cannot be read ({type(err).__name__})"))
        else:
            rounds[key] = number + 1
            staged.append((index, row))
    return staged


def _no_pipeline() -> BadValue:
    return BadValue("pipeline_id", "there is no such pipeline")


def _facts(record: RunRecord) -> tuple[Any, ...]:
    """Check one record and give its facts in the order of the stage's columns.

    Raises:
        BadValue: a value cannot be stored.
    """
    if record.pipeline_id.int not in _seen_pipelines:
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


def _write(batch: _Batch, staged: list[_Staged]) -> None:
    """Write what is staged, all at once; when the database refuses it after all, again, in halves."""
    statement = batch.statement
    if statement == run_upsert.UPSERT and _driver_connection().info.server_version >= run_upsert.MERGE_SINCE_VERSION:
        statement = run_upsert.MERGE
    try:
        _copy_and_merge(batch, staged, statement)
    except _BAD_ROW:
        # Nearly never, so no savepoint was taken; a run that somebody else inserted meanwhile is a reason too.
        db.session.rollback()
        batch.created = batch.written = 0
        _write_in_halves(batch, staged)


def _write_in_halves(batch: _Batch, staged: list[_Staged]) -> None:
    """Halve until the record at fault stands alone."""
    try:
        with db.session.begin_nested():
            _copy_and_merge(batch, staged, batch.statement)
    except _BAD_ROW as err:
        if len(staged) > 1:
            middle = len(staged) // 2
            _write_in_halves(batch, staged[:middle])
            _write_in_halves(batch, staged[middle:])
        elif isinstance(err, ForeignKeyViolation):
            batch.reject(staged[0][0], _no_pipeline())
        else:
            batch.reject(staged[0][0], BadValue("record", f"the database refused it ({type(err).__name__})"))


def _driver_connection() -> psycopg.Connection[Any]:
    """Give psycopg's own connection: SQLAlchemy knows no COPY, but it runs in the session's transaction."""
    connection = db.session.connection().connection.driver_connection
    assert isinstance(connection, psycopg.Connection)  # noqa: S101 - tells the type checker what the driver is
    return connection


def _copy_and_merge(batch: _Batch, staged: list[_Staged], statement: str) -> None:
    created = written = last_round = 0
    with _driver_connection().cursor() as cursor:
        cursor.execute(run_upsert.PREPARE_STAGE)
        with cursor.copy(run_upsert.COPY_STAGE) as copy:
            copy.set_types(_COLUMN_TYPES)
            for _, row in staged:
                copy.write_row(row)
                last_round = max(last_round, row[0])
        for number in range(last_round + 1):
            cursor.execute(statement, (number,), prepare=True)
            counts = cursor.fetchone()
            assert counts is not None  # noqa: S101 - a query of aggregates has one row
            written += counts[0]
            created += counts[1]
    batch.written += written
    batch.created += created
