"""``/ingestion/sources``: what runs are read from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from chm_web.ingestion.queue.signs import give_sign, note_asked, note_error
from tests.api.envelope import UNAVAILABLE, issues, refusal
from tests.http import ApiClient

SOURCES = "/ingestion/sources"


def only_source(api: ApiClient) -> dict[str, Any]:
    """The one source that is configured."""
    answer = api.get(SOURCES).get_json()
    assert answer["next_cursor"] is None
    [source] = answer["items"]
    return dict(source)


def test_without_a_source_the_list_is_empty(api: ApiClient) -> None:
    assert api.get(SOURCES).get_json() == {"items": [], "next_cursor": None}


@pytest.mark.usefixtures("with_partner")
def test_a_source_that_was_never_read_is_shown_with_every_field(api: ApiClient) -> None:
    assert only_source(api) == {
        "name": "partner",
        "kind": "partner",
        "address": "http://127.0.0.1:9",
        "platforms": ["vendor_api"],
        "client": None,
        "is_paused": False,
        "interval_seconds": 300,
        "slowed": None,
        "next_run_at": None,
        "last_success_at": None,
        "lag_seconds": None,
        "is_behind": False,
        "failures_in_row": 0,
        "counts": None,
        "last_error": None,
        "last_error_at": None,
    }


@pytest.mark.usefixtures("with_partner")
def test_a_source_that_fails_is_shown_with_how_often_it_is_read_and_when_next(api: ApiClient, app: Flask) -> None:
    redis = app.extensions["chm_queue"].redis
    next_cycle = datetime.now(UTC) + timedelta(minutes=1)
    give_sign(redis, next_cycle=next_cycle)
    note_asked(redis, begins_at={"partner": datetime.now(UTC)})
    note_error(redis, source="partner", error="partner answers 503")
    read_at = datetime.now(UTC) - timedelta(hours=1)
    redis.hset(
        "chm:source:partner",
        mapping={"failures": 4, "counts": "[6, 5, 4, 3, 2]", "last_success_at": read_at.isoformat()},
    )

    source = only_source(api)

    assert source["slowed"] == "Failed 4 times in a row: read every 40 min instead of every 5 min."
    assert (source["interval_seconds"], source["failures_in_row"], source["is_behind"]) == (2400, 4, True)
    # The first cycle after 37.5 minutes from now: they come a minute from now, and each five minutes.
    assert datetime.fromisoformat(source["next_run_at"]) == next_cycle + timedelta(minutes=40)
    assert source["counts"] == {"pages": 6, "created": 5, "updated": 4, "unchanged": 3, "rejected": 2}
    assert (source["last_error"], source["last_error_at"][-1]) == ("partner answers 503", "Z")
    assert 3600 <= source["lag_seconds"] < 3700


@pytest.mark.usefixtures("with_partner")
def test_a_source_whose_turn_is_still_to_come_is_read_next_then(api: ApiClient, app: Flask) -> None:
    redis = app.extensions["chm_queue"].redis
    turn = datetime.now(UTC) + timedelta(seconds=30)
    give_sign(redis, next_cycle=datetime.now(UTC) + timedelta(minutes=5))

    note_asked(redis, begins_at={"partner": turn})

    assert datetime.fromisoformat(only_source(api)["next_run_at"]) == turn


def test_list_of_sources_takes_no_parameters(api: ApiClient) -> None:
    assert list(issues(api.get(SOURCES, limit=1))) == ["limit"]


@pytest.mark.usefixtures("without_redis")
def test_sources_without_redis_are_unavailable(api: ApiClient) -> None:
    assert refusal(api.get(SOURCES)) == UNAVAILABLE
