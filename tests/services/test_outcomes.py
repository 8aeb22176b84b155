"""Figures over time, worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from chm_web.services.outcomes import (
    DAY,
    HOUR,
    OTHERS,
    bucket_for,
    client_failures,
    failures_by_group,
)
from tests.factories import NOW, make_client, make_pipeline, make_record
from tests.reporting import scene
from tests.services.recording import record

pytestmark = pytest.mark.usefixtures("app")


def test_failures_are_counted_by_client_and_hour() -> None:
    scene.build()

    figures = failures_by_group(since=scene.ago(6), until=NOW, by="client")

    assert figures.starts == [scene.ago(hours) for hours in (6, 5, 4, 3, 2, 1)]
    assert [(series.name, series.values) for series in figures.series] == [
        ("Acme", [0, 1, 0, 1, 0, 0]),
        ("Birch", [0, 0, 1, 0, 0, 0]),
        ("Closed", [1, 0, 0, 0, 0, 0]),
    ]


def test_failures_are_counted_by_platform_and_day_of_utc() -> None:
    scene.build()

    figures = failures_by_group(since=scene.ago(72), until=NOW, by="platform")

    # NOW is noon: the window touches four days.
    assert figures.starts == [datetime(2026, 10, day, tzinfo=UTC) for day in (29, 30, 31)] + [
        datetime(2026, 11, 1, tzinfo=UTC)
    ]
    assert {series.name: sum(series.values) for series in figures.series} == {
        "custom": 5,
        "airflow": 3,
        "dbt": 2,
        "vendor_api": 2,
    }


@pytest.mark.parametrize("name", ["client 4", OTHERS])
def test_those_with_fewest_failures_are_summed_up(name: str) -> None:
    for number, client in enumerate(("client 1", "client 2", "client 3", name), start=1):
        pipeline = make_pipeline(make_client(name=client))
        for _ in range(number):
            record(make_record(pipeline, **scene.run(scene.FAILED, 1)))

    figures = failures_by_group(since=scene.ago(2), until=NOW, by="client", top=2)

    assert [(series.name, sum(series.values)) for series in figures.series] == [
        (name, 4),
        ("client 3", 3),
        (OTHERS, 3),
    ]


def test_window_that_begins_within_a_bucket_shows_all_of_its_beginning() -> None:
    since = NOW - timedelta(hours=1, minutes=30)

    assert failures_by_group(since=since, until=NOW, by="client").starts == [NOW - 2 * HOUR, NOW - HOUR]


def test_two_days_are_shown_by_hours_and_more_by_days() -> None:
    assert bucket_for(since=NOW - 2 * DAY, until=NOW) == HOUR
    assert bucket_for(since=NOW - 3 * DAY, until=NOW) == DAY


def test_failures_of_a_client_are_those_of_all_its_pipelines() -> None:
    ids = scene.build()

    figures = client_failures(client_id=ids["Acme"], since=scene.ago(6), until=NOW)

    assert figures.starts == [scene.ago(hours) for hours in (6, 5, 4, 3, 2, 1)]
    assert [(series.name, series.values) for series in figures.series] == [("Failed", [0, 1, 0, 1, 0, 0])]
