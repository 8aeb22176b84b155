"""Reading runs. How they are written is tested in ``test_record_runs``."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chm_web.extensions import db
from chm_web.models import Pipeline, Run, RunStatus
from chm_web.services.exceptions import Invalid, NotFound
from chm_web.services.runs import create_run, get_latest_run, get_pipeline_run, list_pipeline_runs, report_run
from tests.factories import NOW, make_pipeline, make_record, make_run

RUNNING, SKIPPED, CANCELED, SUCCESS, FAILED = RunStatus

TIMES = [None, NOW, NOW + timedelta(hours=1)]
LONG_AGO = datetime(1970, 1, 2, tzinfo=NOW.tzinfo)


def latest_key(run: Run) -> tuple[Any, ...]:
    """The latest-run order of the data model, written down a second time; null is the smallest."""
    return (run.started_at or LONG_AGO, run.finished_at or LONG_AGO, run.id)


def read_all(pipeline: Pipeline, **query: Any) -> list[Run]:
    """Every run, page by page."""
    found: list[Run] = []
    cursor = None
    while True:
        page = list_pipeline_runs(pipeline_id=pipeline.id, cursor=cursor, **query)
        found += page.items
        if page.next_cursor is None:
            return found
        cursor = page.next_cursor


@pytest.fixture
def pipeline(app: Flask) -> Pipeline:
    """A pipeline with runs of every combination of null and equal times, each twice."""
    made = make_pipeline()
    for started, finished in [*itertools.product(TIMES, TIMES)] * 2:
        if not (started and finished and finished < started):
            make_run(made, started_at=started, finished_at=finished)
    return made


@pytest.mark.parametrize("limit", range(1, 18))
@pytest.mark.parametrize("order", ["desc", "asc"])
def test_pages_add_up_to_the_latest_run_order(pipeline: Pipeline, order: str, limit: int) -> None:
    runs = list_pipeline_runs(pipeline_id=pipeline.id, limit=1000).items
    assert len(runs) == 16

    found = read_all(pipeline, order=order, limit=limit)

    assert found == sorted(runs, key=latest_key, reverse=order == "desc")


def test_latest_run_is_the_first_of_the_list(pipeline: Pipeline) -> None:
    assert get_latest_run(pipeline_id=pipeline.id) == list_pipeline_runs(pipeline_id=pipeline.id).items[0]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    times=st.lists(st.tuples(st.sampled_from(TIMES), st.sampled_from(TIMES)), max_size=8),
    limit=st.integers(1, 4),
    order=st.sampled_from(["desc", "asc"]),
    since=st.sampled_from([None, *TIMES[1:]]),
)
def test_pages_add_up_for_any_runs_and_window(
    app: Flask, times: list[tuple[Any, Any]], limit: int, order: str, since: datetime | None
) -> None:
    pipeline = make_pipeline()
    for started, finished in times:
        make_run(pipeline, started_at=started, finished_at=max(started, finished) if started and finished else finished)
    runs = db.session.scalars(db.select(Run).filter_by(pipeline_id=pipeline.id)).all()
    expected = [run for run in runs if since is None or run.event_at >= since]

    found = read_all(pipeline, limit=limit, order=order, since=since)

    assert found == sorted(expected, key=latest_key, reverse=order == "desc")


def test_runs_added_between_pages_are_read_when_they_lie_ahead(app: Flask) -> None:
    pipeline = make_pipeline()
    for minute in (0, 2, 4):
        make_run(pipeline, external_run_id=f"r{minute}", started_at=NOW + timedelta(minutes=minute), finished_at=None)
    first = list_pipeline_runs(pipeline_id=pipeline.id, limit=2)
    make_run(pipeline, external_run_id="behind", started_at=NOW + timedelta(minutes=3), finished_at=None)
    make_run(pipeline, external_run_id="ahead", started_at=NOW + timedelta(minutes=1), finished_at=None)

    second = list_pipeline_runs(pipeline_id=pipeline.id, limit=9, cursor=first.next_cursor)

    assert [run.external_run_id for run in first.items] == ["r4", "r2"]
    assert [run.external_run_id for run in second.items] == ["ahead", "r0"]


def test_removed_cursor_row_does_not_break_the_next_page(app: Flask) -> None:
    pipeline = make_pipeline()
    for minute in range(3):
        make_run(pipeline, external_run_id=f"r{minute}", started_at=NOW + timedelta(minutes=minute), finished_at=None)
    first = list_pipeline_runs(pipeline_id=pipeline.id, limit=1)
    db.session.delete(first.items[0])
    db.session.commit()

    second = list_pipeline_runs(pipeline_id=pipeline.id, cursor=first.next_cursor)

    assert [run.external_run_id for run in second.items] == ["r1", "r0"]


WINDOWS: dict[str, tuple[int | None, int | None, list[int]]] = {
    "open": (None, None, [0, 1, 2, 3]),
    "since is inclusive": (2, None, [2, 3]),
    "until is exclusive": (None, 2, [0, 1]),
    "both": (1, 3, [1, 2]),
    "one moment": (1, 2, [1]),
    "before all": (-5, 0, []),
    "after all": (4, 9, []),
}


@pytest.mark.parametrize("case", WINDOWS)
def test_window_is_on_event_time(app: Flask, case: str) -> None:
    since, until, expected = WINDOWS[case]
    pipeline = make_pipeline()
    for minute in range(4):
        # All start together, long before: only the finish can decide.
        make_run(
            pipeline,
            external_run_id=str(minute),
            started_at=NOW - timedelta(days=1),
            finished_at=NOW + timedelta(minutes=minute),
        )

    found = list_pipeline_runs(
        pipeline_id=pipeline.id,
        since=None if since is None else NOW + timedelta(minutes=since),
        until=None if until is None else NOW + timedelta(minutes=until),
        order="asc",
    )

    assert [int(run.external_run_id) for run in found.items] == expected


@pytest.mark.parametrize("minutes", [0, 1])
def test_empty_window_is_invalid(app: Flask, minutes: int) -> None:
    with pytest.raises(Invalid) as refused:
        list_pipeline_runs(pipeline_id=make_pipeline().id, since=NOW + timedelta(minutes=minutes), until=NOW)

    assert [detail.field for detail in refused.value.details] == ["since"]


def test_reading_needs_a_pipeline(app: Flask) -> None:
    with pytest.raises(NotFound):
        list_pipeline_runs(pipeline_id=uuid4())
    with pytest.raises(NotFound):
        get_latest_run(pipeline_id=uuid4())


def test_pipeline_without_runs_has_no_latest_run(app: Flask) -> None:
    with pytest.raises(NotFound, match="no run yet"):
        get_latest_run(pipeline_id=make_pipeline().id)


def test_created_run_is_given_as_it_was_stored(app: Flask) -> None:
    record = make_record(make_pipeline(), external_run_id="a\0b", error_message="password=x1")

    run = create_run(record=record, updated_by="jane")

    assert (run.external_run_id, run.error_message, run.updated_by) == ("a\ufffdb", "password=[redacted]", "jane")
    assert run.duration_seconds == 60


def test_report_gives_the_run_as_it_stands_and_whether_it_is_new(app: Flask) -> None:
    pipeline = make_pipeline()
    running = make_record(pipeline, external_run_id="r", status=RUNNING, rows_processed=7)

    first, created = report_run(record=running, updated_by="jane")
    assert (first.status, first.updated_by, created) == (RUNNING, "jane", True)

    second, created = report_run(record=make_record(pipeline, external_run_id="r"))
    assert (second.status, second.rows_processed, created) == (SUCCESS, 7, False)
    assert second == get_pipeline_run(pipeline_id=pipeline.id, external_run_id="r")


def test_report_needs_a_pipeline_and_storable_values(app: Flask) -> None:
    with pytest.raises(NotFound):
        report_run(record=make_record(uuid4()))
    with pytest.raises(Invalid) as refused:
        report_run(record=make_record(make_pipeline(), rows_processed=-1))

    assert [detail.field for detail in refused.value.details] == ["rows_processed"]
