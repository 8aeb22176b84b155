"""The way of a batch of run records into the database: checked, then inserted where all are new, else merged.

What was written before and says nothing new is told by its hash and goes nowhere.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from psycopg.errors import ForeignKeyViolation, InsufficientPrivilege
from psycopg.types.string import BytesBinaryDumper
from sqlalchemy.exc import DBAPIError
from uuid_utils import uuid7
from xxhash import xxh3_64_intdigest

from chm_web.extensions import db
from chm_web.models import RunStatus
from chm_web.queries import run_upsert
from chm_web.services import run_values
from chm_web.services.exceptions import NotWritable, Unavailable
from chm_web.services.run_records import RecordResult, Rejection, RunRecord
from chm_web.services.run_values import BadValue

# What PostgreSQL or psycopg says of a value that slipped through the checks, and what they say where nothing can be
# written: a lost connection, a full disk, a server that only reads.
_BAD_ROW = (psycopg.DataError, psycopg.IntegrityError, TypeError, ValueError, OverflowError)
_NOTHING_GOES = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError, InsufficientPrivilege)

# By status or by its word; the value is the plain text that COPY sends.
_LABELS = {status: status.value for status in RunStatus}
_RUNNING = RunStatus.RUNNING.value
_COLUMN_TYPES = list(run_upsert.COLUMNS.values())
# Numbers for the pages of a stage: no two of one session may be the same.
_pages = itertools.count(1)


def _as_plain(moment: Any) -> datetime:
    """Give a time of some library's own class as one of Python's."""
    return datetime.combine(moment.date(), moment.timetz())


# Of the encoders whose form of a value is defined, the quickest for rows with times: a fifth of orjson's time.
_encode_facts = msgspec.msgpack.Encoder(enc_hook=_as_plain).encode

# In the order in which keys are locked: bytewise by pipeline, then by external id.
_Key = tuple[int, str]
# A record's key and its place in the batch.
_Keyed = tuple[_Key, int]
# The hashes that stand, by the places of the records whose keys are known.
_Known = dict[int, int | None]
# A record's place in the batch, and its row in the order of the columns.
_Checked = tuple[int, tuple[Any, ...]]
_HASH = list(run_upsert.COLUMNS).index("content_hash")
# About this part of the records is checked while the database looks up all keys, the others while it writes: a walk
# along one pipeline's keys is soon done, a descent a key is not.
_CHECKED_MEANWHILE_OF_ONE = 0.15
_CHECKED_MEANWHILE = 0.9


@dataclass
class _Batch:
    """A batch on its way, and what has become of it so far."""

    records: list[RunRecord]
    statement: str
    updated_by: str | None
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
    batch = _Batch(list(records), statement, updated_by)
    try:
        keys = _check_keys(batch)
        if keys:
            _know_pipelines({pipeline for (pipeline, _), _ in keys})
            _write(batch, keys)
        db.session.commit()
    except (psycopg.Error, DBAPIError) as err:
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
    # A server that is killed in the middle of an answer leaves an error without a code, and so of no class of its own.
    if not isinstance(cause, _NOTHING_GOES) and type(cause) is not psycopg.DatabaseError:
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
# number of its id, since a UUID's own hash and comparison are Python code and this is asked for every record; with the
# bytes that COPY sends.
_seen_pipelines: dict[int, bytes] = {}


def _know_pipelines(numbers: set[int]) -> None:
    new = numbers - _seen_pipelines.keys()
    if new:
        ids = [UUID(int=number) for number in new]
        with _driver_connection().cursor(binary=True) as cursor:
            found = cursor.execute(run_upsert.KNOWN_PIPELINES, (ids,), prepare=True).fetchall()
        _seen_pipelines.update((pipeline_id.int, pipeline_id.bytes) for (pipeline_id,) in found)


def _check_keys(batch: _Batch) -> list[_Keyed]:
    keys = []
    for index, record in enumerate(batch.records):
        try:
            key = record.pipeline_id.int, run_values.clean_external_id(record.external_run_id)
        except BadValue as bad:
            batch.reject(index, bad)
        else:
            keys.append((key, index))
    return keys


def _check(batch: _Batch, keys: list[_Keyed]) -> Iterator[_Checked]:
    """Check these records one by one, and give the rows of those that are good, with their places in the batch."""
    for (pipeline, external_id), index in keys:
        record = batch.records[index]
        try:
            sent_as = _seen_pipelines.get(pipeline)
            if sent_as is None:
                raise _no_pipeline()
            facts = _facts(record)
            content_hash = _hash(facts)
        except BadValue as bad:
            batch.reject(index, bad)
        except Exception as err:  # noqa: BLE001 - whatever a value does to its check, it costs that record alone
            batch.reject(index, BadValue("record", f"cannot be read ({type(err).__name__})"))
        else:
            yield index, (uuid7().bytes, sent_as, external_id, *facts, content_hash, batch.updated_by)


def _no_pipeline() -> BadValue:
    return BadValue("pipeline_id", "there is no such pipeline")


def _facts(record: RunRecord) -> tuple[Any, ...]:
    """Check one record and give its facts in the order of their columns.

    Raises:
        BadValue: a value cannot be stored.
    """
    status = _LABELS.get(record.status)
    if status is None:
        raise BadValue("status", f"must be one of {', '.join(RunStatus)}")
    started = run_values.clean_time(record.started_at, "started_at")
    finished = run_values.clean_time(record.finished_at, "finished_at")
    duration = run_values.clean_duration(record.duration_seconds)
    if finished is not None:
        if status == _RUNNING:
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
        run_values.clean_time(record.attempt_at, "attempt_at"),
        run_values.clean_time(record.source_updated_at, "source_updated_at"),
        None if payload is None else run_upsert.JSONB_VERSION + payload,
    )


def _hash(facts: tuple[Any, ...]) -> int:
    """Give the ``content_hash`` of a record's facts: 64 bits, signed, the same in every process.

    All that is sent of the record beside its key counts. Two records of one run would have to share it by chance, one
    in 2^64, for the later one to be missed.
    """
    # Cleaned times are in UTC: equal ones have one form.
    return xxh3_64_intdigest(_encode_facts(facts), run_upsert.HASH_SEED) - 2**63


def _write(batch: _Batch, keys: list[_Keyed]) -> None:
    """Write all at once; when the database refuses it after all, again, in halves."""
    statement = batch.statement
    if statement == run_upsert.UPSERT and _driver_connection().info.server_version >= run_upsert.MERGE_SINCE_VERSION:
        statement = run_upsert.MERGE
    rejected = len(batch.rejected)
    try:
        for keyed in _rounds(keys):
            _write_round(batch, keyed, statement)
    except _BAD_ROW:
        # Nearly never, so no savepoint was taken; a run that somebody else inserted meanwhile is a reason too.
        db.session.rollback()
        batch.created = batch.written = 0
        del batch.rejected[rejected:]
        _write_in_halves(batch, keys)


def _write_round(batch: _Batch, keys: list[_Keyed], statement: str) -> None:
    checked = _check(batch, keys)
    known, first = _look_up(keys, checked)
    checked = itertools.chain(first, checked)
    if not known:
        _insert(batch, (row for _, row in checked))
        return
    changed = [(index, row) for index, row in checked if known.get(index) != row[_HASH]]
    rows = [row for _, row in changed]
    if any(index in known for index, _ in changed):
        # New ones too: two statements would take their locks in two orders.
        _stage_and_merge(batch, rows, statement)
    elif rows:
        _insert(batch, rows)


def _write_in_halves(batch: _Batch, keys: list[_Keyed]) -> None:
    """Halve until the record at fault stands alone."""
    created, written, rejected = batch.created, batch.written, len(batch.rejected)
    try:
        with db.session.begin_nested():
            for keyed in _rounds(keys):
                _stage_and_merge(batch, (row for _, row in _check(batch, keyed)), batch.statement)
    except _BAD_ROW as err:
        batch.created, batch.written = created, written
        del batch.rejected[rejected:]
        if len(keys) > 1:
            middle = len(keys) // 2
            _write_in_halves(batch, keys[:middle])
            _write_in_halves(batch, keys[middle:])
            return
        gone = isinstance(err, ForeignKeyViolation)
        bad = _no_pipeline() if gone else BadValue("record", f"the database refused it ({type(err).__name__})")
        batch.reject(keys[0][1], bad)


def _rounds(keys: list[_Keyed]) -> Iterator[list[_Keyed]]:
    """Split records so that no key stands twice in a round: one statement cannot touch a row twice.

    Each round is sorted by its keys: writers whose pages overlap take their locks in one order and cannot deadlock.
    """
    while keys:
        first: dict[_Key, int] = {}
        again = [(key, index) for key, index in keys if first.setdefault(key, index) != index]
        yield sorted(first.items())
        keys = again


def _driver_connection() -> psycopg.Connection[Any]:
    """Give psycopg's own connection: SQLAlchemy knows no COPY, but it runs in the session's transaction."""
    connection = db.session.connection().connection.driver_connection
    assert isinstance(connection, psycopg.Connection)  # noqa: S101 - tells the type checker what the driver is
    return connection


def _look_up(keys: list[_Keyed], checked: Iterator[_Checked]) -> tuple[_Known, list[_Checked]]:
    """Look which keys stand already, and give the first of the records too: they are checked meanwhile.

    What another writer does after this look counts as done after our write.
    """
    ids = _as_array([external_id for (_, external_id), _ in keys])
    (first_pipeline, _), (last_pipeline, _) = keys[0][0], keys[-1][0]
    if first_pipeline == last_pipeline:
        query, of_whom, meanwhile = run_upsert.KNOWN_HASHES_OF_ONE, f"{first_pipeline:032x}", _CHECKED_MEANWHILE_OF_ONE
        places: dict[Any, int] = {external_id: index for (_, external_id), index in keys}
    else:
        query, meanwhile = run_upsert.KNOWN_HASHES, _CHECKED_MEANWHILE
        of_whom = _as_array([f"{pipeline:032x}" for (pipeline, _), _ in keys])
        places = {place: index for place, (_, index) in enumerate(keys, 1)}
    connection = _driver_connection()
    with connection.pipeline(), connection.cursor(binary=True) as cursor:
        cursor.execute(query, (of_whom, ids), prepare=True)
        first = list(itertools.islice(checked, int(meanwhile * len(keys))))
        found = cursor.fetchall()
    return {places[key]: content_hash for key, content_hash in found}, first


def _as_array(texts: list[str]) -> str:
    """Write texts as an array in PostgreSQL's own notation: psycopg takes a list an item at a time."""
    # No text holds a NUL: what joins them is told from what they hold.
    joined = "\0".join(texts).replace("\\", "\\\\").replace('"', '\\"').replace("\0", '","')
    return f'{{"{joined}"}}'


