"""The schedule, as a process of its own beside a real worker."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from pytest_httpserver import HTTPServer

from chm_web import create_app
from chm_web.config import ROOT, Config
from chm_web.ingestion.progress import SyncScope
from chm_web.ingestion.queue import latest_jobs, read_signs, request_sync
from chm_web.ingestion.queue.schedule import request_cycle
from tests.factories import make_pipeline
from tests.ingestion.conftest import WorkerProcess, wait_until
from tests.ingestion.partners import base_url, page, run
from tests.processes import environ_of

pytestmark = pytest.mark.slow


@pytest.fixture
def start_schedule(partner_app: Flask, httpserver: HTTPServer, tmp_path: Path) -> Iterator[Callable[[], int]]:
    """Starts schedulers that ask every two seconds; gives the place of each among those started."""
    config: Config = partner_app.config["CHM"]
    environ = environ_of(
        config,
        CHM_PARTNER_API_BASE_URL=base_url(httpserver),
        CHM_INGEST_EVERY_SECONDS="2",
    )
    started: list[subprocess.Popen[bytes]] = []

    def start() -> int:
        log = (tmp_path / f"schedule-{len(started)}.log").open("wb")
        command = [sys.executable, "-m", "chm_web.commands", "schedule"]
        started.append(subprocess.Popen(command, cwd=ROOT, env=environ, stdout=log, stderr=log))
        log.close()
        return len(started) - 1

    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.fixture
def served(partner_app: Flask, httpserver: HTTPServer) -> None:
    """A pipeline whose partner serves one run."""
    pipeline = make_pipeline()
    httpserver.expect_request(f"/pipelines/{pipeline.external_id}/runs").respond_with_json(page(run(1)))


@pytest.mark.usefixtures("served")
def test_schedule_asks_again_and_again(
    start_schedule: Callable[[], int], start_worker: Callable[[], WorkerProcess]
) -> None:
    start_worker()
    start_schedule()

    wait_until(lambda: len(latest_jobs()) >= 3)

    assert all(job.scope.client_id is None and job.scope.source is None for job in latest_jobs())
    assert all(job.requested_by is None for job in latest_jobs())


@pytest.mark.usefixtures("served")
def test_schedule_gives_a_sign_and_tells_when_it_asks_next(start_schedule: Callable[[], int]) -> None:
    start_schedule()

    wait_until(lambda: read_signs().next_cycle_at)

    signs = read_signs()
    assert signs.schedule_at is not None and signs.next_cycle_at is not None
    assert signs.next_cycle_at - signs.schedule_at <= timedelta(seconds=2)


@pytest.mark.usefixtures("served")
def test_two_schedulers_do_no_harm(
    start_schedule: Callable[[], int], start_worker: Callable[[], WorkerProcess]
) -> None:
    start_worker()
    start_schedule()
    start_schedule()

    wait_until(lambda: sum(not job.state.is_live for job in latest_jobs()) >= 3)

    ended = [job for job in latest_jobs() if not job.state.is_live]
    assert [job.error for job in ended] == [None] * len(ended)
    # The run is one row however often it was asked for.
    assert sum(job.counts.created for job in ended) == 1


def test_a_source_that_cannot_be_asked_for_keeps_no_other_waiting(
    committed_app: Flask, config: Config, httpserver: HTTPServer, tmp_path: Path
) -> None:
    path = tmp_path / "sources.toml"
    own = {"lost": 'client = "Nobody"', "fine": "", "slow": "interval = 7200"}
    path.write_text(
        "".join(
            f'[sources.{name}]\nkind = "partner"\nbase_url = "{base_url(httpserver)}"\n{more}\n'
            for name, more in own.items()
        )
    )
    app = create_app(replace(config, sources_file=path))
    with app.app_context():
        make_pipeline()
        request_sync(scope=SyncScope(source="slow"))
        # With one source that is not due the others are asked for one by one.
        request_cycle()
        assert [job.scope.source for job in latest_jobs()] == ["fine", "slow"]
