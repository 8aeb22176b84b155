"""Signs that ingestion goes on, and what is made of them when they stay away."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from flask import Flask
from pytest_httpserver import HTTPServer

from chm_web import create_app
from chm_web.config import Config
from chm_web.ingestion.problems import find_problems, ingestion_problems
from chm_web.ingestion.progress import SyncScope
from chm_web.ingestion.queue import Signs, SourceSigns, read_signs, request_sync
from chm_web.ingestion.sources import SHARDS
from chm_web.services.exceptions import Conflict
from chm_web.services.pipelines import disable_pipeline
from tests.factories import NOW, make_client, make_pipeline
from tests.ingestion.conftest import WorkerProcess, wait_for
from tests.ingestion.partners import page, run, source_at

StartWorker = Callable[[], WorkerProcess]

ANY_PIPELINE = re.compile(r"/pipelines/.*/runs")
ALL = SyncScope()
EVERY = timedelta(minutes=5)
WELL = Signs(
    worker_at=NOW - timedelta(seconds=20),
    schedule_at=NOW - timedelta(seconds=50),
    next_cycle_at=NOW + timedelta(minutes=3),
    sources=(SourceSigns(source=source_at("http://partner.example"), last_success_at=NOW - timedelta(minutes=2)),),
)


def signs_of(**values: object) -> SourceSigns:
    """The signs of the one source."""
    return replace(WELL.sources[0], **values)  # type: ignore[arg-type]


# -- what is made of them -----------------------------------------------------------------------------------------


def test_nothing_is_wrong_while_all_give_signs() -> None:
    assert find_problems(WELL, now=NOW, every=EVERY) == ()


def test_nothing_is_wrong_where_nothing_is_to_be_ingested() -> None:
    assert find_problems(Signs(), now=NOW, every=EVERY) == ()


@pytest.mark.parametrize(("seconds", "is_told"), [(89, False), (91, True)])
def test_worker_that_is_silent_is_told_after_a_while(seconds: int, is_told: bool) -> None:
    last = NOW - timedelta(seconds=seconds)

    problems = find_problems(replace(WELL, worker_at=last), now=NOW, every=EVERY)

    assert [(problem.what, problem.since) for problem in problems] == [("No worker is alive", last)] * is_told


@pytest.mark.parametrize(("seconds", "is_told"), [(149, False), (151, True)])
def test_schedule_that_is_silent_is_told_after_a_while(seconds: int, is_told: bool) -> None:
    last = NOW - timedelta(seconds=seconds)

    problems = find_problems(replace(WELL, schedule_at=last), now=NOW, every=EVERY)

    assert [(problem.what, problem.since) for problem in problems] == [("The schedule does not run", last)] * is_told


def test_worker_and_schedule_that_never_gave_a_sign_are_told() -> None:
    problems = find_problems(replace(WELL, worker_at=None, schedule_at=None), now=NOW, every=EVERY)

    assert [problem.what for problem in problems] == ["No worker is alive", "The schedule does not run"]


@pytest.mark.parametrize(
    ("signs", "what"),
    [
        (signs_of(last_success_at=NOW - timedelta(minutes=15)), []),
        (signs_of(last_success_at=NOW - timedelta(minutes=16)), ["Ingestion of partner is behind"]),
        # It has been read before: since when it is asked for again does not matter.
        (signs_of(awaited_since=NOW - timedelta(hours=2)), []),
        (signs_of(last_success_at=None), []),
        (signs_of(last_success_at=None, awaited_since=NOW - timedelta(minutes=14)), []),
        (signs_of(last_success_at=None, awaited_since=NOW - timedelta(minutes=16)), ["partner has not been read yet"]),
        # One bad cycle is told where the source is, not on every page.
        (signs_of(last_error="503", last_error_at=NOW), []),
    ],
)
def test_source_is_behind_after_three_cycles(signs: SourceSigns, what: list[str]) -> None:
    problems = find_problems(replace(WELL, sources=(signs,)), now=NOW, every=EVERY)

    assert [problem.what for problem in problems] == what


def test_redis_that_does_not_answer_is_a_problem_and_no_error(config: Config) -> None:
    away = replace(config, redis_url="redis://127.0.0.1:9", partner_api_base_url="http://127.0.0.1:9")

    with create_app(away).app_context():
        [problem] = ingestion_problems(now=NOW)

    assert problem.what == "The job queue (Redis) does not answer"


# -- what gives them ----------------------------------------------------------------------------------------------


def test_worker_gives_a_sign(partner_app: Flask, start_worker: StartWorker) -> None:
    assert read_signs().worker_at is None

    start_worker()

    assert read_signs().worker_at is not None


def test_source_that_was_read_whole_has_its_last_success(
    partner_app: Flask, httpserver: HTTPServer, start_worker: StartWorker
) -> None:
    for _ in range(SHARDS + 2):
        make_pipeline()
    httpserver.expect_request(ANY_PIPELINE).respond_with_json(page(run(1)))
    start_worker()

    job = wait_for(request_sync(scope=ALL)[0])

    [source] = read_signs().sources
    assert source.last_success_at is not None and job.ended_at is not None
    assert source.last_success_at >= job.ended_at
    assert (source.awaited_since, source.last_error) == (None, None)


def test_reading_of_one_client_is_no_success_of_the_source(
    partner_app: Flask, httpserver: HTTPServer, start_worker: StartWorker
) -> None:
    pipeline = make_pipeline()
    httpserver.expect_request(ANY_PIPELINE).respond_with_json(page(run(1)))
    start_worker()

    wait_for(request_sync(scope=SyncScope(client_id=pipeline.client_id))[0])

    [source] = read_signs().sources
    assert (source.last_success_at, source.awaited_since) == (None, None)


def test_source_that_could_not_be_read_whole_has_no_success_but_the_error(
    partner_app: Flask, httpserver: HTTPServer, start_worker: StartWorker
) -> None:
    client = make_client()
    by_shard = {make_pipeline(client, external_id=f"p-{number}").id.int % SHARDS: number for number in range(40)}
    assert len(by_shard) > 1
    one = by_shard.popitem()[1]
    httpserver.expect_request(f"/pipelines/p-{one}/runs").respond_with_data("no", status=401)
    httpserver.expect_request(ANY_PIPELINE).respond_with_json(page(run(1)))
    start_worker()

    job = wait_for(request_sync(scope=ALL)[0])

    [source] = read_signs().sources
    assert source.last_success_at is None
    assert source.awaited_since is not None and source.awaited_since >= job.requested_at
    assert "refused access (401)" in (source.last_error or "")
    assert source.last_error_at is not None


@pytest.mark.parametrize("known", [True, False])
def test_source_is_read_without_single_pipelines_but_not_without_all(
    partner_app: Flask, httpserver: HTTPServer, start_worker: StartWorker, known: bool
) -> None:
    make_pipeline(external_id="known"), make_pipeline(external_id="unknown")
    if known:
        httpserver.expect_request("/pipelines/known/runs").respond_with_json(page(run(1)))
    httpserver.expect_request(ANY_PIPELINE).respond_with_data("no", status=404)
    start_worker()

    wait_for(request_sync(scope=ALL)[0])

    [source] = read_signs().sources
    assert (source.last_success_at is not None) is known
    assert "could not be read" in (source.last_error or "")


def test_source_of_which_nothing_is_to_be_read_is_not_waited_for(partner_app: Flask) -> None:
    pipeline = make_pipeline()
    request_sync(scope=SyncScope(source="partner"))
    assert read_signs().sources[0].awaited_since is not None

    disable_pipeline(pipeline_id=pipeline.id)
    with pytest.raises(Conflict):
        request_sync(scope=ALL)

    assert read_signs().sources[0].awaited_since is None


def test_address_of_a_source_is_told_without_what_could_be_a_secret() -> None:
    assert source_at("https://user:pass@partner.example:8443/v1?key=abc").address == "https://partner.example:8443/v1"


def test_asking_again_keeps_since_when_a_source_is_waited_for(partner_app: Flask) -> None:
    make_pipeline()
    request_sync(scope=SyncScope(source="partner"))
    first = read_signs().sources[0].awaited_since

    request_sync(scope=ALL)

    assert read_signs().sources[0].awaited_since == first
