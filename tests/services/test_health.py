"""The health of pipelines, as a table of named cases, and the lists and tallies made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session, scoped_session

from chm_web.models import Client, Pipeline, RunStatus
from chm_web.services.changes import look_at_fleet
from chm_web.services.exceptions import NotFound
from chm_web.services.health import (
    ClientHealth,
    Health,
    HealthTally,
    PipelineHealth,
    get_pipeline_health,
    list_client_health,
    list_fleet_health,
    list_health_of,
    list_recent_runs,
    look_at_client,
    run_strips,
    tally_fleet_health,
)
from chm_web.services.runs import count_client_runs_by_status
from tests.factories import NOW, make_client, make_pipeline, make_run
from tests.reporting import scene

RUNNING, SKIPPED, CANCELED, SUCCESS, FAILED = RunStatus
FAILING, LATE, RUNS, HEALTHY, NO_DATA = Health


def ago(minutes: float) -> datetime:
    """A moment, in minutes before NOW."""
    return NOW - timedelta(minutes=minutes)


def ran(status: RunStatus, finished: float, *, started: float | None = None, **values: Any) -> dict[str, Any]:
    """A run that finished so many minutes ago; it started a minute before unless told."""
    begun = ago(finished + 1 if started is None else started)
    return {"status": status, "started_at": begun, "finished_at": ago(finished), **values}


def runs_since(minutes: float) -> dict[str, Any]:
    """A run that began so many minutes ago and has not ended."""
    return {"status": RUNNING, "started_at": ago(minutes)}


def make_pipeline_with(
    runs: Sequence[dict[str, Any]], *, client: Client | None = None, age: float = 100_000, **values: Any
) -> Pipeline:
    """A pipeline that was created so many minutes before NOW, and its runs, recorded in this order."""
    pipeline = make_pipeline(client, **values)
    pipeline.created_at = ago(age)
    sa.orm.object_session(pipeline).commit()  # type: ignore[union-attr]
    for run in runs:
        make_run(pipeline, **run)
    return pipeline


def health_of(pipeline: Pipeline) -> PipelineHealth:
    """Its health at NOW."""
    return get_pipeline_health(pipeline_id=pipeline.id, now=NOW)


# -- named cases --------------------------------------------------------------------------------------------------


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
    assert list_client_health(client_id=pipeline.client_id, now=NOW) == [alone]
    expected = {**dict.fromkeys(Health, 0), case.health: 1}
    tally = tally_fleet_health(now=NOW)
    assert (tally.counts, tally.total) == (expected, 1)
    assert tally.running_now == (alone.running_since is not None)
    assert look_at_fleet(now=NOW).by_client == {pipeline.client_id: tally}


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


# -- who counts ---------------------------------------------------------------------------------------------------


def test_disabled_pipeline_is_left_out_of_the_fleet_and_shown_alone(app: Flask) -> None:
    client = make_client()
    disabled = make_pipeline_with([ran(FAILED, 10)], client=client, is_active=False)

    assert list_fleet_health(now=NOW) == []
    assert tally_fleet_health(now=NOW).total == 0
    assert look_at_fleet(now=NOW).by_client == {}
    assert list_client_health(client_id=client.id, now=NOW) == []
    assert (health_of(disabled).health, health_of(disabled).is_active) == (FAILING, False)


def test_disabled_client_is_left_out_of_the_fleet_and_shown_alone(app: Flask) -> None:
    client = make_client(is_active=False)
    pipeline = make_pipeline_with([ran(FAILED, 10)], client=client)

    assert list_fleet_health(now=NOW) == []
    assert tally_fleet_health(now=NOW).total == 0
    assert look_at_fleet(now=NOW).by_client == {}
    assert list_client_health(client_id=client.id, now=NOW) == [health_of(pipeline)]
    assert health_of(pipeline).health is FAILING


def test_an_empty_fleet_has_a_tally_of_noughts(app: Flask) -> None:
    assert tally_fleet_health(now=NOW) == HealthTally(dict.fromkeys(Health, 0), 0)


def test_list_of_an_unknown_client_is_empty(app: Flask) -> None:
    assert list_client_health(client_id=uuid4(), now=NOW) == []


# -- lists and tallies --------------------------------------------------------------------------------------------


@pytest.fixture
def fleet(app: Flask) -> list[str]:
    """Two clients' pipelines in every state of health; gives their names, worst first."""
    a, b = make_client(name="a"), make_client(name="B")
    make_pipeline_with([], client=b, name="nothing")
    make_pipeline_with([ran(SUCCESS, 5)], client=b, name="healthy")
    make_pipeline_with([ran(SUCCESS, 5), runs_since(2)], client=a, name="Healthy too")
    make_pipeline_with([ran(SUCCESS, 5)], client=a, name="healthy and first")
    make_pipeline_with([runs_since(2)], client=a, name="running")
    make_pipeline_with([ran(SUCCESS, 80)], client=a, name="late", expected_every_minutes=60)
    make_pipeline_with([ran(SUCCESS, 800)], client=b, name="late for long", expected_every_minutes=60)
    make_pipeline_with([ran(FAILED, 5)], client=a, name="fails since short")
    make_pipeline_with([ran(FAILED, 500), ran(FAILED, 1), runs_since(1)], client=b, name="fails since long")
    return [
        *("fails since long", "fails since short", "late for long", "late", "running"),
        *("healthy and first", "Healthy too", "healthy", "nothing"),
    ]


