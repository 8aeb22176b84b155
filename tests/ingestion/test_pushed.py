"""What pushed events leave in Redis: names without a pipeline, and failures that wait for their error text."""

from __future__ import annotations

import threading
from datetime import timedelta
from uuid import uuid4

import pytest
from flask import Flask
from redis import Redis

from chm_web.ingestion.progress import UnmappedReport
from chm_web.ingestion.queue import RunKey, list_unmapped, match_failures, note_unmapped
from chm_web.ingestion.queue.failures import KEEP_FAILURES
from chm_web.ingestion.queue.unmapped import MAX_NAMES
from chm_web.models import RunStatus

WEEK = timedelta(days=7)


def report(name: str, **values: str) -> UnmappedReport:
    """A report of a failed run under a name."""
    return UnmappedReport(name=name, reason="No pipeline.", status=RunStatus.FAILED, sample=values)


@pytest.fixture
def redis(app: Flask) -> Redis:
    """The app's Redis."""
    return Redis.from_url(app.config["CHM"].redis_url)


# -- names without a pipeline -------------------------------------------------------------------------------------


def test_sources_are_counted_apart(app: Flask) -> None:
    note_unmapped(source="openlineage", reports=[report("a"), report("a")])
    note_unmapped(source="cron", reports=[report("a")])

    assert {(each.source, each.count) for each in list_unmapped()} == {("openlineage", 2), ("cron", 1)}


def test_only_the_newest_names_are_kept(app: Flask, redis: Redis) -> None:
    note_unmapped(source="openlineage", reports=[report(f"old-{number}") for number in range(MAX_NAMES)])
    note_unmapped(source="openlineage", reports=[report("old-0")])
    note_unmapped(source="openlineage", reports=[report(f"new-{number}") for number in range(5)])

    names = {each.name for each in list_unmapped()}

    assert len(names) == MAX_NAMES
    assert {"old-0", *(f"new-{number}" for number in range(5))} <= names
    assert len(list(redis.scan_iter("chm:unmapped:*"))) == MAX_NAMES


def test_names_end_by_themselves_after_a_week(app: Flask, redis: Redis) -> None:
    note_unmapped(source="openlineage", reports=[report("a")])

    keys = list(redis.scan_iter("chm:unmapped*"))

    assert len(keys) == 2
    assert all(WEEK.total_seconds() - 60 < redis.ttl(key) <= WEEK.total_seconds() for key in keys)


def test_name_whose_week_is_over_is_not_listed(app: Flask, redis: Redis) -> None:
    note_unmapped(source="openlineage", reports=[report("a"), report("b")])
    redis.delete('chm:unmapped:["openlineage", "a"]')

    assert [each.name for each in list_unmapped()] == ["b"]


def test_long_names_are_cut(app: Flask) -> None:
    note_unmapped(source="openlineage", reports=[report("x" * 100_000, producer="y" * 100_000)])

    (found,) = list_unmapped()

    assert len(found.name) < 1000
    assert len(found.sample["producer"]) < 1000


def test_redis_that_takes_no_writes_is_no_error(app: Flask, redis: Redis) -> None:
    redis.set("chm:unmapped", "not a sorted set")

    note_unmapped(source="openlineage", reports=[report("a")])

    assert redis.get("chm:unmapped") == b"not a sorted set"


# -- failures and their error texts -------------------------------------------------------------------------------


def test_failure_finds_the_text_that_came_first_and_the_other_way_round(app: Flask) -> None:
    first, second = RunKey(uuid4(), "r1"), RunKey(uuid4(), "r2")

    assert match_failures(failed={"a": first}, texts=[("b", "why b")]) == []
    assert match_failures(failed={"b": second}, texts=[("a", "why a")]) == [(second, "why b"), (first, "why a")]


def test_of_several_texts_the_longest_then_the_greatest_is_given(app: Flask) -> None:
    run = RunKey(uuid4(), "r")

    assert match_failures(failed={}, texts=[("a", "zz"), ("a", "bbb"), ("a", "abc"), ("a", "y")]) == []
    assert match_failures(failed={"a": run}, texts=[]) == [(run, "bbb")]


def test_what_waits_ends_by_itself_after_a_day(app: Flask, redis: Redis) -> None:
    match_failures(failed={"a": RunKey(uuid4(), "r")}, texts=[("b", "why")])

    keys = list(redis.scan_iter("chm:fail*"))

    assert len(keys) == 2
    assert all(0 < redis.ttl(key) <= KEEP_FAILURES.total_seconds() for key in keys)


@pytest.mark.slow
def test_halves_that_come_at_the_same_moment_find_each_other(app: Flask) -> None:
    runs = {f"run-{number}": RunKey(uuid4(), f"r{number}") for number in range(200)}
    found: list[tuple[RunKey, str]] = []
    start = threading.Barrier(2)

    def report_failures() -> None:
        with app.app_context():
            start.wait()
            for run_id, key in runs.items():
                found.extend(match_failures(failed={run_id: key}, texts=[]))

    def report_texts() -> None:
        with app.app_context():
            start.wait()
            for run_id in runs:
                found.extend(match_failures(failed={}, texts=[(run_id, run_id)]))

    threads = [threading.Thread(target=report_failures), threading.Thread(target=report_texts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {(key.external_run_id, text) for key, text in found} == {
        (key.external_run_id, run_id) for run_id, key in runs.items()
    }
