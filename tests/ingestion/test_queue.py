"""Ingestion jobs from the press of the button to their end, with real workers on a real Redis."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from flask import Flask
from pytest_httpserver import HTTPServer
from redis import Redis
from rq import Queue
from werkzeug import Request, Response

from chm_web.extensions import db
from chm_web.ingestion.progress import JobState, SyncScope
from chm_web.ingestion.queue import (
    check_workers,
    count_live_workers,
    find_live_job,
    get_job,
    last_job,
    last_jobs,
    latest_jobs,
    list_rejected,
    list_unread,
    read_signs,
    request_sync,
)
from chm_web.ingestion.sources import SHARDS
from chm_web.models import Pipeline, Platform, Run
from chm_web.services.exceptions import Conflict, NotFound, Unavailable
from tests.factories import make_client, make_pipeline
from tests.ingestion.conftest import WorkerProcess, children_of, wait_for, wait_until
from tests.ingestion.partners import page, run

ALL = SyncScope()
ANY_PIPELINE = re.compile("/pipelines/.*/runs")
StartWorker = Callable[[], WorkerProcess]


def stored(pipeline: Pipeline | None = None) -> int:
    """How many runs are committed."""
    db.session.rollback()
    query = sa.select(sa.func.count()).select_from(Run)
    return db.session.scalar(query.where(Run.pipeline_id == pipeline.id) if pipeline else query) or 0


def serve_pages(server: HTTPServer, pages: int, *, size: int = 10, pause: float = 0.0) -> list[str]:
    """Serve every pipeline this many pages. Gives the paths asked for, as they come."""
    asked: list[str] = []

    def handle(request: Request) -> Response:
        asked.append(request.path)
        time.sleep(pause)
        number = int(request.args.get("cursor", 0))
        runs = [run(n) for n in range(number * size, (number + 1) * size)]
        return Response(json.dumps(page(*runs, cursor=number + 1 if number + 1 < pages else None)))

    server.expect_request(ANY_PIPELINE).respond_with_handler(handle)
    return asked


# -- asking -------------------------------------------------------------------------------------------------------


def test_pressing_twice_gives_the_same_job(partner_app: Flask) -> None:
    make_pipeline()
    first, is_new = request_sync(scope=ALL)
    again, is_new_again = request_sync(scope=ALL)
    assert (first.id, is_new, is_new_again) == (again.id, True, False)


def test_pressing_at_the_same_moment_gives_one_job(partner_app: Flask) -> None:
    make_pipeline()
    ids: list[str] = []
    start = threading.Barrier(6)

    def press() -> None:
        with partner_app.app_context():
            start.wait()
            ids.append(request_sync(scope=ALL)[0].id)

    threads = [threading.Thread(target=press) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(ids), len(set(ids))) == (6, 1)


def test_a_live_job_that_covers_a_narrower_scope_is_given_back(partner_app: Flask) -> None:
    pipeline = make_pipeline()
    everything, _ = request_sync(scope=ALL)
    narrow, is_new = request_sync(scope=SyncScope(pipeline_id=pipeline.id))
    assert (narrow.id, is_new) == (everything.id, False)
    assert find_live_job(scope=SyncScope(client_id=pipeline.client_id)) == narrow


def test_a_clients_job_covers_a_pipeline_of_it(partner_app: Flask) -> None:
    pipeline = make_pipeline()
    of_client, _ = request_sync(scope=SyncScope(client_id=pipeline.client_id))
    assert request_sync(scope=SyncScope(pipeline_id=pipeline.id)) == (of_client, False)


def test_a_wider_scope_is_another_job(partner_app: Flask) -> None:
    pipeline = make_pipeline()
    narrow, _ = request_sync(scope=SyncScope(pipeline_id=pipeline.id))
    wide, is_new = request_sync(scope=ALL)
    assert (wide.id != narrow.id, is_new) == (True, True)


@pytest.mark.parametrize(
    ("make_scope", "error", "words"),
    [
        (lambda: SyncScope(client_id=uuid4()), NotFound, "no client"),
        (lambda: SyncScope(pipeline_id=uuid4()), NotFound, "no pipeline"),
        (lambda: SyncScope(source="nobody"), NotFound, "There is: partner"),
        (lambda: SyncScope(client_id=make_client(is_active=False).id), Conflict, "client is disabled"),
        (lambda: SyncScope(pipeline_id=make_pipeline(is_active=False).id), Conflict, "pipeline is disabled"),
        (lambda: SyncScope(client_id=make_client().id), Conflict, "nothing to read"),
        (lambda: SyncScope(pipeline_id=make_pipeline(platform=Platform.CRON).id), Conflict, "nothing to read"),
        (lambda: SyncScope(pipeline_id=make_pipeline(external_id=None).id), Conflict, "nothing to read"),
        (lambda: SyncScope(make_client().id, make_pipeline().id), Conflict, "another client"),
    ],
)
def test_a_scope_that_cannot_be_read_is_refused_in_words(
    partner_app: Flask, make_scope: Callable[[], SyncScope], error: type[Exception], words: str
) -> None:
    scope = make_scope()
    with pytest.raises(error, match=words):
        request_sync(scope=scope)
    assert latest_jobs() == []


def test_without_a_source_it_says_what_to_configure(app: Flask) -> None:
    with pytest.raises(Conflict, match="CHM_PARTNER_API_BASE_URL"):
        request_sync(scope=ALL)


def test_a_job_nobody_knows_is_not_found(partner_app: Flask) -> None:
    with pytest.raises(NotFound):
        get_job(job_id="nothing")
    with pytest.raises(NotFound):
        list_rejected(job_id="nothing")


def test_without_a_worker_it_says_so(partner_app: Flask) -> None:
    with pytest.raises(Unavailable, match="chm worker"):
        check_workers()


def test_the_last_job_is_told_for_every_scope_it_covers(partner_app: Flask) -> None:
    pipeline, other = make_pipeline(), make_pipeline()
    of_client, _ = request_sync(scope=SyncScope(client_id=pipeline.client_id))
    mine = SyncScope(client_id=pipeline.client_id, pipeline_id=pipeline.id)
    assert last_job(scope=mine) == of_client
    assert last_job(scope=SyncScope(client_id=other.client_id)) is None
    assert last_job(scope=ALL) is None


def test_the_last_jobs_of_many_scopes_are_those_of_each(partner_app: Flask) -> None:
    pipeline, other, idle = make_pipeline(), make_pipeline(), make_pipeline(is_active=False)
    scopes = [SyncScope(client_id=each.client_id) for each in (pipeline, other, idle)]
    mine, _ = request_sync(scope=scopes[0])
    its, _ = request_sync(scope=scopes[1])
    assert last_jobs(scopes=scopes) == {scopes[0]: mine, scopes[1]: its}
    wide, _ = request_sync(scope=ALL)
    assert last_jobs(scopes=scopes) == dict.fromkeys(scopes, wide)
    assert last_jobs(scopes=[]) == {}


def test_many_narrow_jobs_do_not_hide_the_last_wide_one(partner_app: Flask) -> None:
    pipelines = [make_pipeline() for _ in range(25)]
    narrow = [request_sync(scope=SyncScope(pipeline_id=pipeline.id))[0] for pipeline in pipelines]
    wide, _ = request_sync(scope=ALL)
    for pipeline in pipelines:
        request_sync(scope=SyncScope(pipeline_id=pipeline.id))
    assert last_job(scope=ALL) == wide
    assert len({job.id for job in narrow}) == 25


def test_a_held_request_lock_is_a_matter_of_trying_again(partner_app: Flask) -> None:
    make_pipeline()
    Redis.from_url(partner_app.config["CHM"].redis_url).lock("chm:lock:request", timeout=30).acquire()
    with pytest.raises(Unavailable, match="Try again"):
        request_sync(scope=ALL)


def test_a_look_while_a_job_is_being_enqueued_does_not_lose_it(
    partner_app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pipeline()
    seen: list[JobState] = []

    def look_then_enqueue(self: Queue, *args: Any, **kwargs: Any) -> Any:
        seen.extend(job.state for job in latest_jobs())
        find_live_job(scope=ALL)
        return enqueue(self, *args, **kwargs)

    enqueue = Queue.enqueue
    monkeypatch.setattr(Queue, "enqueue", look_then_enqueue)
    job, _ = request_sync(scope=ALL)
    assert seen == [JobState.QUEUED]
    assert find_live_job(scope=ALL) == job


# -- doing --------------------------------------------------------------------------------------------------------


def test_a_job_reads_every_pipeline_and_ends_with_its_counts(
    partner_app: Flask, httpserver: HTTPServer, start_worker: StartWorker
) -> None:
    pipelines = [make_pipeline() for _ in range(SHARDS + 2)]
    make_pipeline(platform=Platform.CRON)
    make_pipeline(is_active=False)
    make_pipeline(make_client(is_active=False))
    serve_pages(httpserver, 3)
    start_worker()
    job = wait_for(request_sync(scope=ALL)[0])
    assert job.state is JobState.FINISHED, job.error
    assert (job.counts.pages, job.counts.created) == (18, 180)
    assert (job.pipelines_done, job.pipelines_total) == (6, 6)
    assert [source.name for source in job.sources] == ["partner"]
    assert all(stored(pipeline) == 30 for pipeline in pipelines)
    assert job.started_at is not None
    assert job.ended_at is not None
    assert job.requested_at <= job.started_at <= job.ended_at


def test_after_it_ended_the_next_press_is_a_new_job_that_changes_nothing(
    partner_app: Flask, httpserver: HTTPServer, start_worker: StartWorker
) -> None:
    make_pipeline()
    serve_pages(httpserver, 2)
    start_worker()
    first = wait_for(request_sync(scope=ALL)[0])
    second = wait_for(request_sync(scope=ALL)[0])
    assert first.id != second.id
    assert (second.counts.created, second.counts.updated, second.counts.unchanged) == (0, 0, 20)
    assert [job.id for job in latest_jobs()] == [second.id, first.id]


def test_once_a_day_what_changed_in_two_days_is_read_again(
    partner_app: Flask, httpserver: HTTPServer, start_worker: StartWorker
) -> None:
    pipeline = make_pipeline()
    httpserver.expect_request(ANY_PIPELINE).respond_with_json(page(run(1)))
    start_worker()
    wait_for(request_sync(scope=ALL)[0])
    redis = Redis.from_url(partner_app.config["CHM"].redis_url)
    redis.hset("chm:deep:partner", str(pipeline.id), (datetime.now(UTC) - timedelta(hours=25)).isoformat())

    for _ in range(2):
        wait_for(request_sync(scope=ALL)[0])

    first, deep, after = (request.args.get("updated_since") for request, _ in httpserver.log)
    assert first is None
    assert datetime.fromisoformat(str(deep)) <= datetime.now(UTC) - timedelta(hours=48)
    assert datetime.fromisoformat(str(after)) > datetime.now(UTC) - timedelta(hours=1)


def test_a_client_scope_reads_that_clients_pipelines_alone(
    partner_app: Flask, httpserver: HTTPServer, start_worker: StartWorker
) -> None:
    client = make_client()
    mine, other = make_pipeline(client), make_pipeline()
    serve_pages(httpserver, 1)
    start_worker()
    wait_for(request_sync(scope=SyncScope(client_id=client.id))[0])
    assert (stored(mine), stored(other)) == (10, 0)


def test_a_refusal_ends_the_job_as_failed_with_the_reason(
    partner_app: Flask, httpserver: HTTPServer, start_worker: StartWorker
) -> None:
    make_pipeline()
    httpserver.expect_request(ANY_PIPELINE).respond_with_data("no", status=401)
    start_worker()
    job = wait_for(request_sync(scope=ALL)[0])
    assert job.state is JobState.FAILED
    assert job.error == (
        "partner: localhost refused access (401): the credentials are missing, wrong or expired. It said: no"
    )


def test_a_job_finishes_without_a_pipeline_that_the_platform_does_not_know(
    partner_app: Flask, httpserver: HTTPServer, start_worker: StartWorker
) -> None:
    known, unknown = make_pipeline(external_id="known"), make_pipeline(external_id="unknown")
    httpserver.expect_request("/pipelines/unknown/runs").respond_with_data("no", status=404)
    httpserver.expect_request("/pipelines/known/runs").respond_with_json(page(run(1)))
    start_worker()
    job = wait_for(request_sync(scope=ALL)[0])
    assert (job.state, job.error, stored(known)) == (JobState.FINISHED, None, 1)
    why = "localhost does not know it (404). It said: no"
    assert job.warning == f"partner: 1 of 2 pipelines could not be read. unknown: {why}"
    [unread] = list_unread(job_id=job.id)
    assert (unread.pipeline_id, unread.external_id, unread.reason) == (unknown.id, "unknown", why)


def test_a_job_that_could_read_no_pipeline_has_failed(
    partner_app: Flask, httpserver: HTTPServer, start_worker: StartWorker
) -> None:
    for number in range(SHARDS + 1):
        make_pipeline(external_id=f"p-{number}")
    httpserver.expect_request(ANY_PIPELINE).respond_with_data("no", status=404)
    start_worker()
    job = wait_for(request_sync(scope=ALL)[0])
    assert (job.state, job.warning) == (JobState.FAILED, None)
    assert f"{SHARDS + 1} of {SHARDS + 1} pipelines could not be read." in (job.error or "")


def test_every_rejected_run_is_told_with_its_reason(
    partner_app: Flask, httpserver: HTTPServer, start_worker: StartWorker
) -> None:
    pipeline = make_pipeline()
    runs = [run(1), run(2, rows_processed=-1), run(3, status=None), run(4)]
    httpserver.expect_request(ANY_PIPELINE).respond_with_json(page(*runs))
    start_worker()
    job = wait_for(request_sync(scope=ALL)[0])
    assert (job.state, job.counts.created, job.counts.rejected) == (JobState.FINISHED, 2, 2)
    told = {item.external_run_id: item.reason for item in list_rejected(job_id=job.id)}
    assert told.keys() == {"run-2", "run-3"}
    assert told["run-3"] == "status: is missing"
    assert stored(pipeline) == 2


def test_a_source_is_not_read_twice_at_once(
    partner_app: Flask, httpserver: HTTPServer, start_worker: StartWorker
) -> None:
    pipeline = make_pipeline()
    asked = serve_pages(httpserver, 1)
    redis = Redis.from_url(partner_app.config["CHM"].redis_url)
    shard = pipeline.id.int % SHARDS
    somebody_else = redis.lock(f"chm:lock:source:partner:{shard}", timeout=60)
    assert somebody_else.acquire(blocking=False)
    start_worker()
    job, _ = request_sync(scope=ALL)
    time.sleep(4)
    assert (asked, get_job(job_id=job.id).state.is_live) == ([], True)
    somebody_else.release()
    assert wait_for(job).state is JobState.FINISHED


def test_a_job_that_is_asked_to_wait_comes_back_by_itself(
    partner_app: Flask, httpserver: HTTPServer, start_worker: StartWorker
) -> None:
    make_pipeline()
    bad = run(2, rows_processed=-1)
    httpserver.expect_ordered_request(ANY_PIPELINE).respond_with_json(page(run(1), bad, cursor="c1"))
    httpserver.expect_ordered_request(ANY_PIPELINE).respond_with_data("", status=429, headers={"Retry-After": "6"})
    httpserver.expect_ordered_request(ANY_PIPELINE).respond_with_json(page(run(3)))
    start_worker()
    job, _ = request_sync(scope=ALL)
    wait_until(lambda: get_job(job_id=job.id).waiting_for)
    waiting = get_job(job_id=job.id)
    assert (waiting.state, waiting.waiting_for) == (JobState.QUEUED, "localhost asks for a pause of 6 s (429).")
    assert waiting.waiting_until is not None
    job = wait_for(job)
    # What the first visit counted and rejected is still told.
    assert (job.state, job.counts.created, job.counts.rejected) == (JobState.FINISHED, 2, 1)
    assert [item.external_run_id for item in list_rejected(job_id=job.id)] == ["run-2"]
    assert (job.waiting_for, stored()) == (None, 2)


def test_a_killed_work_horse_is_followed_by_another(
    partner_app: Flask, httpserver: HTTPServer, start_worker: StartWorker
) -> None:
    pipeline = make_pipeline()
    asked = serve_pages(httpserver, 6, pause=0.3)
    worker = start_worker()
    idle = set(children_of(worker.process.pid))
    job, _ = request_sync(scope=ALL)
    wait_until(lambda: len(asked) >= 3)
    for horse in set(children_of(worker.process.pid)) - idle:
        os.kill(horse, signal.SIGKILL)
    job = wait_for(job)
    assert (job.state, stored(pipeline)) == (JobState.FINISHED, 60)
    # It went on behind the last page that had been committed.
    assert asked.count(asked[0]) == 7
    # What went well in the end is nobody's error.
    assert [source.last_error for source in read_signs().sources] == [None]


@pytest.mark.slow
def test_the_work_of_a_killed_worker_is_taken_up_by_another(
    partner_app: Flask, httpserver: HTTPServer, start_worker: StartWorker
) -> None:
    pipeline = make_pipeline()
    asked = serve_pages(httpserver, 6, pause=0.3)
    worker = start_worker()
    job, _ = request_sync(scope=ALL)
    wait_until(lambda: len(asked) >= 3)
    worker.kill()
    start_worker()
    job = wait_for(job, seconds=90)
    assert (job.state, stored(pipeline)) == (JobState.FINISHED, 60)


def test_a_worker_stops_when_asked(partner_app: Flask, start_worker: StartWorker) -> None:
    worker = start_worker()
    assert count_live_workers() == 1
    assert worker.stop() == 0
    assert count_live_workers() == 0


def test_a_worker_that_is_asked_to_stop_finishes_its_part(
    partner_app: Flask, start_worker: StartWorker, httpserver: HTTPServer
) -> None:
    pipeline = make_pipeline(external_id="p")
    asked = serve_pages(httpserver, 6, pause=0.3)
    worker = start_worker()
    job, _ = request_sync(scope=ALL)
    wait_until(lambda: len(asked) >= 2)

    assert worker.stop() == 0

    job = get_job(job_id=job.id)
    assert (job.state, stored(pipeline)) == (JobState.FINISHED, 60)
