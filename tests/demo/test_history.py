"""The demo's history: repeatable, growing, and with something to see at any hour."""

import hashlib
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from statistics import median

import pytest

from chm_web.demo.fleet import CLIENTS, PIPELINES, Pipeline, find_pipeline
from chm_web.demo.history import WORDS, Run
from chm_web.demo.messages import failure_message, outage_message
from tests.demo.seen import runs_between

NOON = datetime(2026, 3, 11, 12, 7, 30, tzinfo=UTC)
HOURS = [datetime(2026, 3, 11, hour, 7, 30, tzinfo=UTC) for hour in range(24)]
BAD = {"failed", "timed_out"}


@cache
def runs_of(pipeline: Pipeline, now: datetime, days: int) -> list[Run]:
    return runs_between(pipeline, now - timedelta(days=days), now, now)


def named(name: str) -> Pipeline:
    return next(pipeline for pipeline in PIPELINES if pipeline.name == name)


def decisive(pipeline: Pipeline, now: datetime, days: int = 0) -> list[Run]:
    """The runs that decide over health, newest last; days: by default as many as that takes."""
    # The longest incidents last six days, those of frequent pipelines eight hours; the silent one lags by 50.
    days = days or (9 if pipeline.profile.every >= 360 else 3)
    runs = [run for run in runs_of(pipeline, now, days) if run.outcome in BAD | {"success"}]
    return sorted(runs, key=lambda run: run.updated_at)


def failing_at(now: datetime) -> list[Pipeline]:
    return [pipeline for pipeline in PIPELINES if (runs := decisive(pipeline, now)) and runs[-1].outcome in BAD]


def failing_since(pipeline: Pipeline, now: datetime) -> datetime:
    since = now
    for run in reversed(decisive(pipeline, now)):
        if run.outcome == "success":
            break
        since = run.updated_at
    return since


def finished(runs: list[Run]) -> dict[str, Run]:
    return {run.external_run_id: run for run in runs if run.finished_at is not None}


def digest() -> str:
    """A digest of half a week of every pipeline, which any process must come to."""
    text = "".join(repr(run) for pipeline in PIPELINES for run in runs_of(pipeline, NOON, 4))
    return hashlib.sha256(text.encode()).hexdigest()


def test_fleet_has_eight_uneven_clients_and_unique_names() -> None:
    sizes = sorted(len(client.pipelines) for client in CLIENTS)
    assert len(CLIENTS) == 8
    assert (sizes[0], sizes[-1], sum(sizes)) == (2, 15, 60)
    assert len({pipeline.external_id for pipeline in PIPELINES}) == 60
    assert len({(pipeline.client, pipeline.name.lower()) for pipeline in PIPELINES}) == 60


def test_fleet_covers_every_kind_and_awkward_external_ids() -> None:
    assert {pipeline.platform for pipeline in PIPELINES} == {"airflow", "dbt", "cron", "vendor_api", "custom"}
    assert len({pipeline.pipeline_type for pipeline in PIPELINES}) == 5
    assert {pipeline.environment for pipeline in PIPELINES} == {"prod", "staging"}
    assert any(pipeline.expected_every_minutes is None for pipeline in PIPELINES)
    ids = "".join(pipeline.external_id for pipeline in PIPELINES)
    assert all(character in ids for character in "/ :+é")


def test_find_pipeline_knows_the_fleet_alone() -> None:
    assert find_pipeline(PIPELINES[3].external_id) is PIPELINES[3]
    assert find_pipeline("nobody") is None


def test_every_process_tells_the_same_story() -> None:
    code = "from tests.demo.test_history import digest; print(digest())"
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert told.stdout.strip() == digest()


def test_finished_runs_never_change() -> None:
    start = NOON - timedelta(days=4)
    for pipeline in PIPELINES:
        before = finished(runs_between(pipeline, start, NOON, NOON))
        after = finished(runs_between(pipeline, start, NOON, NOON + timedelta(days=2)))
        assert before.items() <= after.items()


def test_running_run_finishes_under_the_same_id() -> None:
    seen = 0
    for pipeline in PIPELINES:
        for run in runs_of(pipeline, NOON, 1):
            if run.finished_at is not None:
                continue
            seen += 1
            assert run.updated_at == (run.started_at or run.updated_at) <= NOON
            later = finished(runs_of(pipeline, NOON + timedelta(days=1), 3))[run.external_run_id]
            assert later.outcome in {"success", "failed", "timed_out", "canceled", "skipped"}
            assert later.finished_at is not None
            assert later.finished_at > NOON
    assert seen >= 1


def test_a_run_goes_from_queued_to_running_to_its_end() -> None:
    pipeline = named("newsletter_sync")
    last = finished(runs_of(pipeline, NOON, 2)).popitem()[1]
    assert last.started_at is not None
    assert last.finished_at is not None
    moments = [
        last.started_at - timedelta(seconds=5),
        last.started_at + timedelta(milliseconds=10),
        last.finished_at,
    ]
    statuses = []
    for moment in moments:
        runs = {run.external_run_id: run for run in runs_of(pipeline, moment, 2)}
        statuses.append(runs[last.external_run_id].status)
    assert statuses == ["queued", "in_progress", last.status]


def test_ninety_days_hold_the_runs_of_a_busy_fleet() -> None:
    total = 0
    for pipeline in PIPELINES:
        runs = runs_of(pipeline, NOON, 90)
        assert len({run.external_run_id for run in runs}) == len(runs)
        total += len(runs)
    assert 40_000 <= total <= 60_000