def names(found: Sequence[PipelineHealth]) -> list[str]:
    """The pipelines' names."""
    return [each.pipeline_name for each in found]


def test_list_is_worst_first_and_the_longest_in_trouble_first(fleet: list[str]) -> None:
    assert names(list_fleet_health(now=NOW)) == fleet


@pytest.mark.parametrize("health", Health)
def test_limit_keeps_the_worst_of_each_state(fleet: list[str], health: Health) -> None:
    whole = names(list_fleet_health(now=NOW, health=[health]))
    for limit in range(1, len(whole) + 1):
        assert names(list_fleet_health(now=NOW, health=[health], limit=limit)) == whole[:limit]


def test_limit_counts_each_state_by_itself(fleet: list[str]) -> None:
    found = list_fleet_health(now=NOW, limit=1)

    assert [each.health for each in found] == [FAILING, LATE, RUNS, HEALTHY, NO_DATA]


@pytest.mark.parametrize("health", Health)
def test_list_of_one_state_agrees_with_the_tally(fleet: list[str], health: Health) -> None:
    found = list_fleet_health(now=NOW, health=[health])

    assert found
    assert {each.health for each in found} == {health}
    assert len(found) == tally_fleet_health(now=NOW).counts[health]


def test_list_of_several_states(fleet: list[str]) -> None:
    assert names(list_fleet_health(now=NOW, health=[LATE, FAILING])) == fleet[:4]


def test_list_of_what_runs_now_agrees_with_the_tally(fleet: list[str]) -> None:
    found = list_fleet_health(now=NOW, running_now=True)

    assert names(found) == ["fails since long", "running", "Healthy too"]
    assert len(found) == tally_fleet_health(now=NOW).running_now


def test_what_runs_now_combines_with_a_state_and_a_limit(fleet: list[str]) -> None:
    assert names(list_fleet_health(now=NOW, running_now=True, health=[HEALTHY])) == ["Healthy too"]
    assert names(list_fleet_health(now=NOW, running_now=True, health=[FAILING], limit=1)) == ["fails since long"]


def test_list_of_no_state_is_empty(fleet: list[str]) -> None:
    assert list_fleet_health(now=NOW, health=[]) == []


def test_tally_counts_every_pipeline_once(fleet: list[str]) -> None:
    tally = tally_fleet_health(now=NOW)

    assert tally.counts == {FAILING: 2, LATE: 2, RUNS: 1, HEALTHY: 3, NO_DATA: 1}
    assert (tally.total, tally.running_now) == (len(fleet), 3)


def test_tallies_of_clients_add_up_to_the_fleet(fleet: list[str]) -> None:
    by_client = look_at_fleet(now=NOW).by_client
    whole = tally_fleet_health(now=NOW)

    assert len(by_client) == 2
    assert {each: sum(tally.counts[each] for tally in by_client.values()) for each in Health} == whole.counts
    assert sum(tally.running_now for tally in by_client.values()) == whole.running_now
    assert sum(by_client.values(), HealthTally()) == whole


def test_tally_of_a_client_agrees_with_its_list(fleet: list[str]) -> None:
    for client_id, tally in look_at_fleet(now=NOW).by_client.items():
        listed = list_client_health(client_id=client_id, now=NOW)
        assert tally.counts == {each: sum(item.health is each for item in listed) for each in Health}
        assert tally.running_now == sum(item.running_since is not None for item in listed)
        for limit in range(1, len(listed) + 1):
            assert look_at_client(client_id=client_id, now=NOW, limit=limit) == ClientHealth(tally, listed[:limit])


def test_pipelines_of_a_disabled_client_are_counted_too(app: Flask) -> None:
    ids = scene.build()

    acme, birch, closed = (
        look_at_client(client_id=ids[name], now=NOW, limit=1).tally for name in ("Acme", "Birch", "Closed")
    )

    assert (acme.counts[FAILING], acme.counts[LATE], acme.counts[HEALTHY]) == (2, 1, 2)
    assert (birch.total, birch.running_now) == (3, 1)
    assert closed.counts[FAILING] == 1


def test_client_without_pipelines_counts_none(app: Flask) -> None:
    assert look_at_client(client_id=make_client().id, now=NOW) == ClientHealth(
        HealthTally(dict.fromkeys(Health, 0), 0), []
    )


# -- strips -------------------------------------------------------------------------------------------------------


def test_strip_is_the_last_runs_oldest_first(app: Flask) -> None:
    pipeline = make_pipeline_with([ran(SUCCESS, 10 * number, started=11 * number + 1) for number in range(20)])

    strip = run_strips(pipeline_ids=[pipeline.id])[pipeline.id]

    assert [bar.duration_seconds for bar in strip] == [60 * (number + 1) for number in range(13, -1, -1)]


