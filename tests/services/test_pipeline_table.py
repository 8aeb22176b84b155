"""The table of all pipelines."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from chm_web.models import Environment, Pipeline, PipelineType, Platform, RunStatus
from chm_web.services.clients import disable_client
from chm_web.services.effective_rules import RuleSource
from chm_web.services.exceptions import Invalid
from chm_web.services.health import Health
from chm_web.services.pipeline_table import (
    PipelineFilters,
    PipelineOrder,
    PipelineRow,
    iterate_pipeline_rows,
    list_pipeline_rows,
)
from tests.factories import NOW, make_alert_rule, make_client, make_pipeline, make_run

pytestmark = pytest.mark.usefixtures("app")

ALL = PipelineFilters()


def run(pipeline: Pipeline, status: RunStatus, hours: float, minutes: float | None = 1) -> None:
    """A run that ended ``hours`` before now and took ``minutes`` (None: a run that is not timed)."""
    ended = NOW - timedelta(hours=hours)
    started = None if minutes is None else ended - timedelta(minutes=minutes)
    make_run(pipeline, status=status, started_at=started, finished_at=ended)


def failing(hours: float, **values: Any) -> Pipeline:
    pipeline = make_pipeline(**values)
    run(pipeline, RunStatus.FAILED, hours)
    return pipeline


def healthy(hours: float = 1, **values: Any) -> Pipeline:
    pipeline = make_pipeline(**values)
    run(pipeline, RunStatus.SUCCESS, hours)
    return pipeline


def rows(filters: PipelineFilters = ALL, order: PipelineOrder = PipelineOrder.CLIENT, **more: Any) -> list[PipelineRow]:
    return list_pipeline_rows(filters=filters, order=order, now=NOW, **more).rows


def names(*args: Any, **more: Any) -> list[str]:
    return [row.pipeline_name for row in rows(*args, **more)]


def fleet() -> None:
    """Two clients and a pipeline in each state that an order tells apart."""
    acme, zorn = make_client(name="acme"), make_client(name="Zorn")
    failing(2, client=zorn, name="broken_lately")
    failing(30, client=acme, name="broken_long")
    healthy(5, client=zorn, name="All_well")
    healthy(9, client=acme, name="silent", expected_every_minutes=60)
    make_pipeline(client=acme, name="blank")


def test_by_client_the_pipelines_of_a_client_are_by_name_whatever_the_case() -> None:
    fleet()

    assert names() == ["blank", "broken_long", "silent", "All_well", "broken_lately"]


def test_by_name_all_clients_are_mixed() -> None:
    fleet()

    assert names(order=PipelineOrder.NAME) == ["All_well", "blank", "broken_lately", "broken_long", "silent"]


def test_by_health_the_worst_are_first_and_of_these_those_that_have_been_so_for_longest() -> None:
    fleet()

    assert names(order=PipelineOrder.HEALTH) == ["broken_long", "broken_lately", "silent", "All_well", "blank"]


def test_by_last_finished_those_that_never_did_are_last_in_both_directions() -> None:
    fleet()

    assert names(order=PipelineOrder.FINISHED) == ["broken_long", "silent", "All_well", "broken_lately", "blank"]
    assert names(order=PipelineOrder.FINISHED, descending=True) == [
        "broken_lately",
        "All_well",
        "silent",
        "broken_long",
        "blank",
    ]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("order", PipelineOrder)
def test_pages_of_every_order_put_together_are_the_whole_table(order: PipelineOrder, descending: bool) -> None:
    fleet()
    owner = make_client(name="ties")
    for number in range(4):
        make_pipeline(client=owner, name=f"tie_{number}")
    whole = [
        row.pipeline_name for row in iterate_pipeline_rows(filters=ALL, order=order, descending=descending, now=NOW)
    ]

    found: list[str] = []
    cursor = None
    while True:
        page = list_pipeline_rows(filters=ALL, order=order, descending=descending, now=NOW, limit=2, cursor=cursor)
        found += [row.pipeline_name for row in page.rows]
        cursor = page.next_cursor
        if cursor is None:
            break

    assert found == whole
    assert len(set(found)) == 9


def test_later_page_is_judged_at_the_moment_of_the_first() -> None:
    owner = make_client()
    for name in ("first", "second"):
        healthy(1, client=owner, name=name, expected_every_minutes=60)
    first = list_pipeline_rows(filters=ALL, order=PipelineOrder.NAME, now=NOW, limit=1)

    second = list_pipeline_rows(
        filters=ALL, order=PipelineOrder.NAME, now=NOW + timedelta(days=1), limit=1, cursor=first.next_cursor
    )

    assert (second.now, second.rows[0].health) == (NOW, Health.HEALTHY)


def test_cursor_of_another_order_is_refused() -> None:
    fleet()
    cursor = list_pipeline_rows(filters=ALL, order=PipelineOrder.NAME, now=NOW, limit=1).next_cursor

    with pytest.raises(Invalid):
        list_pipeline_rows(filters=ALL, order=PipelineOrder.CLIENT, now=NOW, cursor=cursor)


def test_filters_hold_together() -> None:
    owner = make_client()
    wanted: dict[str, Any] = {
        "platform": Platform.DBT,
        "pipeline_type": PipelineType.QUALITY,
        "environment": Environment.STAGING,
    }
    failing(1, client=owner, name="orders_wanted", **wanted)
    failing(1, client=owner, name="other_name", **wanted)
    failing(1, name="orders_of_another", **wanted)
    healthy(1, client=owner, name="orders_healthy", **wanted)
    for number, field in enumerate(wanted):
        others = {name: value for name, value in wanted.items() if name != field}
        failing(1, client=owner, name=f"orders_{number}", **others)

    found = names(PipelineFilters(q="ORDERS", client_id=owner.id, health=Health.FAILING, **wanted))

    assert found == ["orders_wanted"]


def test_text_to_find_is_taken_literally() -> None:
    make_pipeline(name="a_b")
    make_pipeline(name="axb")

    assert names(PipelineFilters(q="a_b")) == ["a_b"]


def test_pipeline_of_a_disabled_client_is_not_in_service() -> None:
    gone = make_client()
    make_pipeline(client=gone, name="of_gone")
    make_pipeline(name="off", is_active=False)
    make_pipeline(name="on")
    disable_client(client_id=gone.id)

    assert names(PipelineFilters(in_service=True)) == ["on"]
    assert sorted(names(PipelineFilters(in_service=False))) == ["of_gone", "off"]


def test_row_tells_of_the_last_fourteen_runs_how_many_failed_and_their_median_duration() -> None:
    pipeline = make_pipeline()
    for hours in range(1, 15):
        # Of the last 14: three failures of a minute, eleven successes of 1, 2, ... 11 minutes.
        if hours <= 3:
            run(pipeline, RunStatus.FAILED, hours)
        else:
            run(pipeline, RunStatus.SUCCESS, hours, minutes=hours - 3)
    run(pipeline, RunStatus.FAILED, 20, minutes=500)

    [row] = rows()

    assert (len(row.strip), row.failed, row.median_seconds) == (14, 3, 6 * 60)


def test_without_a_timed_success_there_is_no_median() -> None:
    pipeline = failing(1)
    run(pipeline, RunStatus.SUCCESS, 2, minutes=None)

    assert rows()[0].median_seconds is None


def test_row_tells_since_when_and_what_runs() -> None:
    pipeline = failing(5)
    run(pipeline, RunStatus.FAILED, 2)
    make_run(pipeline, status=RunStatus.RUNNING, started_at=NOW - timedelta(minutes=7))

    [row] = rows()

    assert row.health is Health.FAILING
    assert row.since == NOW - timedelta(hours=5)
    assert row.last_finished_at == NOW - timedelta(hours=2)
    assert row.running_since == NOW - timedelta(minutes=7)


def test_enabled_rule_of_its_own_puts_those_of_the_client_aside() -> None:
    owner = make_client()
    stranger = make_client()
    own, inherits, disabled = (make_pipeline(owner, name=name) for name in ("own", "inherits", "disabled"))
    bare = make_pipeline(stranger)
    make_alert_rule(client_id=owner.id)
    make_alert_rule(pipeline_id=own.id, client_id=owner.id)
    make_alert_rule(pipeline_id=disabled.id, is_enabled=False)
    # A rule of a pipeline is none of its client, though it names the client.
    make_alert_rule(pipeline_id=make_pipeline(stranger).id, client_id=stranger.id)

    found = {row.pipeline_id: row.rule_source for row in rows()}

    assert found[own.id] is RuleSource.PIPELINE
    assert found[inherits.id] is RuleSource.CLIENT
    assert found[disabled.id] is RuleSource.CLIENT
    assert found[bare.id] is RuleSource.NONE


def test_whole_table_is_read_in_batches_in_its_order() -> None:
    fleet()

    found = iterate_pipeline_rows(filters=ALL, order=PipelineOrder.NAME, now=NOW, batch=2)

    assert [row.pipeline_name for row in found] == ["All_well", "blank", "broken_lately", "broken_long", "silent"]
