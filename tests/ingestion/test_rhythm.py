"""How often a source is read: its interval, which grows while it fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from pytest_httpserver import HTTPServer

from chm_web import create_app
from chm_web.commands.sources import sources
from chm_web.ingestion.problems import behind_since
from chm_web.ingestion.progress import Counts, IngestionJob, JobState, SyncScope
from chm_web.ingestion.queue import SourceSigns, read_signs, request_sync, rhythms_of, work
from chm_web.ingestion.queue.rhythm import Rhythm, interval_of, turns_of
from chm_web.ingestion.queue.schedule import due_scopes
from chm_web.ingestion.queue.scopes import scope_values
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


def rhythm_of(one: SourceSigns, next_cycle_at: datetime | None) -> Rhythm:
    """The rhythm of a source that is alone."""
    signs = Signs(next_cycle_at=next_cycle_at, sources=(one,))
    return rhythms_of(signs, now=NOW, every=EVERY)[one.source.name]


@pytest.mark.parametrize(("kind", "own", "seconds"), [("airflow", None, 30), ("airflow", 45, 45), ("partner", None, 5)])
def test_airflow_is_left_alone_for_half_a_minute_however_often_cycles_come(
    kind: str, own: int | None, seconds: int
) -> None:
    one, every = signs_of(kind=kind, interval=own), timedelta(seconds=5)

    assert interval_of(one, every=every) == timedelta(seconds=seconds)
    late = replace(one, last_success_at=NOW - 3 * timedelta(seconds=seconds))
    assert behind_since(late, now=NOW, every=every) is None
    assert behind_since(late, now=NOW + timedelta(seconds=1), every=every) == late.last_success_at


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

    rhythm = rhythm_of(one, next_cycle_at)

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
    assert rhythm_of(signs_of(), next_cycle_at).next_at is None


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
    assert rhythm_of(one, None).slowed == words


# -- turns ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("every", "seconds"),
    [
        (timedelta(minutes=5), [0, 10, 20]),
        (timedelta(minutes=1), [0, 2, 4]),
        # In whole seconds, and never for longer than a minute.
        (timedelta(seconds=10), [0, 0, 0]),
        (timedelta(hours=1), [0, 20, 40]),
    ],
)
def test_sources_of_a_cycle_begin_one_after_the_other(every: timedelta, seconds: list[int]) -> None:
    sources = [replace(source_at("http://partner.example"), name=name) for name in ("a", "b", "c")]
    idle = replace(sources[0], name="idle", paused=True)

    turns = turns_of([sources[0], idle, *sources[1:]], every=every)

    assert turns == {name: timedelta(seconds=turn) for name, turn in zip(("a", "b", "c"), seconds, strict=True)}


def test_the_next_run_is_told_with_the_sources_turn() -> None:
    one = signs_of()
    slow = replace(signs_of(failures=2), source=replace(one.source, name="slow"))
    signs = Signs(next_cycle_at=NOW + 2 * MINUTE, sources=(one, slow))

    rhythms = rhythms_of(signs, now=NOW, every=EVERY)

    assert rhythms["partner"].next_at == NOW + 2 * MINUTE
    assert rhythms["slow"].next_at == NOW + 7 * MINUTE + timedelta(seconds=15)


@pytest.mark.parametrize(("seconds", "is_next"), [(9, True), (0, False), (-9, False)])
def test_a_source_that_waits_for_its_turn_is_read_next_then(seconds: int, is_next: bool) -> None:
    turn, next_cycle_at = NOW + timedelta(seconds=seconds), NOW + 2 * MINUTE

    rhythm = rhythm_of(replace(signs_of(), begins_at=turn), next_cycle_at)

    assert rhythm.next_at == (turn if is_next else next_cycle_at)


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


def test_a_worker_that_does_not_have_the_source_slows_nothing_down_and_is_told(
    partner_app: Flask, worker_environ: dict[str, str], start_worker: StartWorker
) -> None:
    make_pipeline()
    for name in ("CHM_PARTNER_API_BASE_URL", "CHM_PARTNER_API_TOKEN"):
        del worker_environ[name]
    start_worker()

    job = wait_for(request_sync(scope=SyncScope())[0])

    [source] = read_signs().sources
    assert (job.state, source.failures, source.last_success_at) == (JobState.FAILED, 0, None)
    assert source.last_error == (
        "The worker has no source 'partner' in its configuration. If there is one, restart the worker."
    )


def test_a_database_that_is_waited_for_in_vain_slows_nothing_down_and_is_told(
    partner_app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "GIVE_DATABASE_UP_AFTER", timedelta(0))
    shard = make_pipeline().id.int % SHARDS
    scope = SyncScope()
    job, _ = request_sync(scope=scope)
    away = create_app(replace(partner_app.config["CHM"], database_url="postgresql+psycopg://127.0.0.1:9/chm"))

    with away.app_context():
        again = work.perform_part(part_id=f"{job.id}-0", source="partner", shard=shard, scope=scope_values(scope))

    [source] = read_signs().sources
    assert (again, source.failures, source.last_success_at) == (None, 0, None)
    assert source.last_error == "The database does not answer. It was waited for in vain."


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
