"""A process that writes runs when told to: by ``record_runs``, or by plain COPY as the measure of what is possible."""

from __future__ import annotations

import cProfile
import gc
import io
import multiprocessing
import pstats
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import psycopg
from sqlalchemy import text
from uuid_utils import uuid7

from benchmarks.environment import SESSION_NAME
from benchmarks.samples import Batch, payload_bytes
from chm_web import create_app
from chm_web.config import Config
from chm_web.extensions import db
from chm_web.queries.run_upsert import COLUMNS, STAGE
from chm_web.services.runs import RunRecord, record_runs

# The same columns as record_runs writes; a pipeline's id as psycopg knows it. The hash is a number that costs nothing.
_COLUMNS = {name: kind for name, kind in COLUMNS.items() if name != "updated_by"} | {"pipeline_id": "uuid"}
_COPY = f"COPY runs ({', '.join(_COLUMNS)}) FROM STDIN (FORMAT binary)"
_START_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Written:
    """What became of a batch: when it began and ended (monotonic seconds), what was written."""

    started: float
    ended: float
    created: int
    updated: int
    unchanged: int
    rejected: int
    stage_bytes: int
    profile: str = ""


class Writers:
    """Processes that write at the same time, each with an app and a connection of its own."""

    def __init__(self, count: int, environ: dict[str, str]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for _ in range(count):
            mine, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, environ), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(mine)
            self._processes.append(process)
        for pipe in self._pipes:
            _receive(pipe, _START_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(10)
            if process.is_alive():
                process.kill()

    def write(self, how: str, batches: list[Batch], *, profile: bool = False) -> list[Written]:
        """Write a batch a process, all at once; ``how`` is ``record_runs`` or ``copy``."""
        pairs = list(zip(self._pipes, batches, strict=False))
        for pipe, batch in pairs:
            pipe.send((how, batch, profile))
        # The records are made before the clock starts.
        for pipe, _ in pairs:
            _receive(pipe, 600)
        for pipe, _ in pairs:
            pipe.send("go")
        return [_receive(pipe, 3600) for pipe, _ in pairs]


def _receive(pipe: Connection, seconds: float) -> Any:
    if not pipe.poll(seconds):
        raise TimeoutError("A writer process does not answer.")
    return pipe.recv()


def _serve(pipe: Connection, environ: dict[str, str]) -> None:
    """The process: make the records, wait for the word, write them, tell."""
    with create_app(Config.from_env(environ), session_name=SESSION_NAME).app_context():
        pipelines = list(db.session.scalars(text("SELECT id FROM pipelines ORDER BY id")))
        db.session.commit()
        pipe.send("ready")
        while True:
            try:
                how, batch, profile = pipe.recv()
            except EOFError:
                return
            work = _prepare(how, batch, pipelines)
            pipe.send("prepared")
            pipe.recv()
            pipe.send(_measure(work, profile=profile))


def _prepare(how: str, batch: Batch, pipelines: list[UUID]) -> Callable[[], list[int]]:
    pages = list(batch.pages(pipelines))
    # A feed hands its records over a page at a time: no collection of the writer's looks through all of them.
    gc.collect()
    gc.freeze()
    if how == "record_runs":
        return lambda: _record(pages)
    return lambda: _copy(pages)


def _record(pages: list[list[RunRecord]]) -> list[int]:
    counts = [0, 0, 0, 0]
    for page in pages:
        result = record_runs(records=page)
        for index, count in enumerate((result.created, result.updated, result.unchanged, len(result.rejected))):
            counts[index] += count
    return counts


def _row(record: RunRecord) -> tuple[Any, ...]:
    """A record in the order of the columns, unchecked."""
    started, finished = record.started_at, record.finished_at
    return (
        uuid7().bytes,
        record.pipeline_id,
        record.external_run_id,
        record.status.value,
        started,
        finished,
        (finished - started).total_seconds() if started and finished else record.duration_seconds,
        record.rows_processed,
        record.error_message,
        record.status_reason,
        record.attempt_at,
        record.source_updated_at,
        payload_bytes(record.payload),
        0,
    )


def _copy(pages: list[list[RunRecord]]) -> list[int]:
    """Plain COPY of the same records, a transaction a page, as anyone would write it.

    Nothing is checked, and a key that stands already would break it off.
    """
    kinds = list(_COLUMNS.values())
    with db.engine.connect() as outer:
        connection = outer.connection.driver_connection
        if not isinstance(connection, psycopg.Connection):
            raise TypeError("the driver is not psycopg")
        for page in pages:
            with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
                copy.set_types(kinds)
                for record in page:
                    copy.write_row(_row(record))
            connection.commit()
    return [sum(len(page) for page in pages), 0, 0, 0]


def _measure(work: Callable[[], list[int]], *, profile: bool) -> Written:
    profiler = cProfile.Profile() if profile else None
    started = time.monotonic()
    counts = profiler.runcall(work) if profiler else work()
    ended = time.monotonic()
    created, updated, unchanged, rejected = counts
    return Written(
        started=started,
        ended=ended,
        created=created,
        updated=updated,
        unchanged=unchanged,
        rejected=rejected,
        stage_bytes=_stage_bytes(),
        profile=_profile_text(profiler) if profiler else "",
    )


def _stage_bytes() -> int:
    """How large this session's stage has grown (the session's connection is the pool's one)."""
    size: int = db.session.scalar(text(f"SELECT coalesce(pg_relation_size(to_regclass('pg_temp.{STAGE}')), 0)")) or 0
    db.session.commit()
    return size


def _profile_text(profiler: cProfile.Profile) -> str:
    out = io.StringIO()
    stats = pstats.Stats(profiler, stream=out)
    for order in ("cumulative", "tottime"):
        stats.sort_stats(order).print_stats(60)
    return out.getvalue()
