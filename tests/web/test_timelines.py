"""When pipelines ran, laid out in per cent of a window."""

from __future__ import annotations

from datetime import timedelta

import pytest

from chm_web.models import RunStatus
from chm_web.web.timelines import NARROWEST, Timeline, lay_out
from tests.factories import NOW, make_pipeline, make_run
from tests.reporting.scene import ago

pytestmark = pytest.mark.usefixtures("app")


def places(timeline: Timeline) -> list[tuple[str, float, float]]:
    """Of the one row: status, place and width of each mark."""
    (row,) = timeline.rows.values()
    return [(mark.status.value, mark.x, mark.width) for mark in row.marks]


def of_one(*runs: dict[str, object], since: float = 10) -> Timeline:
    """The last ten hours of a pipeline with these runs."""
    pipeline = make_pipeline()
    for values in runs:
        make_run(pipeline, **values)
    return lay_out(pipeline_ids=[pipeline.id], since=ago(since), until=NOW)


def test_run_that_ended_after_the_window_is_drawn_but_does_not_count() -> None:
    timeline = of_one(
        {"started_at": ago(8), "finished_at": ago(6)},
        {"started_at": ago(2), "finished_at": ago(-3)},
        {"started_at": ago(-1), "finished_at": ago(-2)},
    )

    assert places(timeline) == [("success", 20, 20), ("success", 80, 20)]
    assert [row.summary for row in timeline.rows.values()] == ["1 succeeded, 1 ended later"]


def test_mark_reaches_from_the_start_to_the_end_of_a_run() -> None:
    timeline = of_one({"started_at": ago(8), "finished_at": ago(6)})

    assert places(timeline) == [("success", 20, 20)]


def test_run_that_began_before_the_window_is_cut() -> None:
    timeline = of_one({"started_at": ago(12), "finished_at": ago(9)})

    assert places(timeline) == [("success", 0, 10)]


@pytest.mark.parametrize(("started", "x", "width"), [(2, 80, 20), (30, 0, 100)])
def test_run_that_still_runs_reaches_the_end(started: float, x: float, width: float) -> None:
    timeline = of_one({"status": RunStatus.RUNNING, "started_at": ago(started)})

    assert places(timeline) == [("running", x, width)]


def test_run_without_length_is_seen_even_at_the_very_end() -> None:
    almost = NOW - timedelta(seconds=1)

    timeline = of_one({"started_at": almost, "finished_at": almost})

    assert places(timeline) == [("success", 100 - NARROWEST, NARROWEST)]


def test_runs_too_close_to_tell_apart_are_one_mark_of_each_status() -> None:
    close = [NOW - timedelta(hours=4, seconds=-20 * number) for number in range(6)]
    statuses = [RunStatus.SUCCESS] * 5 + [RunStatus.FAILED]
    runs = [{"status": status, "started_at": at, "finished_at": at} for at, status in zip(close, statuses, strict=True)]

    (row,) = of_one(*runs).rows.values()

    assert [mark.status for mark in row.marks] == [RunStatus.SUCCESS, RunStatus.FAILED]
    assert row.marks[0].title.startswith("5 succeeded")
    assert row.summary == "1 failed, 5 succeeded"


def test_ticks_stand_at_round_hours() -> None:
    timeline = of_one(since=6)

    assert [(tick.x, tick.label) for tick in timeline.ticks[:2]] == [(16.67, "07:00"), (33.33, "08:00")]


def test_pipeline_that_did_not_run_has_an_empty_row() -> None:
    (row,) = of_one().rows.values()

    assert (row.marks, row.summary) == ([], "No runs")
