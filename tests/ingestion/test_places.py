"""Places at a host: how much is asked for at once, of several sources, by several workers. On a real Redis."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from pytest_httpserver import HTTPServer
from redis import Redis
from werkzeug import Request, Response

from chm_web.config import ROOT, Config
from chm_web.ingestion.client import SourceBusy
from chm_web.ingestion.job import open_client
from chm_web.ingestion.progress import JobState, SyncScope
from chm_web.ingestion.queue import get_job, places, request_sync
from chm_web.ingestion.queue.places import HostPlaces, places_of
from tests.factories import make_pipeline
from tests.ingestion.conftest import WorkerProcess, app_reading, wait_for, wait_until, workers_of
from tests.ingestion.partners import FAST, answers, base_url, page, run, source_at

StartWorker = Callable[[], WorkerProcess]

ANY_PIPELINE = re.compile("/.*/pipelines/.*/runs")


@pytest.fixture
def redis(app: Flask) -> Redis:
    """A Redis without places that are taken."""
    return Redis.from_url(app.config["CHM"].redis_url)


def places_at(redis: Redis, host: str = "partner.example", *, count: int = 2, hold_seconds: float = 30) -> HostPlaces:
    """The places at a host, as another process would take them."""
    return HostPlaces(redis, host, count=count, hold_seconds=hold_seconds)


@pytest.fixture
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whoever finds no place go away soon."""
    monkeypatch.setattr(places, "SHORT_WAIT_SECONDS", 0.3)


# -- one host -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("haste")
def test_who_finds_no_place_is_told_to_come_back(redis: Redis) -> None:
    mine, theirs = places_at(redis), places_at(redis)

    told = r"may be \(2\) are under way at partner"
    with theirs.take(), theirs.take(), pytest.raises(SourceBusy, match=told) as err, mine.take():
        pass

    assert err.value.retry_after == 0.3
    with mine.take(), mine.take():
        assert redis.keys("chm:lock:host:*")
    assert redis.keys("chm:lock:host:*") == []


@pytest.mark.usefixtures("haste")
def test_places_at_another_host_are_others(redis: Redis) -> None:
    with places_at(redis, count=1).take(), places_at(redis, "other.example", count=1).take():
        assert len(redis.keys("chm:lock:host:*")) == 2


@pytest.mark.usefixtures("haste")
def test_who_has_a_request_under_way_goes_on_with_fewer_at_once(redis: Redis) -> None:
    mine, theirs = places_at(redis), places_at(redis)
    given: list[float] = []
    began = time.monotonic()

    def ask() -> None:
        with mine.take():
            given.append(time.monotonic() - began)

    with theirs.take():
        with mine.take():
            waiting = threading.Thread(target=ask)
            waiting.start()
            # Longer than anybody waits who has nothing under way.
            time.sleep(1)
        waiting.join()

    assert len(given) == 1
    assert given[0] >= 1


def test_a_place_that_was_lost_meanwhile_spoils_nothing(redis: Redis) -> None:
    with places_at(redis, count=1).take():
        redis.flushdb()

    with places_at(redis, count=1).take():
        assert redis.keys("chm:lock:host:*")


