"""Several workers under one parent: RQ's worker pool, of our own workers, in which one that dies is started again."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

from flask import Flask, current_app
from rq.worker_pool import ForkProcess, WorkerData, WorkerPool

from chm_web.embedded.processes import die_with_launcher
from chm_web.ingestion.queue.connection import QUEUE_NAME, state
from chm_web.ingestion.queue.work import run_worker

log = logging.getLogger(__name__)

# The pause before a dead worker is followed by another: twice as long for each that dies soon, up to a bound.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
# A worker that has lived for this long was well, and died of something else than its start.
WELL_AFTER_SECONDS = 60.0
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class _Pool(WorkerPool):
    """A pool that starts our workers, and gives one that keeps dying some time."""

    def __init__(self, app: Flask, count: int) -> None:
        super().__init__([QUEUE_NAME], connection=state().redis, num_workers=count)
        self._app = app
        self._started: dict[str, float] = {}
        self._pause = FIRST_PAUSE_SECONDS
        self._not_before = 0.0

    def get_worker_process(self, name: str, burst: bool, _sleep: float = 0, logging_level: str = "INFO") -> BaseProcess:
        """Give the process of a worker, not started yet."""
        end_with_us = die_with_launcher(signal.SIGTERM)
        return ForkProcess(target=_work, args=(self._app, end_with_us), name=f"worker {name}")

    def start_worker(self, *arguments: Any, **named: Any) -> None:
        """Start a worker. It is known before anybody may ask it to stop."""
        with _stop_held_back():
            super().start_worker(*arguments, **named)
        for name in self.worker_dict:
            self._started.setdefault(name, time.monotonic())

    def handle_dead_worker(self, worker_data: WorkerData) -> None:
        """Forget a dead worker, and say when another may take its place."""
        super().handle_dead_worker(worker_data)
        if self.status is self.Status.STOPPED:
            return
        lived = time.monotonic() - self._started.pop(worker_data.name)
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS) if lived < WELL_AFTER_SECONDS else FIRST_PAUSE_SECONDS
        self._not_before = time.monotonic() + self._pause
        log.warning(
            "worker process %s has died (status %s); another follows in %s s",
            worker_data.pid,
            worker_data.process.exitcode,
            self._pause,
        )

    def check_workers(self, respawn: bool = True) -> None:
        """Let others take the places of those that have died, when it is time."""
        self.reap_workers()  # type: ignore[no-untyped-call]
        missing = self.num_workers - len(self.worker_dict)
        if missing and time.monotonic() >= self._not_before:
            for _ in range(missing):
                self.start_worker(burst=False)


def run_workers(count: int) -> None:
    """Work on ingestion jobs in ``count`` processes until SIGTERM or SIGINT; each finishes its current job first.

    Needs the app's context. A process that dies is followed by another; if this one dies, they end after their jobs.
    """
    if count == 1:
        run_worker()
        return
    _Pool(current_app._get_current_object(), count).start()  # type: ignore[attr-defined]


def _work(app: Flask, end_with_pool: Callable[[], None] | None) -> None:
    """Be a worker, in a process that was forked from the pool's."""
    for one in _STOP_SIGNALS:
        # Until the worker has handlers of its own; the pool's would stop its siblings.
        signal.signal(one, signal.SIG_DFL)
    if end_with_pool is not None:
        end_with_pool()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
    with app.app_context():
        run_worker()


@contextmanager
def _stop_held_back() -> Iterator[None]:
    """Let signals to stop wait for the end of the block; what is forked in it begins with them waiting, too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
