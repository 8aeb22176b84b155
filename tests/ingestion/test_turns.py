"""The turns of a cycle's sources: real workers, a real Redis, and partners that note when they are asked."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from chm_web.config import Config
from chm_web.ingestion.progress import IngestionJob, JobState, SyncScope
from chm_web.ingestion.queue import get_job, read_signs, request_sync
from tests.factories import make_pipeline
from tests.ingestion.conftest import WorkerProcess, app_reading, wait_for, wait_until
from tests.ingestion.partners import base_url, page, run

StartWorker = Callable[[], WorkerProcess]

ALL = SyncScope()
IN_TURN = "The schedule begins with one source after the other."
# Three sources: the second begins 20 s after the first, the third 40.
EVERY = 3600


@pytest.fixture
def partner_app(committed_app: Flask, config: Config, httpserver: HTTPServer, tmp_path: Path) -> Iterator[Flask]:
    """An app with three sources on one server: ``partner``, ``second`` and ``third``, each asked for one pipeline."""
    address = base_url(httpserver)
    path = tmp_path / "sources.toml"
    path.write_text(
        "".join(f'[sources.{name}]\nkind = "partner"\nbase_url = "{address}/{name}"\n' for name in ("second", "third"))
    )
    changed = {"partner_api_base_url": f"{address}/partner", "ingest_every_seconds": EVERY}
    with app_reading(httpserver, config, sources_file=path, **changed) as app:
        make_pipeline(external_id="p")
        yield app


@pytest.fixture
def asked(httpserver: HTTPServer) -> dict[str, datetime]:
    """When each source was asked first, once it was."""
    found: dict[str, datetime] = {}

    def handle(request: Request) -> Response:
        found.setdefault(request.path.split("/")[1], datetime.now(UTC))
        return Response(json.dumps(page(run(1))))

    for name in ("partner", "second", "third"):
        httpserver.expect_request(f"/{name}/pipelines/p/runs").respond_with_handler(handle)
    return found


def waits(job: IngestionJob) -> dict[str, str | None]:
    """What each source of a job waits for."""
    return {source.name: source.waiting_for for source in get_job(job_id=job.id).sources}


def test_what_the_schedule_asks_for_begins_in_turn_and_says_so(partner_app: Flask) -> None:
    job, _ = request_sync(scope=ALL)

    turns = [job.requested_at + timedelta(seconds=seconds) for seconds in (0, 20, 40)]
    assert waits(job) == {"partner": None, "second": IN_TURN, "third": IN_TURN}
    assert [source.waiting_until for source in job.sources] == [None, *turns[1:]]
    assert [source.begins_at for source in read_signs().sources] == turns
    asked_at = [source.asked_at for source in read_signs().sources]
    assert all(moment is not None and turns[0] <= moment < turns[1] for moment in asked_at)


def test_a_source_that_the_schedule_asks_for_alone_has_the_same_turn(partner_app: Flask) -> None:
    job, _ = request_sync(scope=SyncScope(source="third"))

    assert [source.waiting_until for source in job.sources] == [job.requested_at + timedelta(seconds=40)]


@pytest.mark.slow
def test_no_source_is_asked_before_its_turn(
    partner_app: Flask, asked: dict[str, datetime], start_worker: StartWorker
) -> None:
    # Two seconds and four.
    here = partner_app.extensions["chm_queue"]
    partner_app.extensions["chm_queue"] = replace(here, config=replace(here.config, ingest_every_seconds=60))
    start_worker()

    job = wait_for(request_sync(scope=ALL)[0])

    assert (job.state, job.counts.created, job.counts.unchanged) == (JobState.FINISHED, 1, 2)
    # RQ counts in whole seconds.
    for name, seconds in (("second", 1), ("third", 3)):
        assert asked[name] - job.requested_at >= timedelta(seconds=seconds)
    assert asked["partner"] < asked["second"] < asked["third"]


def test_who_presses_waits_for_no_turn(
    partner_app: Flask, asked: dict[str, datetime], start_worker: StartWorker
) -> None:
    start_worker()

    job, _ = request_sync(scope=ALL, requested_by="jo")

    assert waits(job) == {"partner": None, "second": None, "third": None}
    assert wait_for(job, seconds=15).state is JobState.FINISHED


def test_who_presses_while_the_schedules_job_goes_on_does_not_wait_for_its_turns(
    partner_app: Flask, asked: dict[str, datetime], start_worker: StartWorker
) -> None:
    start_worker()
    scheduled, _ = request_sync(scope=ALL)
    wait_until(lambda: "partner" in asked)

    joined, is_new = request_sync(scope=SyncScope(source="second"), requested_by="jo")

    assert (joined.id, is_new) == (scheduled.id, False)
    wait_until(lambda: "second" in asked, seconds=10)
    assert waits(joined)["third"] == IN_TURN
    assert [source.begins_at for source in read_signs().sources][2] == scheduled.requested_at + timedelta(seconds=40)

    joined, is_new = request_sync(scope=ALL, requested_by="jo")

    assert (joined.id, is_new, joined.waiting_for) == (scheduled.id, False, None)
    job = wait_for(joined, seconds=10)
    assert (job.state, job.counts.pages) == (JobState.FINISHED, 3)


def test_a_pause_that_a_platform_asks_for_is_kept_however_often_somebody_presses(
    partner_app: Flask, httpserver: HTTPServer, start_worker: StartWorker
) -> None:
    httpserver.expect_request("/partner/pipelines/p/runs").respond_with_data("", 429, headers={"Retry-After": "300"})
    start_worker()
    job, _ = request_sync(scope=SyncScope(source="partner"))
    wait_until(lambda: waits(job)["partner"])

    request_sync(scope=SyncScope(source="partner"), requested_by="jo")
    time.sleep(2)

    assert waits(job) == {"partner": "localhost asks for a pause of 300 s (429)."}
    assert len(httpserver.log) == 1


def test_the_schedule_asking_again_does_not_move_a_turn(partner_app: Flask) -> None:
    job, _ = request_sync(scope=ALL)

    again, is_new = request_sync(scope=ALL)

    assert (again, is_new) == (job, False)
