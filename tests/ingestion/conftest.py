"""A partner, an app that reads it, and real workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from pytest_httpserver import HTTPServer
from redis import Redis
from rq import Worker

from chm_web.config import ROOT, Config
from chm_web.ingestion.progress import IngestionJob
from chm_web.ingestion.queue import get_job
from chm_web.models import Pipeline
from tests.configured import app_of
from tests.factories import make_pipeline
from tests.ingestion.airflows import Airflow, recorded
from tests.ingestion.partners import TOKEN, base_url
from tests.processes import environ_of


@pytest.fixture
def pipeline(app: Flask) -> Pipeline:
    """A pipeline that the partner knows as ``p``."""
    return make_pipeline(external_id="p")


@pytest.fixture
def airflow(httpserver: HTTPServer) -> Airflow:
    """An Airflow 3 that has the recorded runs."""
    return Airflow(httpserver, runs=recorded("dagruns_list_final")["dag_runs"])


@dataclass
class WorkerProcess:
    """A worker as it runs in production: ``python worker.py``."""

    process: subprocess.Popen[bytes]
    log: Path

    def stop(self) -> int:
        """Ask it to stop and give its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def kill(self) -> None:
        """Kill it and its work horse, as a power cut would."""
        for pid in (*children_of(self.process.pid), self.process.pid):
            # A work horse may just have ended by itself.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(5)


def workers_of(app: Flask) -> dict[int, str]:
    """The pids of the workers that RQ knows, and what each does: read anew, an RQ worker itself is as it was read."""
    config: Config = app.config["CHM"]
    known = Worker.all(connection=Redis.from_url(config.redis_url))
    return {int(one.pid): str(one.get_state()) for one in known if one.pid}


def children_of(pid: int) -> list[int]:
    """The ids of a process's children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def partner_app(committed_app: Flask, config: Config, httpserver: HTTPServer) -> Iterator[Flask]:
    """An app with real commits, whose one source is the test's HTTP server."""
    with app_reading(httpserver, config) as app:
        yield app


def app_reading(server: HTTPServer, config: Config, **changed: Any) -> AbstractContextManager[Flask]:
    """An app of its own that reads a partner at the server, and with what else of its configuration is changed."""
    settings: dict[str, Any] = {
        "partner_api_base_url": base_url(server),
        "partner_api_token": TOKEN,
        "http_timeout_seconds": 5,
        "http_backoff_seconds": 0.01,
        "partner_page_size": 10,
    }
    return app_of(replace(config, **{**settings, **changed}))


@pytest.fixture
def worker_environ(partner_app: Flask) -> dict[str, str]:
    """The environment in which a process works for ``partner_app``."""
    config: Config = partner_app.config["CHM"]
    return environ_of(
        config,
        CHM_PARTNER_API_BASE_URL=str(config.partner_api_base_url),
        CHM_PARTNER_API_TOKEN=TOKEN,
        CHM_PARTNER_PAGE_SIZE=str(config.partner_page_size),
        CHM_HTTP_TIMEOUT_SECONDS="5",
        CHM_HTTP_BACKOFF_SECONDS="0.01",
        CHM_SOURCES_FILE=str(config.sources_file or ""),
    )


@pytest.fixture
def start_worker(
    partner_app: Flask, worker_environ: dict[str, str], tmp_path: Path
) -> Iterator[Callable[[], WorkerProcess]]:
    """Starts workers for ``partner_app``; what still runs at the end is killed.

    What they wrote is printed, so that the report of a failure has it.
    """
    workers: list[WorkerProcess] = []

    def start() -> WorkerProcess:
        log = tmp_path / f"worker-{len(workers)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "worker.py"], cwd=ROOT, env=worker_environ, stdout=output, stderr=subprocess.STDOUT
            )
        workers.append(WorkerProcess(process, log))
        # Idle: its signal handlers are in place and it looks for work.
        wait_until(lambda: workers_of(partner_app).get(process.pid) == "idle")
        return workers[-1]

    yield start
    for worker in workers:
        if worker.process.poll() is None:
            worker.kill()
        sys.stdout.write(worker.log.read_text(errors="replace"))


def wait_until(done: Callable[[], object], *, seconds: float = 60) -> None:
    """Wait until something is so, and fail when it does not become so.

    The time is for a machine that does much else: to start a process takes some seconds of computing by itself.
    """
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def wait_for(job: IngestionJob, *, seconds: float = 60) -> IngestionJob:
    """Wait until a job has ended, and give it as it ended."""
    wait_until(lambda: not get_job(job_id=job.id).state.is_live, seconds=seconds)
    return get_job(job_id=job.id)
