"""Several workers under one parent, as real processes: ``chm worker --count``."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from flask import Flask
from pytest_httpserver import HTTPServer
from redis import Redis
from werkzeug import Request, Response

from chm_web.commands.worker import worker
from chm_web.config import ROOT
from chm_web.ingestion.progress import IngestionJob, JobState, SyncScope
from chm_web.ingestion.queue import get_job, pool, read_signs, request_sync
from chm_web.ingestion.queue.ending import TRIES, end_part
from tests.factories import make_pipeline
from tests.ingestion.conftest import children_of, wait_for, wait_until, workers_of
from tests.ingestion.partners import page, run, stored
from tests.ingestion.test_broken_off import DIED, assert_is_told

pytestmark = pytest.mark.slow

COUNT = 2
# As `chm worker --count 2`, but that a death is noticed, and another worker there, within seconds.
QUICK = f"""
from chm_web import create_app
from chm_web.ingestion.queue import pool, run_workers, work

pool.LONGEST_PAUSE_SECONDS = 1
work.HORSE_SIGN_SECONDS, work.HORSE_SILENT_SECONDS = 1, 3
with create_app().app_context():
    run_workers({COUNT})
"""
REAL = ["-m", "chm_web.commands", "worker", "--count", str(COUNT)]
PAGES, SIZE = 4, 5

StartPool = Callable[[list[str]], subprocess.Popen[bytes]]


@pytest.fixture
def start_pool(partner_app: Flask, worker_environ: dict[str, str], tmp_path: Path) -> Iterator[StartPool]:
    """Starts pools, and waits until their workers are idle; what still runs at the end is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start(command: list[str]) -> subprocess.Popen[bytes]:
        with (tmp_path / f"pool-{len(started)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *command], cwd=ROOT, env=worker_environ, stdout=log, stderr=subprocess.STDOUT
            )
        started.append(process)
        wait_until(lambda: are_idle(partner_app, process.pid))
        return process

    yield start
    for process in started:
        if process.poll() is None:
            for pid in (*descendants_of(process.pid), process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait(10)


def are_idle(app: Flask, pid: int) -> bool:
    """Whether all workers of a pool wait for work."""
    known, children = workers_of(app), children_of(pid)
    return len(children) == COUNT and all(known.get(child) == "idle" for child in children)


def descendants_of(pid: int) -> list[int]:
    """The ids of a process's children and of theirs."""
    return [found for child in children_of(pid) for found in (*children_of(child), child)]


class Gate:
    """A partner of four pages that holds back the third until it may go on."""

    def __init__(self, server: HTTPServer) -> None:
        make_pipeline(external_id="p")
        self.asked = threading.Event()
        self.open = threading.Event()
        server.expect_request("/pipelines/p/runs").respond_with_handler(self.handle)

    def handle(self, request: Request) -> Response:
        """Give a page."""
        number = int(request.args.get("cursor", 0))
        if number == 2 and not self.asked.is_set():
            self.asked.set()
            self.open.wait(60)
        runs = [run(n) for n in range(number * SIZE, (number + 1) * SIZE)]
        return Response(json.dumps(page(*runs, cursor=number + 1 if number + 1 < PAGES else None)))

    def begin_job(self) -> IngestionJob:
        """Ask for an ingestion, and wait until a worker stands before the page that is held back."""
        job, _ = request_sync(scope=SyncScope())
        assert self.asked.wait(60)
        return job


@pytest.fixture
def gate(partner_app: Flask, httpserver: HTTPServer) -> Gate:
    """The partner of ``partner_app``, with one pipeline."""
    return Gate(httpserver)


def test_a_pool_that_is_asked_to_stop_finishes_the_job_at_hand_and_ends(gate: Gate, start_pool: StartPool) -> None:
    parent = start_pool(REAL)
    children = children_of(parent.pid)
    job = gate.begin_job()

    parent.send_signal(signal.SIGTERM)
    time.sleep(2)
    is_waited_for = parent.poll() is None
    gate.open.set()

    assert parent.wait(30) == 0
    assert is_waited_for
    assert (get_job(job_id=job.id).state, stored()) == (JobState.FINISHED, PAGES * SIZE)
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_a_worker_that_dies_is_followed_by_another(partner_app: Flask, start_pool: StartPool) -> None:
    parent = start_pool(REAL)
    # RQ's scheduler is a child of one of them.
    wait_until(lambda: any(children_of(pid) for pid in children_of(parent.pid)))
    dead, *others = sorted(children_of(parent.pid), key=lambda pid: not children_of(pid))
    schedulers = children_of(dead)

    os.kill(dead, signal.SIGKILL)
    wait_until(lambda: not any(is_alive(pid) for pid in schedulers))
    wait_until(lambda: dead not in children_of(parent.pid))
    wait_until(lambda: are_idle(partner_app, parent.pid))

    assert schedulers
    assert set(others) < set(children_of(parent.pid))


def test_the_work_of_a_worker_that_is_killed_is_taken_up(partner_app: Flask, gate: Gate, start_pool: StartPool) -> None:
    parent = start_pool(["-c", QUICK])
    job = gate.begin_job()
    [busy] = [pid for pid, state in workers_of(partner_app).items() if state == "busy"]

    os.kill(busy, signal.SIGKILL)
    gate.open.set()
    job = wait_for(job)

    assert (job.state, job.error) == (JobState.FINISHED, None)
    assert [source.last_error for source in read_signs().sources] == [None]
    assert stored() == PAGES * SIZE
    wait_until(lambda: are_idle(partner_app, parent.pid))
    assert busy not in children_of(parent.pid)


def test_a_part_whose_worker_is_killed_in_each_try_is_told(
    partner_app: Flask, httpserver: HTTPServer, start_pool: StartPool
) -> None:
    make_pipeline(external_id="p")
    asked, answered = threading.Semaphore(0), threading.Semaphore(0)

    def handle(request: Request) -> Response:
        asked.release()
        answered.acquire(timeout=60)
        return Response(json.dumps(page(run(1))))

    httpserver.expect_request("/pipelines/p/runs").respond_with_handler(handle)
    start_pool(["-c", QUICK])
    job, _ = request_sync(scope=SyncScope())

    for _ in range(TRIES):
        # Whoever looks at a job sees to it that it goes on.
        wait_until(lambda: get_job(job_id=job.id).state.is_live and asked.acquire(blocking=False))
        [busy] = [pid for pid, state in workers_of(partner_app).items() if state == "busy" and is_alive(pid)]
        horses = children_of(busy)
        os.kill(busy, signal.SIGKILL)
        # They end with it, but a moment later: in that one might take the answer, and be done.
        wait_until(lambda horses=horses: not any(map(is_alive, horses)))  # type: ignore[misc]
        answered.release()

    assert_is_told(wait_for(job), DIED)


def test_whoever_looks_at_a_job_has_it_told_when_no_worker_is_left_to(
    partner_app: Flask, gate: Gate, start_pool: StartPool
) -> None:
    parent = start_pool(["-c", QUICK])
    job = gate.begin_job()
    # As if it had died in each try before.
    Redis.from_url(partner_app.config["CHM"].redis_url).hset(f"rq:job:{job.id}-0", "retries_left", 0)

    for pid in (parent.pid, *children_of(parent.pid)):
        os.kill(pid, signal.SIGKILL)
    gate.open.set()

    assert_is_told(wait_for(job), DIED)


def test_part_that_had_told_its_end_has_ended_though_its_worker_died_before_that_was_noted(
    partner_app: Flask, gate: Gate, start_pool: StartPool
) -> None:
    parent = start_pool(["-c", QUICK])
    job = gate.begin_job()
    redis = Redis.from_url(partner_app.config["CHM"].redis_url)
    redis.hset(f"rq:job:{job.id}-0", "retries_left", 0)
    processes = [parent.pid, *children_of(parent.pid)]
    processes += [horse for worker in processes[1:] for horse in children_of(worker)]

    for pid in processes:
        os.kill(pid, signal.SIGKILL)
    # The last that its work horse had done.
    end_part(redis, part_id=f"{job.id}-0", source="partner", scope=SyncScope(), error=None)
    gate.open.set()

    ended = wait_for(job)
    [source] = read_signs().sources
    assert (ended.state, ended.error) == (JobState.FINISHED, None)
    assert ended.ended_at is not None and source.last_success_at is not None


def test_workers_end_after_their_jobs_when_the_pool_itself_is_killed(gate: Gate, start_pool: StartPool) -> None:
    parent = start_pool(REAL)
    children = children_of(parent.pid)
    job = gate.begin_job()

    parent.kill()
    parent.wait(10)
    gate.open.set()

    assert wait_for(job).state is JobState.FINISHED
    wait_until(lambda: not any(is_alive(pid) for pid in children))


def is_alive(pid: int) -> bool:
    """Whether a process runs: one that has ended may wait for somebody to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_workers_that_keep_dying_are_given_more_and_more_time(
    partner_app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_work", lambda *arguments: os._exit(3))
    monkeypatch.setattr(pool, "FIRST_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(pool, "LONGEST_PAUSE_SECONDS", 0.5)
    workers = pool._Pool(partner_app, 1)
    started: list[tuple[str, float]] = []
    while len(started) < 6:
        workers.check_workers()
        if workers.worker_dict and (not started or started[-1][0] not in workers.worker_dict):
            started.append((next(iter(workers.worker_dict)), time.monotonic()))
        time.sleep(0.005)
    workers.all_workers_have_stopped()

    pauses = [later[1] - earlier[1] for earlier, later in itertools.pairwise(started)]
    # Each is at least what is asked for: 0.2, 0.4, 0.5 and no more.
    assert all(took >= least for took, least in zip(pauses, (0.2, 0.4, 0.5, 0.5, 0.5), strict=True)), pauses
    assert max(pauses) < 2


@pytest.mark.parametrize("count", ["0", "65", "many"])
def test_a_number_of_workers_that_cannot_be_is_refused(partner_app: Flask, count: str) -> None:
    done = partner_app.test_cli_runner().invoke(worker, ["--count", count])

    assert done.exit_code == 2
    assert "--count" in done.output