HOLDER = """
import sys, time
from redis import Redis
from chm_web.ingestion.queue.places import HostPlaces

held = HostPlaces(Redis.from_url(sys.argv[1]), "partner.example", count=2, hold_seconds=2)
with held.take(), held.take():
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_process_that_is_killed_gives_its_places_back(app: Flask, redis: Redis) -> None:
    command = [sys.executable, "-c", HOLDER, app.config["CHM"].redis_url]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.kill()
    held = len(redis.keys("chm:lock:host:*"))

    with places_at(redis).take(), places_at(redis).take():
        pass

    assert held == 2


@pytest.mark.parametrize("name", ["partner.example", "Partner.example", "partner.example."])
def test_sources_share_a_host_whatever_their_ports_and_paths(redis: Redis, name: str) -> None:
    config = replace(FAST, http_max_requests_per_host=1)
    one, other = (
        places_of(source_at(f"http://{address}"), redis=redis, config=config)
        for address in (f"{name}:8080/a", "partner.example/b")
    )

    with one.take():
        assert redis.exists("chm:lock:host:partner.example:0")
        assert other._take_free_one() is None


# -- requests -------------------------------------------------------------------------------------------------------


def test_each_request_has_a_place_and_a_pause_between_tries_has_none(httpserver: HTTPServer) -> None:
    held: list[float] = []

    @contextmanager
    def place() -> Iterator[None]:
        began = time.monotonic()
        yield
        held.append(time.monotonic() - began)

    seen = answers(httpserver, (429, {"Retry-After": "1"}), (503, {}), page(run(1)))

    with open_client(source_at(base_url(httpserver)), FAST, place=place) as client:
        client.get("/pipelines/p/runs", {})

    assert (len(seen), len(held)) == (3, 3)
    assert max(held) < 1


# -- workers --------------------------------------------------------------------------------------------------------


class Crowd:
    """A partner that counts how many requests are under way at once, at most."""

    def __init__(self, server: HTTPServer) -> None:
        self.most = 0
        self._under_way = 0
        self._guard = threading.Lock()
        server.expect_request(ANY_PIPELINE).respond_with_handler(self._handle)

    def _handle(self, request: Request) -> Response:
        with self._guard:
            self._under_way += 1
            self.most = max(self.most, self._under_way)
        time.sleep(0.1)
        with self._guard:
            self._under_way -= 1
        return Response(json.dumps(page(run(1))))


@pytest.fixture
def httpserver() -> Iterator[HTTPServer]:
    """A server that answers several requests at once."""
    with HTTPServer(threaded=True) as server:
        yield server


CAP = 3


@pytest.fixture
def partner_app(committed_app: Flask, config: Config, httpserver: HTTPServer, tmp_path: Path) -> Iterator[Flask]:
    """An app with two sources on one host, which may be asked for three things at once."""
    path = tmp_path / "sources.toml"
    path.write_text(f'[sources.second]\nkind = "partner"\nbase_url = "{base_url(httpserver)}/second"\n')
    first = f"{base_url(httpserver)}/first"
    with app_reading(httpserver, config, sources_file=path, partner_api_base_url=first) as app:
        yield app


@pytest.fixture
def worker_environ(worker_environ: dict[str, str]) -> dict[str, str]:
    """The environment of workers that keep to the cap."""
    return {**worker_environ, "CHM_HTTP_MAX_REQUESTS_PER_HOST": str(CAP)}


def test_two_sources_and_two_workers_keep_to_the_cap_together(
    partner_app: Flask, httpserver: HTTPServer, start_worker: StartWorker
) -> None:
    crowd = Crowd(httpserver)
    pipelines = [make_pipeline() for _ in range(24)]
    start_worker(), start_worker()

    job = wait_for(request_sync(scope=SyncScope(), requested_by="jo")[0])

    assert (job.state, job.error) == (JobState.FINISHED, None)
    assert job.pipelines_done == 2 * len(pipelines)
    # Alone, each of the two workers would ask for four things at once.
    assert crowd.most == CAP


@pytest.mark.slow
def test_a_part_that_finds_no_place_lets_go_of_its_worker_and_comes_back(
    partner_app: Flask, httpserver: HTTPServer, start_worker: StartWorker
) -> None:
    Crowd(httpserver)
    make_pipeline()
    redis = Redis.from_url(partner_app.config["CHM"].redis_url)
    taken = [redis.lock(f"chm:lock:host:localhost:{number}", timeout=120) for number in range(CAP)]
    assert all(lock.acquire(blocking=False) for lock in taken)
    worker = start_worker()

    job, _ = request_sync(scope=SyncScope(source="second"), requested_by="jo")
    wait_until(lambda: get_job(job_id=job.id).waiting_for)
    waiting = get_job(job_id=job.id)
    wait_until(lambda: workers_of(partner_app)[worker.process.pid] == "idle")
    taken[0].release()
    job = wait_for(job)

    assert waiting.waiting_for == f"As many requests as may be ({CAP}) are under way at localhost."
    assert (waiting.state, job.state, job.counts.created) == (JobState.QUEUED, JobState.FINISHED, 1)