@pytest.mark.parametrize("now", HOURS, ids=lambda now: f"{now:%H}h")
def test_something_is_always_failing_and_something_has_just_recovered(now: datetime) -> None:
    failing = failing_at(now)
    assert 4 <= len(failing) <= 12
    ages = [now - failing_since(pipeline, now) for pipeline in failing]
    assert any(age < timedelta(hours=24) for age in ages)
    assert any(age >= timedelta(hours=24) for age in ages)
    day_ago = now - timedelta(hours=24)
    recovered = [
        pipeline
        for pipeline in PIPELINES
        if pipeline not in failing
        and any(run.outcome in BAD and run.updated_at > day_ago for run in decisive(pipeline, now))
    ]
    assert recovered


@pytest.mark.parametrize("day", range(0, 300, 30))
def test_failing_pipelines_stay_a_handful_all_year(day: int) -> None:
    assert 3 <= len(failing_at(NOON + timedelta(days=day, hours=day % 24))) <= 12


@pytest.mark.parametrize("now", HOURS[::6], ids=lambda now: f"{now:%H}h")
def test_exactly_one_pipeline_has_no_runs_and_one_is_silent_for_two_days(now: datetime) -> None:
    empty = [pipeline.name for pipeline in PIPELINES if not runs_of(pipeline, now, 9)]
    assert empty == ["customs_feed"]
    silent = [
        pipeline.name
        for pipeline in PIPELINES
        if (pipeline.expected_every_minutes or 10**6) <= 60
        and pipeline.name not in empty
        and not runs_of(pipeline, now, 2)
    ]
    assert silent == ["substation_scada"]


def test_four_clients_stay_healthy() -> None:
    steady = {"Tallowmere Bank", "Larkspindle Travel", "Osmerley Health", "Zinnowell Optics"}
    for now in HOURS[::4]:
        assert not steady & {pipeline.client for pipeline in failing_at(now)}


def test_only_the_silent_ones_are_late() -> None:
    for now in HOURS[::4]:
        failing = failing_at(now)
        late = set()
        for pipeline in PIPELINES:
            limit = pipeline.expected_every_minutes
            successes = [run.updated_at for run in decisive(pipeline, now) if run.outcome == "success"]
            ends = [run.finished_at for run in decisive(pipeline, now) if run.outcome == "success"]
            if limit is None or pipeline in failing or not successes or ends[-1] is None:
                continue
            if now - ends[-1] > timedelta(minutes=1.25 * limit):
                late.add(pipeline.name)
        assert late == {"substation_scada", "cdn_logs"}


def test_flaky_pipelines_alternate() -> None:
    flaky = [pipeline for pipeline in PIPELINES if pipeline.profile.flaky is not None]
    assert len(flaky) == 4
    for pipeline in flaky:
        outcomes = [run.outcome == "success" for run in decisive(pipeline, NOON, days=14)]
        changes = sum(left != right for left, right in pairwise(outcomes))
        assert changes / (len(outcomes) - 1) > 0.6


def test_slowing_pipelines_grow_over_weeks() -> None:
    growth = []
    for pipeline in PIPELINES:
        if pipeline.profile.slowing is None:
            continue
        weeks: dict[int, list[float]] = {}
        for run in decisive(pipeline, NOON, days=42):
            if run.outcome == "success":
                weeks.setdefault((NOON - run.updated_at).days // 7, []).append(run.duration_seconds or 0.0)
        growth.append(median(weeks[0]) / median(weeks[5]))
    # Each starts over every twelve weeks, half a period apart: one of the two is always well on its way.
    assert len(growth) == 2
    assert max(growth) > 1.25


def test_archive_purge_is_only_ever_canceled_or_skipped() -> None:
    assert {run.outcome for run in runs_of(named("archive_purge"), NOON, 90)} == {"canceled", "skipped"}


def test_an_outage_takes_several_pipelines_of_a_client_at_once() -> None:
    hit: dict[tuple[str, str], set[str]] = {}
    for pipeline in PIPELINES:
        if pipeline.client in {"Bramblegate Grocery", "Tallowmere Bank"}:
            continue
        for run in runs_of(pipeline, NOON, 90):
            text = run.error_message or ""
            if "accepting TCP/IP connections" in text or "VPN tunnel down" in text:
                assert run.started_at is not None
                hit.setdefault((pipeline.client, f"{run.started_at:%Y-%m-%d}"), set()).add(pipeline.name)
    assert len(hit) >= 2
    assert max(map(len, hit.values())) >= 5


def test_failed_runs_say_why_and_others_say_nothing() -> None:
    texts = set()
    for pipeline in PIPELINES:
        for run in runs_of(pipeline, NOON, 20):
            assert (run.error_message is not None) == (run.outcome in BAD)
            texts.add((run.error_message or "").split(":")[0])
            if run.finished_at is not None and run.started_at is not None:
                assert run.finished_at > run.started_at
                assert run.status == WORDS[pipeline.profile.dialect][run.outcome]
    assert len(texts) >= 15


def test_every_message_can_be_filled_in() -> None:
    for pipeline in PIPELINES:
        for cause in range(12):
            for text in (failure_message(pipeline, cause, 5), outage_message(pipeline, cause, 5)):
                assert "{small}" not in text
                assert "{name}" not in text


def test_dialects_speak_words_of_their_own() -> None:
    words = {run.status for run in runs_of(named("supplier_edi"), NOON, 90)}
    words |= {run.status for run in runs_of(named("newsletter_sync"), NOON, 90)}
    assert {"ok", "completed", "error"} <= words
