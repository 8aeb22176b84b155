"""The table of all clients."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from chm_web.models import Client, Pipeline, RunStatus
from chm_web.services.client_table import ClientOrder, ClientRow, list_all_client_rows, list_client_rows
from chm_web.services.exceptions import Invalid
from chm_web.services.health import Health
from tests.factories import NOW, make_alert_rule, make_client, make_pipeline, make_run

pytestmark = pytest.mark.usefixtures("app")

FAILED, SUCCESS = RunStatus.FAILED, RunStatus.SUCCESS


def run(pipeline: Pipeline, status: RunStatus, hours: float) -> None:
    ended = NOW - timedelta(hours=hours)
    make_run(pipeline, status=status, started_at=ended - timedelta(minutes=1), finished_at=ended)


def pipeline_with(owner: Client, *runs: tuple[RunStatus, float], **values: Any) -> Pipeline:
    """A pipeline with runs of these states, so many hours before now."""
    pipeline = make_pipeline(owner, **values)
    for status, hours in runs:
        run(pipeline, status, hours)
    return pipeline


def rows(**more: Any) -> list[ClientRow]:
    return list_client_rows(now=NOW, **more).rows


def names(**more: Any) -> list[str]:
    return [row.client_name for row in rows(**more)]


def test_client_is_told_with_its_pipelines_by_health() -> None:
    owner = make_client()
    pipeline_with(owner, (FAILED, 1))
    pipeline_with(owner, (SUCCESS, 9), expected_every_minutes=60)
    pipeline_with(owner, (SUCCESS, 1))
    pipeline_with(owner, (FAILED, 1), is_active=False)
    busy = pipeline_with(owner)
    make_run(busy, status=RunStatus.RUNNING, started_at=NOW - timedelta(minutes=5))

    [row] = rows()

    assert row.tally.counts == {
        Health.FAILING: 1,
        Health.LATE: 1,
        Health.RUNNING: 1,
        Health.HEALTHY: 1,
        Health.NO_DATA: 0,
    }
    assert (row.tally.total, row.tally.running_now) == (4, 1)


def test_newly_failing_is_what_fails_now_and_did_not_a_day_ago() -> None:
    owner = make_client()
    pipeline_with(owner, (SUCCESS, 30), (FAILED, 2))  # since yesterday
    pipeline_with(owner, (FAILED, 3))  # had not finished anything before
    pipeline_with(owner, (FAILED, 30), (FAILED, 2))  # failed already
    pipeline_with(owner, (FAILED, 30), (SUCCESS, 5), (FAILED, 2))  # failed then too, whatever was in between
    pipeline_with(owner, (FAILED, 3), (SUCCESS, 2))  # is well again
    pipeline_with(owner, (SUCCESS, 30), (FAILED, 2), is_active=False)

    [row] = rows()

    assert (row.tally.counts[Health.FAILING], row.newly_failing) == (4, 2)


def test_success_rate_is_of_the_last_seven_days_and_told_against_the_seven_before() -> None:
    owner = make_client()
    week = 7 * 24
    # The week: 3 of 4, the skipped one left aside. The week before: 1 of 2. Older: nobody asks.
    pipeline_with(owner, (SUCCESS, 1), (SUCCESS, 2), (FAILED, 3), (RunStatus.SKIPPED, 4), (SUCCESS, week))
    pipeline_with(owner, (SUCCESS, week + 1), (FAILED, 2 * week), (FAILED, 2 * week + 1))

    [row] = rows()

    assert (row.success_rate, row.success_rate_before) == (0.75, 0.5)
    assert row.success_change == 0.25


def test_without_finished_runs_there_is_no_rate_and_no_change() -> None:
    pipeline_with(make_client(), (SUCCESS, 1))

    [row] = rows()

    assert (row.success_rate, row.success_rate_before, row.success_change) == (1.0, None, None)


def test_rules_count_the_enabled_ones_of_the_client_and_of_its_pipelines() -> None:
    owner = make_client()
    pipeline = make_pipeline(owner)
    make_alert_rule(client_id=owner.id)
    make_alert_rule(client_id=owner.id, destination="#off", is_enabled=False)
    make_alert_rule(pipeline_id=pipeline.id)
    make_alert_rule(client_id=owner.id, pipeline_id=pipeline.id, destination="#other")

    assert rows()[0].rules == 3


def fleet() -> None:
    """Four clients that every order puts in another place."""
    bad, worse, well = make_client(name="bad"), make_client(name="Worse"), make_client(name="all well")
    pipeline_with(bad, (SUCCESS, 30), (FAILED, 2))
    pipeline_with(bad, (SUCCESS, 9), expected_every_minutes=60)
    pipeline_with(worse, (FAILED, 30), (FAILED, 3))
    pipeline_with(worse, (FAILED, 30))
    pipeline_with(well, (SUCCESS, 1))
    make_client(name="gone", is_active=False)


@pytest.mark.parametrize(
    ("order", "descending", "expected"),
    [
        (ClientOrder.FAILING, True, ["Worse", "bad", "all well", "gone"]),
        (ClientOrder.FAILING, False, ["all well", "bad", "Worse", "gone"]),
        (ClientOrder.LATE, True, ["bad", "all well", "Worse", "gone"]),
        (ClientOrder.NEWLY, True, ["bad", "all well", "Worse", "gone"]),
        (ClientOrder.SUCCESS, False, ["Worse", "bad", "all well", "gone"]),
        (ClientOrder.SUCCESS, True, ["all well", "bad", "Worse", "gone"]),
        (ClientOrder.NAME, False, ["all well", "bad", "gone", "Worse"]),
        (ClientOrder.NAME, True, ["Worse", "gone", "bad", "all well"]),
    ],
)
def test_order_puts_equals_by_name_and_disabled_ones_last(
    order: ClientOrder, descending: bool, expected: list[str]
) -> None:
    fleet()

    assert names(order=order, descending=descending) == expected


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("order", ClientOrder)
def test_pages_of_every_order_put_together_are_the_whole_table(order: ClientOrder, descending: bool) -> None:
    fleet()
    make_client(name="without anything")
    whole = [row.client_name for row in list_all_client_rows(now=NOW, order=order, descending=descending)]

    found: list[str] = []
    cursor = None
    while True:
        page = list_client_rows(now=NOW, order=order, descending=descending, limit=2, cursor=cursor)
        found += [row.client_name for row in page.rows]
        cursor = page.next_cursor
        if cursor is None:
            break

    assert found == whole
    assert len(set(found)) == 5


def test_filters_hold_together() -> None:
    for name, is_active in (("Acme North", True), ("acme south", False), ("Zorn", True)):
        make_client(name=name, is_active=is_active)

    assert names(q="ACME", is_active=True) == ["Acme North"]
    assert names(q="acme", is_active=False) == ["acme south"]


def test_cursor_of_another_order_is_refused() -> None:
    fleet()
    cursor = list_client_rows(now=NOW, order=ClientOrder.NAME, limit=1).next_cursor

    with pytest.raises(Invalid):
        list_client_rows(now=NOW, order=ClientOrder.LATE, cursor=cursor)