def test_recent_runs_are_the_newest_oldest_first(app: Flask) -> None:
    pipeline = make_pipeline_with([ran(SUCCESS, 10 * number) for number in range(20)])
    make_pipeline_with([ran(FAILED, 5)])

    recent = list_recent_runs(pipeline_id=pipeline.id, limit=14)

    assert [run.event_at for run in recent] == [ago(10 * number) for number in range(13, -1, -1)]
    assert {(run.status, run.duration_seconds) for run in recent} == {(SUCCESS, 60)}
    assert recent[-1].id == health_of(pipeline).last_success_id


@pytest.mark.parametrize(("length", "shown"), [(1, 1), (2, 2), (3, 3), (4, 3)])
def test_strip_is_no_longer_than_asked(app: Flask, length: int, shown: int) -> None:
    pipeline = make_pipeline_with([ran(SUCCESS, number) for number in range(3)])

    assert len(run_strips(pipeline_ids=[pipeline.id], length=length)[pipeline.id]) == shown


def test_strip_shows_every_status_in_order_of_event_time(app: Flask) -> None:
    order = [FAILED, SKIPPED, SUCCESS, CANCELED]
    pipeline = make_pipeline_with([ran(status, number) for number, status in enumerate(reversed(order), start=1)])
    make_run(pipeline, **runs_since(0.5))

    assert [bar.status for bar in run_strips(pipeline_ids=[pipeline.id])[pipeline.id]] == [*order, RUNNING]


def test_strip_at_one_event_time_is_in_order_of_recording(app: Flask) -> None:
    pipeline = make_pipeline_with([ran(FAILED, 5), ran(SUCCESS, 5), ran(CANCELED, 5)])

    assert [bar.status for bar in run_strips(pipeline_ids=[pipeline.id])[pipeline.id]] == [FAILED, SUCCESS, CANCELED]


def test_strips_of_several_pipelines_are_apart(app: Flask) -> None:
    one, two = make_pipeline_with([ran(SUCCESS, 5)]), make_pipeline_with([ran(FAILED, 6), ran(FAILED, 7)])
    none, unknown = make_pipeline(), uuid4()

    strips = run_strips(pipeline_ids=[two.id, none.id, one.id, unknown])

    found: dict[UUID, list[RunStatus]] = {key: [bar.status for bar in strip] for key, strip in strips.items()}
    assert found == {two.id: [FAILED, FAILED], none.id: [], one.id: [SUCCESS], unknown: []}


def test_health_of_named_pipelines_is_listed_worst_first(app: Flask) -> None:
    well = make_pipeline_with([ran(SUCCESS, 5)])
    failing, longer = (make_pipeline_with([ran(FAILED, minutes)]) for minutes in (5, 50))
    make_pipeline_with([ran(FAILED, 500)])
    ids = [pipeline.id for pipeline in (well, failing, longer)]

    assert [each.pipeline_id for each in list_health_of(pipeline_ids=ids, now=NOW)] == [longer.id, failing.id, well.id]
    assert [each.pipeline_id for each in list_health_of(pipeline_ids=ids, now=NOW, limit=1)] == [longer.id, well.id]


def test_no_pipelines_have_no_strips(app: Flask) -> None:
    assert run_strips(pipeline_ids=[]) == {}


# -- counts by status ---------------------------------------------------------------------------------------------


def test_counts_by_status_name_all_five(app: Flask) -> None:
    client = make_client()

    counts = count_client_runs_by_status(client_id=client.id, since=ago(60), until=NOW)

    assert counts == dict.fromkeys(RunStatus, 0)


def test_counts_by_status_are_of_a_window_of_event_time(app: Flask) -> None:
    client = make_client()
    day = timedelta(days=1)
    one = [ran(SUCCESS, 60), ran(SUCCESS, 30, started=9000), ran(FAILED, 0), ran(FAILED, 60.001), runs_since(10)]
    make_pipeline_with(one, client=client)
    make_pipeline_with([ran(CANCELED, 20), ran(SKIPPED, 20)], client=client, is_active=False)
    make_pipeline_with([ran(FAILED, 20)])

    def counts(since: datetime, until: datetime) -> tuple[int, ...]:
        found = count_client_runs_by_status(client_id=client.id, since=since, until=until)
        return tuple(found[status] for status in (SUCCESS, FAILED, RUNNING, CANCELED, SKIPPED))

    assert counts(ago(60), NOW) == (2, 0, 1, 1, 1)
    assert counts(ago(60), NOW + timedelta(microseconds=1)) == (2, 1, 1, 1, 1)
    assert counts(NOW - day, ago(60)) == (0, 1, 0, 0, 0)
    assert counts(NOW - day, NOW + day) == (2, 2, 1, 1, 1)


def test_counts_by_status_need_a_client(app: Flask) -> None:
    with pytest.raises(NotFound):
        count_client_runs_by_status(client_id=uuid4(), since=ago(60), until=NOW)


def test_no_row_is_written_by_reading(session: scoped_session[Session]) -> None:
    make_pipeline_with([ran(FAILED, 5)])
    list_fleet_health(now=NOW)
    look_at_fleet(now=NOW)

    assert not session.dirty
    assert not session.new
