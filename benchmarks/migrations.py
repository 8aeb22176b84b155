"""How long anybody waits while a migration runs: each of them, back and forth, on the full table and under load."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any
from uuid import UUID

import flask_migrate
import psycopg
from alembic.script import ScriptDirectory
from uuid_utils.compat import uuid7

from benchmarks.environment import BENCH_MARK, Bench
from benchmarks.report import Line, Report, at_most
from chm_web.config import ROOT

# What lock_timeout lets a migration hold others up for, before it gives way (migrations/env.py), and some time to work.
LONGEST_WAIT_MS = 4000.0
_READERS = 3
_WRITERS = 1
# Columns of the first migration alone: the load must be the same whatever the schema has become.
_LATEST = """
    SELECT id, status FROM runs WHERE pipeline_id = %s
    ORDER BY started_at DESC NULLS LAST, finished_at DESC NULLS LAST, id DESC LIMIT 1
"""
_FAILED = "SELECT count(*) FROM runs WHERE status = 'failed' AND event_at > now() - interval '1 day'"
_WRITE = """
    INSERT INTO runs (id, pipeline_id, external_run_id, status, started_at) VALUES (%s, %s, %s, 'running', now())
    ON CONFLICT (pipeline_id, external_run_id) DO UPDATE SET updated_at = now()
"""

Ask = Callable[["psycopg.Connection[Any]", int], object]


@dataclass
class Load:
    """Readers and writers, each on a connection of its own, and how long the slowest statement took of each kind."""

    bench: Bench
    pipelines: Sequence[UUID]
    stopping: threading.Event = field(default_factory=threading.Event)
    slowest_ms: dict[str, float] = field(default_factory=lambda: {"read": 0.0, "write": 0.0})
    count: int = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Keep them at it for the length of a block."""
        work = [("read", self._read)] * _READERS + [("write", self._write)] * _WRITERS
        with ThreadPoolExecutor(len(work)) as pool:
            working = [pool.submit(self._work, kind, ask) for kind, ask in work]
            try:
                yield
            finally:
                self.stopping.set()
            for one in working:
                one.result()

    def _work(self, kind: str, ask: Ask) -> None:
        with self.bench.connect() as connection:
            turn = 0
            while not self.stopping.is_set():
                started = perf_counter()
                ask(connection, turn)
                self.slowest_ms[kind] = max(self.slowest_ms[kind], (perf_counter() - started) * 1000)
                self.count += 1
                turn += 1

    def _read(self, connection: psycopg.Connection[Any], turn: int) -> None:
        connection.execute(_LATEST, [self.pipelines[turn % len(self.pipelines)]]).fetchall()
        if turn % 50 == 0:
            connection.execute(_FAILED).fetchall()

    def _write(self, connection: psycopg.Connection[Any], turn: int) -> None:
        pipeline = self.pipelines[turn % len(self.pipelines)]
        connection.execute(_WRITE, [uuid7(), pipeline, f"{BENCH_MARK}migration-{turn % 5000}"])


def run(bench: Bench) -> Report:
    """Measure every migration but the first, which makes the tables that the runs are in."""
    scripts = list(ScriptDirectory(str(ROOT / "migrations")).walk_revisions())[::-1]
    revisions = [script.revision for script in scripts]
    with bench.connect() as connection:
        pipelines = [row[0] for row in connection.execute("SELECT id FROM pipelines ORDER BY id LIMIT 2000")]
    lines = _lines("nobody migrates", _under_load(bench, pipelines, lambda: time.sleep(5.0)), target=False)
    try:
        for revision, before in reversed(list(zip(revisions[1:], revisions[:-1], strict=True))):
            lines += _lines(f"{revision}, back", _under_load(bench, pipelines, _step(flask_migrate.downgrade, before)))
        for revision in revisions[1:]:
            lines += _lines(revision, _under_load(bench, pipelines, _step(flask_migrate.upgrade, revision)))
    finally:
        flask_migrate.upgrade()
        with bench.connect() as connection:
            connection.execute("DELETE FROM runs WHERE starts_with(external_run_id, %s)", (BENCH_MARK,))
        bench.vacuum()
    method = (
        f"{_READERS} connections that read latest runs and count failures, {_WRITERS} that writes runs, as fast as "
        "they can; the slowest statement of anybody's while the migration ran, a second before and one after it."
    )
    return Report(title="Migrations", method=method, lines=lines)


def _step(move: Callable[..., None], revision: str) -> Callable[[], None]:
    def step() -> None:
        time.sleep(1.0)
        move(revision=revision)
        time.sleep(1.0)

    return step


def _under_load(bench: Bench, pipelines: Sequence[UUID], step: Callable[[], None]) -> tuple[float, Load]:
    load = Load(bench, pipelines)
    started = perf_counter()
    with load.running():
        step()
    return perf_counter() - started, load


def _lines(what: str, measured: tuple[float, Load], *, target: bool = True) -> list[Line]:
    seconds, load = measured
    told = f"{what}: slowest of {load.count:,} statements in {seconds:.1f} s"
    if not target:
        return [Line(what=f"{told}, {kind}", measured=f"{ms:,.0f} ms") for kind, ms in load.slowest_ms.items()]
    return [at_most(f"{told}, {kind}", ms, LONGEST_WAIT_MS, unit=" ms") for kind, ms in load.slowest_ms.items()]
