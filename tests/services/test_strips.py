"""A pipeline's last runs, and a client's runs counted by status."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from flask import Flask

from chm_web.models import RunStatus
from chm_web.services.exceptions import NotFound
from chm_web.services.health import (
    list_recent_runs,
    run_strips,
)
from chm_web.services.runs import count_client_runs_by_status
from tests.factories import NOW, make_client, make_pipeline, make_run
from tests.services.histories import (
    CANCELED,
    FAILED,
    RUNNING,
    SKIPPED,
    SUCCESS,
    ago,
    health_of,
    make_pipeline_with,
    ran,
    runs_since,
)


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
