"""The days of a pipeline, its usual duration, and what stands around a run."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import text

from chm_web.extensions import db
from chm_web.models import Run, RunStatus
from chm_web.services.health import StripRun, run_strips
from chm_web.services.pipeline_history import Around, DayState, UsualDuration, list_days, runs_around, usual_duration
from tests.factories import NOW, make_pipeline, make_run

RUNNING, SKIPPED, CANCELED, SUCCESS, FAILED = RunStatus
DAY = timedelta(days=1)


def at(day: int, hour: int = 0, minute: int = 0) -> datetime:
    """A moment of November 2026, where NOW is noon of the first day."""
    return datetime(2026, 10, 31, hour, minute, tzinfo=UTC) + day * DAY


def test_days_count_by_outcome_in_utc_and_end_today(app: Flask) -> None:
    pipeline = make_pipeline()
    for ended, status in (
        (at(-1, 23, 59), SUCCESS),  # the day before the window
        (at(0, 0, 0), SUCCESS),  # midnight is the first moment of its day
        (at(0, 23, 59), FAILED),
        (at(1, 11, 0), CANCELED),
        (at(1, 13, 0), FAILED),  # later today, by a clock that is ahead
    ):
        make_run(pipeline, started_at=ended - timedelta(hours=3), finished_at=ended, status=status)
    make_run(make_pipeline(), finished_at=at(0, 1), started_at=at(0, 1))

    days = list_days(pipeline_id=pipeline.id, now=NOW, days=2)

    assert [(day.day, day.succeeded, day.failed, day.others) for day in days] == [
        (date(2026, 10, 31), 1, 1, 0),
        (date(2026, 11, 1), 0, 1, 1),
    ]


@pytest.mark.parametrize(
    ("statuses", "state"),
    [
        ([], DayState.EMPTY),
        ([SUCCESS, CANCELED], DayState.SUCCEEDED),
        ([FAILED, SKIPPED], DayState.FAILED),
        ([FAILED, SUCCESS], DayState.MIXED),
        ([SKIPPED, RUNNING], DayState.UNDECIDED),
    ],
)
def test_state_of_a_day_is_told_by_successes_and_failures(
    app: Flask, statuses: list[RunStatus], state: DayState
) -> None:
    pipeline = make_pipeline()
    for status in statuses:
        make_run(pipeline, started_at=NOW, finished_at=None if status is RUNNING else NOW, status=status)

    assert list_days(pipeline_id=pipeline.id, now=NOW)[-1].state is state


def test_without_runs_every_day_is_there(app: Flask) -> None:
    days = list_days(pipeline_id=make_pipeline().id, now=NOW)

    assert [day.day for day in days] == [date(2026, 11, 1) - place * DAY for place in range(89, -1, -1)]
    assert {day.runs for day in days} == {0}


def strip_of(*durations: float | None, status: RunStatus = SUCCESS) -> list[StripRun]:
    """Runs that took so long."""
    return [StripRun(status, seconds) for seconds in durations]


def test_usual_duration_is_of_timed_successes_alone(app: Flask) -> None:
    runs = [*strip_of(10, None, 30), *strip_of(9999, status=FAILED), *strip_of(None, status=RUNNING)]

    usual = usual_duration(runs)

    assert usual is not None
    # Between 10 and 30: the middle, and 95 % of the way.
    assert (usual.runs, usual.median, usual.p95) == pytest.approx((2, 20, 29))


def test_usual_duration_of_one_run_is_its_own(app: Flask) -> None:
    assert usual_duration(strip_of(7)) == UsualDuration(1, 7, 7)


def test_without_a_timed_success_no_duration_is_usual(app: Flask) -> None:
    assert usual_duration(strip_of(None)) is None


def test_usual_duration_agrees_with_the_dashboards(app: Flask) -> None:
    pipeline = make_pipeline()
    for place, seconds in enumerate((3, 5, 8, 13, 21, 34)):
        started = NOW - timedelta(hours=place + 1)
        make_run(pipeline, started_at=started, finished_at=started + timedelta(seconds=seconds))
    query = text(
        "SELECT runs, p50_seconds, p95_seconds FROM reporting.durations_by_pipeline(:since, :until)"
        " WHERE pipeline_id = :pipeline_id"
    )

    theirs = db.session.execute(query, {"since": NOW - DAY, "until": NOW, "pipeline_id": pipeline.id}).one()
    usual = usual_duration(run_strips(pipeline_ids=[pipeline.id], length=100)[pipeline.id])

    assert usual is not None
    assert (usual.runs, usual.median, usual.p95) == pytest.approx(tuple(theirs))


@pytest.fixture
def runs(app: Flask) -> dict[str, Run]:
    """Five runs of a pipeline by event time; two of them at one moment, where the id decides."""
    pipeline = make_pipeline()
    make_run(make_pipeline(), external_run_id="another pipeline's", started_at=NOW, finished_at=NOW)
    return {
        name: make_run(
            pipeline, external_run_id=name, started_at=NOW, finished_at=NOW + minute * DAY / 1440, status=status
        )
        for name, minute, status in (
            ("first", 0, SUCCESS),
            ("second", 1, CANCELED),
            ("third", 2, FAILED),
            ("fourth", 2, FAILED),
            ("fifth", 3, SUCCESS),
        )
    }


@pytest.mark.parametrize(
    ("name", "previous", "following", "last_good"),
    [
        ("first", None, "second", None),
        ("second", "first", "third", "first"),
        ("third", "second", "fourth", "first"),
        ("fourth", "third", "fifth", "first"),
        # The run itself is no success before itself.
        ("fifth", "fourth", None, "first"),
    ],
)
def test_neighbours_are_by_event_time(
    runs: dict[str, Run], name: str, previous: str | None, following: str | None, last_good: str | None
) -> None:
    around = runs_around(runs[name])

    found = [neighbour and neighbour.id for neighbour in (around.previous, around.next, around.last_good)]
    assert found == [wanted and runs[wanted].id for wanted in (previous, following, last_good)]


def test_only_run_has_nothing_around_it(app: Flask) -> None:
    assert runs_around(make_run()) == Around()
