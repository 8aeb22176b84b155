"""Lists and tallies of pipelines by their health: who counts, in what order, how many."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

import pytest
from flask import Flask
from sqlalchemy.orm import Session, scoped_session

from chm_web.services.changes import look_at_fleet
from chm_web.services.health import (
    ClientHealth,
    Health,
    HealthTally,
    PipelineHealth,
    list_fleet_health,
    list_health_of,
    look_at_client,
    tally_fleet_health,
)
from tests.factories import NOW, make_client
from tests.reporting import scene
from tests.services.histories import (
    FAILED,
    FAILING,
    HEALTHY,
    LATE,
    NO_DATA,
    RUNS,
    SUCCESS,
    health_of,
    make_pipeline_with,
    ran,
    runs_since,
)


def test_disabled_pipeline_is_left_out_of_the_fleet_and_shown_alone(app: Flask) -> None:
    client = make_client()
    disabled = make_pipeline_with([ran(FAILED, 10)], client=client, is_active=False)

    assert list_fleet_health(now=NOW) == []
    assert tally_fleet_health(now=NOW).total == 0
    assert look_at_fleet(since=NOW, now=NOW).by_client == {}
    assert look_at_client(client_id=client.id, now=NOW).pipelines == []
    assert (health_of(disabled).health, health_of(disabled).is_active) == (FAILING, False)


def test_disabled_client_is_left_out_of_the_fleet_and_shown_alone(app: Flask) -> None:
    client = make_client(is_active=False)
    pipeline = make_pipeline_with([ran(FAILED, 10)], client=client)

    assert list_fleet_health(now=NOW) == []
    assert tally_fleet_health(now=NOW).total == 0
    assert look_at_fleet(since=NOW, now=NOW).by_client == {}
    assert look_at_client(client_id=client.id, now=NOW).pipelines == [health_of(pipeline)]
    assert health_of(pipeline).health is FAILING


def test_an_empty_fleet_has_a_tally_of_noughts(app: Flask) -> None:
    assert tally_fleet_health(now=NOW) == HealthTally(dict.fromkeys(Health, 0), 0)


def test_list_of_an_unknown_client_is_empty(app: Flask) -> None:
    assert look_at_client(client_id=uuid4(), now=NOW).pipelines == []


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
    by_client = look_at_fleet(since=NOW, now=NOW).by_client
    whole = tally_fleet_health(now=NOW)

    assert len(by_client) == 2
    assert {each: sum(tally.counts[each] for tally in by_client.values()) for each in Health} == whole.counts
    assert sum(tally.running_now for tally in by_client.values()) == whole.running_now
    assert sum(by_client.values(), HealthTally()) == whole


def test_tally_of_a_client_agrees_with_its_list(fleet: list[str]) -> None:
    for client_id, tally in look_at_fleet(since=NOW, now=NOW).by_client.items():
        listed = [item for item in list_fleet_health(now=NOW) if item.client_id == client_id]
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


def test_health_of_named_pipelines_is_listed_worst_first(app: Flask) -> None:
    well = make_pipeline_with([ran(SUCCESS, 5)])
    failing, longer = (make_pipeline_with([ran(FAILED, minutes)]) for minutes in (5, 50))
    make_pipeline_with([ran(FAILED, 500)])
    ids = [pipeline.id for pipeline in (well, failing, longer)]

    assert [each.pipeline_id for each in list_health_of(pipeline_ids=ids, now=NOW)] == [longer.id, failing.id, well.id]
    assert [each.pipeline_id for each in list_health_of(pipeline_ids=ids, now=NOW, limit=1)] == [longer.id, well.id]


def test_no_row_is_written_by_reading(session: scoped_session[Session]) -> None:
    make_pipeline_with([ran(FAILED, 5)])
    list_fleet_health(now=NOW)
    look_at_fleet(since=NOW, now=NOW)

    assert not session.dirty
    assert not session.new
