"""How often a source is read: its interval, which grows while it fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from pytest_httpserver import HTTPServer

from chm_web.commands.sources import sources
from chm_web.ingestion.progress import Counts, IngestionJob, JobState, SyncScope
from chm_web.ingestion.queue import SourceSigns, read_signs, request_sync, rhythm_of
from chm_web.ingestion.queue.rhythm import interval_of
from chm_web.ingestion.queue.schedule import due_scopes
from chm_web.ingestion.queue.signs import Signs, give_sign
from chm_web.ingestion.sources import SHARDS
from tests.factories import NOW, make_pipeline
from tests.ingestion.conftest import WorkerProcess, wait_for
from tests.ingestion.partners import page, run, source_at
from tests.ingestion.test_signs import ANY_PIPELINE

StartWorker = Callable[[], WorkerProcess]

EVERY = timedelta(minutes=5)
MINUTE = timedelta(minutes=1)


def signs_of(failures: int = 0, asked: timedelta | None = MINUTE, **values: object) -> SourceSigns:
    """The signs of a source that was asked for so long ago and has failed so often."""
    source = replace(source_at("http://partner.example"), **values)  # type: ignore[arg-type]
    return SourceSigns(source=source, asked_at=NOW - asked if asked is not None else None, failures=failures)


@pytest.mark.parametrize(
    ("failures", "own", "minutes"),
    [
        (0, None, 5),
        (1, None, 5),
        (2, None, 10),
        (3, None, 20),
        (4, None, 40),
        (5, None, 60),
        (100_000, None, 60),
        (0, 900, 15),
        (2, 900, 30),
        (9, 7200, 120),
        (3, 60, 20),
    ],
)
def test_the_interval_doubles_with_each_failure_up_to_a_bound(failures: int, own: int | None, minutes: int) -> None:
    assert interval_of(signs_of(failures, interval=own), every=EVERY) == minutes * MINUTE


@pytest.mark.parametrize(
    ("one", "minutes"),
    [
        (signs_of(), 2),
        (signs_of(asked=None), 2),
        (signs_of(failures=1), 2),
        # Asked for a minute ago and due after ten: half a cycle early is soon enough, six and a half minutes from now.
        (signs_of(failures=2), 7),
        (signs_of(failures=3), 17),
        (signs_of(failures=3, asked=18 * MINUTE), 2),
        (signs_of(interval=900), 12),
        (signs_of(paused=True), None),
    ],
)
def test_the_next_run_is_the_first_cycle_that_takes_the_source_along(one: SourceSigns, minutes: int | None) -> None:
    next_cycle_at = NOW + 2 * MINUTE

    rhythm = rhythm_of(one, next_cycle_at=next_cycle_at, now=NOW, every=EVERY)

    assert rhythm.next_at == (None if minutes is None else NOW + minutes * MINUTE)
    if minutes is not None:
        before = NOW + (minutes - 5) * MINUTE
        other = SourceSigns(source=replace(one.source, name="other"))
        both = Signs(sources=(one, other))
        assert due_scopes(both, now=rhythm.next_at or NOW, every=EVERY) == [SyncScope()]
        if before > NOW:
            assert due_scopes(both, now=before, every=EVERY) == [SyncScope(source="other")]


@pytest.mark.parametrize("next_cycle_at", [None, NOW - MINUTE])
def test_no_run_is_promised_where_the_schedule_does_not_run(next_cycle_at: datetime | None) -> None:
    assert rhythm_of(signs_of(), next_cycle_at=next_cycle_at, now=NOW, every=EVERY).next_at is None


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (signs_of(failures=1), None),
        (signs_of(failures=2, paused=True), None),
        (signs_of(failures=9, interval=7200), None),
        (signs_of(failures=2), "Failed 2 times in a row: read every 10 min instead of every 5 min."),
        (signs_of(failures=7), "Failed 7 times in a row: read every 1 h instead of every 5 min."),
        (signs_of(failures=2, interval=301), "Failed 2 times in a row: read every 602 s instead of every 301 s."),
    ],
)
def test_that_a_source_is_read_less_often_is_said_in_words(one: SourceSigns, words: str | None) -> None:
    assert rhythm_of(one, next_cycle_at=None, now=NOW, every=EVERY).slowed == words


# -- what counts ----------------------------------------------------------------------------------------------------


@pytest.fixture
def readings(partner_app: Flask, start_worker: StartWorker) -> Callable[..., IngestionJob]:
    """Reads the partner as the schedule does, or as somebody who presses; pipelines of all shards are there."""
    while len({make_pipeline().id.int % SHARDS for _ in range(12)}) < 2:
        pass
    start_worker()
    return lambda by=None: wait_for(request_sync(scope=SyncScope(source="partner"), requested_by=by)[0])


def failures() -> int:
    """How often the partner has failed in a row."""
    return read_signs().sources[0].failures


def test_failed_cycles_are_counted_once_each_until_one_succeeds(
    httpserver: HTTPServer, readings: Callable[..., IngestionJob]
) -> None:
    httpserver.expect_request(ANY_PIPELINE).respond_with_data("no", status=401)
    counted = []
    for _ in range(3):
        assert readings().state is JobState.FAILED
        counted.append(failures())
    httpserver.clear()
    httpserver.expect_request(ANY_PIPELINE).respond_with_json(page(run(1)))

    assert readings("jo").state is JobState.FINISHED

    assert (counted, failures()) == ([1, 2, 3], 0)
    assert read_signs().sources[0].counts == Counts(pages=12, created=12)


def test_who_presses_in_vain_slows_nothing_down(httpserver: HTTPServer, readings: Callable[..., IngestionJob]) -> None:
    httpserver.expect_request(ANY_PIPELINE).respond_with_data("no", status=401)

    assert readings("jo").state is JobState.FAILED

    assert failures() == 0


def test_a_pipeline_that_the_platform_does_not_know_slows_nothing_down(
    partner_app: Flask, httpserver: HTTPServer, readings: Callable[..., IngestionJob]
) -> None:
    partner_app.extensions["chm_queue"].redis.hset("chm:source:partner", "failures", 3)
    gone = make_pipeline()
    httpserver.expect_request(f"/pipelines/{gone.external_id}/runs").respond_with_data("no", status=404)
    httpserver.expect_request(ANY_PIPELINE).respond_with_json(page(run(1)))

    job = readings()

    assert (job.state, failures()) == (JobState.FINISHED, 0)


def test_ingest_now_does_not_wait_for_a_source_that_is_slowed_down(
    partner_app: Flask, httpserver: HTTPServer, readings: Callable[..., IngestionJob]
) -> None:
    httpserver.expect_request(ANY_PIPELINE).respond_with_json(page(run(1)))
    redis = partner_app.extensions["chm_queue"].redis
    redis.hset("chm:source:partner", mapping={"failures": 9, "asked_at": NOW.isoformat()})

    assert readings("jo").state is JobState.FINISHED


def test_the_list_of_sources_says_that_one_is_slowed_down_and_when_it_is_tried_next(
    partner_app: Flask, tmp_path: Path
) -> None:
    redis = partner_app.extensions["chm_queue"].redis
    redis.hset("chm:source:partner", "failures", 2)

    unplanned = partner_app.test_cli_runner().invoke(sources, ["list"])
    give_sign(redis, next_cycle=datetime.fromisoformat("2099-01-01T12:34:56+00:00"))
    planned = partner_app.test_cli_runner().invoke(sources, ["list"])

    words = "Failed 2 times in a row: read every 10 min instead of every 5 min."
    assert unplanned.output.strip().split("\t")[-2:] == [words, "next attempt when the schedule runs"]
    assert planned.output.strip().split("\t")[-2:] == [words, "next attempt at 2099-01-01 12:34 UTC"]
