"""The health of a pipeline, as a table of named cases; its lists and tallies say the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask

from chm_web.services.changes import look_at_fleet
from chm_web.services.exceptions import NotFound
from chm_web.services.health import (
    Health,
    get_pipeline_health,
    list_fleet_health,
    look_at_client,
    tally_fleet_health,
)
from tests.factories import NOW, make_client, make_pipeline, make_run
from tests.services.histories import (
    CANCELED,
    FAILED,
    FAILING,
    HEALTHY,
    LATE,
    NO_DATA,
    RUNNING,
    RUNS,
    SKIPPED,
    SUCCESS,
    ago,
    health_of,
    make_pipeline_with,
    ran,
    runs_since,
)


@dataclass(frozen=True)
class Case:
    """What ran, and what the health is then."""

    runs: Sequence[dict[str, Any]]
    health: Health
    expected: dict[str, Any] = field(default_factory=dict)
    every: int | None = None
    age: float = 100_000


CASES: dict[str, Case] = {
    "nothing ever ran": Case([], NO_DATA, {"since": None, "last_success_at": None, "latest_status": None}),
    "a success": Case([ran(SUCCESS, 10)], HEALTHY, {"since": None, "failures_in_row": 0, "last_success_at": ago(10)}),
    "a failure": Case([ran(FAILED, 10)], FAILING, {"since": ago(10), "failures_in_row": 1, "last_success_at": None}),
    "a failure after a success": Case(
        [ran(SUCCESS, 20), ran(FAILED, 10)], FAILING, {"since": ago(10), "last_success_at": ago(20)}
    ),
    "a success after a failure": Case([ran(FAILED, 20), ran(SUCCESS, 10)], HEALTHY, {"since": None}),
    "a streak counts from its first failure": Case(
        [ran(FAILED, 60), ran(SUCCESS, 50), ran(FAILED, 40), ran(FAILED, 30), ran(FAILED, 20)],
        FAILING,
        {"since": ago(40), "failures_in_row": 3, "last_success_at": ago(50)},
    ),
    "a streak without any success": Case(
        [ran(FAILED, 30), ran(FAILED, 20)], FAILING, {"since": ago(30), "failures_in_row": 2}
    ),
    "the order of recording is of no account": Case(
        [ran(FAILED, 20), ran(SUCCESS, 50), ran(FAILED, 40)], FAILING, {"since": ago(40), "failures_in_row": 2}
    ),
    "canceled does not heal": Case(
        [ran(FAILED, 20), ran(CANCELED, 10)], FAILING, {"since": ago(20), "latest_status": CANCELED}
    ),
    "skipped does not heal": Case([ran(FAILED, 20), ran(SKIPPED, 10)], FAILING, {"failures_in_row": 1}),
    "canceled does not fail": Case([ran(SUCCESS, 20), ran(CANCELED, 10)], HEALTHY, {"last_success_at": ago(20)}),
    "skipped does not fail": Case([ran(SUCCESS, 20), ran(SKIPPED, 10)], HEALTHY, {"last_finished_at": ago(20)}),
    "canceled alone is no data": Case([ran(CANCELED, 10)], NO_DATA, {"latest_status": CANCELED}),
    "skipped alone is no data": Case([ran(SKIPPED, 10)], NO_DATA, {"last_finished_at": None}),
    "streaks step over canceled and skipped": Case(
        [ran(SUCCESS, 60), ran(FAILED, 50), ran(CANCELED, 40), ran(FAILED, 30), ran(SKIPPED, 20), ran(FAILED, 10)],
        FAILING,
        {"since": ago(50), "failures_in_row": 3, "last_success_at": ago(60)},
    ),
    "event time decides, not the start": Case(
        [ran(FAILED, 10, started=300), ran(SUCCESS, 20, started=21)], FAILING, {"since": ago(10)}
    ),
    "a run without a finish counts by its start": Case(
        [ran(SUCCESS, 20), {"status": FAILED, "started_at": ago(10), "finished_at": None}], FAILING, {"since": ago(10)}
    ),
    "at one event time the later recorded decides: failed": Case(
        [ran(SUCCESS, 10), ran(FAILED, 10)], FAILING, {"since": ago(10), "failures_in_row": 1}
    ),
    "at one event time the later recorded decides: success": Case(
        [ran(FAILED, 10), ran(SUCCESS, 10)], HEALTHY, {"failures_in_row": 0}
    ),
    "a tie within a streak": Case(
        [ran(FAILED, 10), ran(SUCCESS, 10), ran(FAILED, 10), ran(FAILED, 10)], FAILING, {"failures_in_row": 2}
    ),
    "the error is the newest failure's": Case(
        [ran(FAILED, 20, error_message="older"), ran(FAILED, 10, error_message="newer")],
        FAILING,
        {"last_error": "newer"},
    ),
    "the reason stands in for a missing error": Case(
        [ran(FAILED, 10, status_reason="upstream_failed")], FAILING, {"last_error": "upstream_failed"}
    ),
    "no error is told of a pipeline that healed": Case(
        [ran(FAILED, 20, error_message="older"), ran(SUCCESS, 10)], HEALTHY, {"last_error": None}
    ),
    # -- running
    "the first run is under way": Case(
        [runs_since(5)], RUNS, {"running_since": ago(5), "latest_status": RUNNING, "latest_started_at": ago(5)}
    ),
    "running after a success is healthy": Case([ran(SUCCESS, 10), runs_since(5)], HEALTHY, {"running_since": ago(5)}),
    "running after a failure is failing": Case(
        [ran(FAILED, 10), runs_since(5)], FAILING, {"running_since": ago(5), "latest_status": RUNNING}
    ),
    "running after a canceled run": Case([ran(CANCELED, 10), runs_since(5)], RUNS),
    "nothing runs": Case([ran(SUCCESS, 10)], HEALTHY, {"running_since": None}),
    # -- late
    "within the interval": Case([ran(SUCCESS, 59)], HEALTHY, every=60),
    "past the interval but within its grace": Case([ran(SUCCESS, 74.9)], HEALTHY, every=60),
    "exactly at the end of the grace": Case([ran(SUCCESS, 75)], HEALTHY, every=60),
    "past the grace": Case([ran(SUCCESS, 75.1)], LATE, {"since": ago(0.1), "last_success_at": ago(75.1)}, every=60),
    "late by long": Case([ran(SUCCESS, 1075)], LATE, {"since": ago(1000)}, every=60),
    "late counts from the finish, not from the start": Case([ran(SUCCESS, 70, started=500)], HEALTHY, every=60),
    "never ran, and too new to be late": Case([], NO_DATA, every=60, age=74),
    "never ran, and late since its creation": Case([], LATE, {"since": ago(1)}, every=60, age=76),
    "canceled does not put lateness off": Case([ran(SUCCESS, 80), ran(CANCELED, 5)], LATE, {"since": ago(5)}, every=60),
    "skipped does not put lateness off": Case([ran(SUCCESS, 80), ran(SKIPPED, 5)], LATE, every=60),
    "running does not put lateness off": Case(
        [ran(SUCCESS, 80), runs_since(5)], LATE, {"running_since": ago(5)}, every=60
    ),
    "the first run is under way and late": Case([runs_since(5)], LATE, {"running_since": ago(5)}, every=60, age=80),
    "the first run is under way in time": Case([runs_since(5)], RUNS, every=60, age=70),
    "failing and late is failing": Case([ran(SUCCESS, 500), ran(FAILED, 400)], FAILING, {"since": ago(400)}, every=60),
    "failing and in time is failing": Case([ran(SUCCESS, 30), ran(FAILED, 10)], FAILING, every=60),
    "nothing is expected, nothing is late": Case([ran(SUCCESS, 90_000)], HEALTHY, {"late_at": None}),
    "the longest interval there is": Case([ran(SUCCESS, 90_000)], HEALTHY, every=2**31 - 1),
}


@pytest.mark.parametrize("name", CASES)
def test_health_of_a_pipeline(app: Flask, name: str) -> None:
    case = CASES[name]
    pipeline = make_pipeline_with(case.runs, age=case.age, expected_every_minutes=case.every)

    found = health_of(pipeline)

    assert found.health is case.health
    assert {key: getattr(found, key) for key in case.expected} == case.expected


@pytest.mark.parametrize("name", CASES)
def test_list_and_tally_say_the_same_as_the_pipeline_alone(app: Flask, name: str) -> None:
    case = CASES[name]
    pipeline = make_pipeline_with(case.runs, age=case.age, expected_every_minutes=case.every)
    alone = health_of(pipeline)

    assert list_fleet_health(now=NOW) == [alone]
    assert look_at_client(client_id=pipeline.client_id, now=NOW).pipelines == [alone]
    expected = {**dict.fromkeys(Health, 0), case.health: 1}
    tally = tally_fleet_health(now=NOW)
    assert (tally.counts, tally.total) == (expected, 1)
    assert tally.running_now == (alone.running_since is not None)
    assert look_at_fleet(since=NOW, now=NOW).by_client == {pipeline.client_id: tally}


def test_run_without_times_counts_by_when_it_was_recorded(app: Flask) -> None:
    pipeline = make_pipeline()
    run = make_run(pipeline, status=FAILED, started_at=None, finished_at=None)

    assert get_pipeline_health(pipeline_id=pipeline.id, now=run.created_at).since == run.created_at


def test_what_runs_without_a_start_runs_since_it_was_recorded(app: Flask) -> None:
    pipeline = make_pipeline()
    run = make_run(pipeline, status=RUNNING, started_at=None)

    assert get_pipeline_health(pipeline_id=pipeline.id, now=run.created_at).running_since == run.created_at


def test_ids_of_the_last_success_and_failure_are_given(app: Flask) -> None:
    pipeline = make_pipeline_with([ran(FAILED, 50), ran(SUCCESS, 40), ran(FAILED, 30)])
    success = make_run(pipeline, **ran(SUCCESS, 20))
    make_run(pipeline, **ran(FAILED, 10))
    failure = make_run(pipeline, **ran(FAILED, 5))

    found = health_of(pipeline)

    assert (found.last_success_id, found.last_failed_run_id) == (success.id, failure.id)


def test_health_names_the_pipeline_and_its_client(app: Flask) -> None:
    pipeline = make_pipeline(make_client(name="Northwind"), name="orders", expected_every_minutes=5)

    found = health_of(pipeline)

    assert (found.pipeline_id, found.pipeline_name) == (pipeline.id, "orders")
    assert (found.client_id, found.client_name) == (pipeline.client_id, "Northwind")
    assert (found.platform, found.pipeline_type, found.environment) == ("vendor_api", "ingestion", "prod")
    assert (found.is_active, found.expected_every_minutes) == (True, 5)


def test_one_now_decides(app: Flask) -> None:
    pipeline = make_pipeline_with([ran(SUCCESS, 0)], expected_every_minutes=60)

    for minutes, expected in ((75, HEALTHY), (76, LATE)):
        now = NOW + timedelta(minutes=minutes)
        assert get_pipeline_health(pipeline_id=pipeline.id, now=now).health is expected


def test_runs_of_another_pipeline_are_of_no_account(app: Flask) -> None:
    client = make_client()
    pipeline = make_pipeline_with([ran(SUCCESS, 10)], client=client)
    make_pipeline_with([ran(FAILED, 5), runs_since(1)], client=client)

    assert (health_of(pipeline).health, health_of(pipeline).running_since) == (HEALTHY, None)


def test_unknown_pipeline_is_not_found(app: Flask) -> None:
    with pytest.raises(NotFound):
        get_pipeline_health(pipeline_id=uuid4(), now=NOW)