def _insert(batch: _Batch, rows: Iterable[tuple[Any, ...]]) -> None:
    """Insert rows whose keys are all new."""
    with _driver_connection().cursor() as cursor:
        _copy(cursor, run_upsert.COPY_NEW, rows, _COLUMN_TYPES)
        batch.written += cursor.rowcount
        batch.created += cursor.rowcount


def _stage_and_merge(batch: _Batch, rows: Iterable[tuple[Any, ...]], statement: str) -> None:
    page = next(_pages)
    with _driver_connection().cursor() as cursor:
        (size,) = cursor.execute(run_upsert.PREPARE_TO_MERGE, prepare=True).fetchone() or (None,)
        if size is None:
            cursor.execute(run_upsert.MAKE_STAGE)
        elif size > run_upsert.STAGE_BYTES:
            cursor.execute(run_upsert.EMPTY_STAGE)
        staged = ((page, *row) for row in rows)
        _copy(cursor, run_upsert.COPY_STAGE, staged, ["int4", *_COLUMN_TYPES])
        counts = cursor.execute(statement, (page,), prepare=True).fetchone()
    assert counts is not None  # noqa: S101 - a query of aggregates has one row
    batch.written += counts[0]
    batch.created += counts[1]


def _copy(cursor: psycopg.Cursor[Any], statement: str, rows: Iterable[tuple[Any, ...]], types: list[str]) -> None:
    """Copy rows as they come: while the next ones are checked, the database works on those before."""
    # By type alone psycopg takes a dumper for bytes that is written in Python, its DB-API's.
    cursor.adapters.register_dumper(bytes, BytesBinaryDumper)
    with cursor.copy(statement) as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)
