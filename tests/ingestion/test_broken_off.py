"""Parts that are broken off again and again: in the end their job and their source say so, with real workers."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from pytest_httpserver import HTTPServer
from redis import Redis
from werkzeug import Request, Response

from chm_web.ingestion.progress import IngestionJob, JobState, SyncScope
from chm_web.ingestion.queue import asking, read_queue_figures, read_signs, request_sync
from chm_web.ingestion.queue.ending import TRIES
from tests.factories import make_pipeline
from tests.ingestion.conftest import WorkerProcess, children_of, wait_for, wait_until
from tests.ingestion.partners import page, run
from tests.ingestion.test_signs import ALL, ANY_PIPELINE

StartWorker = Callable[[], WorkerProcess]

GO_ON = "What was read is kept, and the next cycle goes on with the rest."
DIED = (
    "The worker died in the last of 4 tries to read this source: out of memory, killed, or its machine went down. "
    f"Its log or the machine's says which. {GO_ON}"
)


def assert_is_told(job: IngestionJob, words: str) -> None:
    """Hold that a job of the schedule and its one source say why the reading ended, and do not blame the platform."""
    [source] = read_signs().sources
    assert (job.state, job.error) == (JobState.FAILED, f"partner: {words}")
    assert (source.last_error, source.last_success_at, source.failures) == (words, None, 0)
    assert job.ended_at is not None and source.last_error_at is not None
    assert source.last_error_at >= job.ended_at
    assert [(one.outcome, one.within[-1]) for one in read_queue_figures().durations] == [("failed", 1)]


def serve_slowly(server: HTTPServer, seconds: float) -> list[str]:
    """Serve every pipeline a run, after some time. Gives the paths asked for, as they come."""
    asked: list[str] = []

    def handle(request: Request) -> Response:
        asked.append(request.path)
        time.sleep(seconds)
        return Response(json.dumps(page(run(1))))

    server.expect_request(ANY_PIPELINE).respond_with_handler(handle)
    return asked


def test_work_horse_that_is_killed_in_each_try_is_told(
    partner_app: Flask, httpserver: HTTPServer, start_worker: StartWorker
) -> None:
    make_pipeline()
    asked = serve_slowly(httpserver, 0.5)
    worker = start_worker()
    others = set(children_of(worker.process.pid))

    job, _ = request_sync(scope=ALL)
    for tried in range(TRIES):
        wait_until(lambda tried=tried: len(asked) > tried)  # type: ignore[misc]
        [horse] = set(children_of(worker.process.pid)) - others
        os.kill(horse, signal.SIGKILL)

    assert_is_told(wait_for(job), DIED)
    assert len(asked) == TRIES


def test_reading_that_takes_too_long_in_each_try_is_told(
    partner_app: Flask, httpserver: HTTPServer, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pipeline()
    serve_slowly(httpserver, 2)
    monkeypatch.setattr(asking, "PART_TIMEOUT", timedelta(seconds=1))
    start_worker()

    job = wait_for(request_sync(scope=ALL)[0])

    last = "In the last of 4 tries to read this source it was broken off after 1 s, the longest it may take."
    assert_is_told(job, f"{last} {GO_ON}")


def test_error_that_nobody_expects_is_told_by_its_kind(partner_app: Flask, start_worker: StartWorker) -> None:
    make_pipeline()
    # Where a hash is expected.
    Redis.from_url(partner_app.config["CHM"].redis_url).set("chm:watermark:partner", "no hash")
    start_worker()

    job = wait_for(request_sync(scope=ALL)[0])

    told = "An error that CHM did not expect (ResponseError) ended the last of 4 tries to read this source."
    assert_is_told(job, f"{told} The worker's log has all of it. {GO_ON}")


def test_source_that_is_read_after_all_has_its_success(
    partner_app: Flask, httpserver: HTTPServer, start_worker: StartWorker
) -> None:
    make_pipeline()
    httpserver.expect_request(ANY_PIPELINE).respond_with_json(page(run(1)))
    redis = Redis.from_url(partner_app.config["CHM"].redis_url)
    redis.set("chm:watermark:partner", "no hash")
    start_worker()
    wait_for(request_sync(scope=SyncScope(source="partner"))[0])

    redis.delete("chm:watermark:partner")
    job = wait_for(request_sync(scope=ALL)[0])

    [source] = read_signs().sources
    assert job.state is JobState.FINISHED
    assert source.last_success_at is not None and source.last_error_at is not None
    assert source.last_success_at > source.last_error_at
