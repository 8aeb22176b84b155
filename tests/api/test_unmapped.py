"""``/ingestion/unmapped``: what is reported and belongs to no pipeline."""

from __future__ import annotations

import time
from typing import Any

import pytest
from flask import Flask
from redis import Redis

from chm_web.models import Pipeline, RunStatus
from tests.api.envelope import UNAVAILABLE, issues, refusal
from tests.api.lineage import DAG_RUN_ID, NOTHING, UNMAPPED, send_all, unmapped
from tests.factories import find_run
from tests.http import ApiClient
from tests.ingestion.lineage import RUN_ID, make_airflow_event, make_event, make_task_failure


def test_unmapped_names_are_counted_and_shown(api: ApiClient) -> None:
    send_all(api, make_event(eventType="START", run_id="first"))
    send_all(api, make_event(eventType="RUNNING"), make_event(eventType="FAIL", integration="AIRFLOW"))
    send_all(api, make_event(name="other", eventType="OTHER"))

    other, orders = unmapped(api)

    assert (other["name"], other["count"], other["last_status"]) == ("vendor/other", 1, None)
    assert orders["first_seen_at"] < orders["last_seen_at"] <= other["last_seen_at"]
    assert orders["last_seen_at"].endswith("Z")
    assert {name: value for name, value in orders.items() if not name.endswith("_at")} == {
        "source": "openlineage",
        "name": "vendor/nightly_orders",
        "count": 3,
        "last_status": "failed",
        "reason": "No active pipeline has this external id.",
        "sample": {
            "namespace": "vendor",
            "job": "nightly_orders",
            "job_type": "JOB",
            "platform": "airflow",
            "run_id": RUN_ID,
            "event_type": "FAIL",
            "event_time": "2026-11-01T12:00:00+00:00",
            "producer": "https://vendor.example/loader",
        },
    }


def test_unmapped_names_are_kept_for_a_week_after_they_were_seen(api: ApiClient, app: Flask) -> None:
    redis = Redis.from_url(app.config["CHM"].redis_url)
    send_all(api, make_event(name="old"))
    [old] = redis.zrange("chm:unmapped", 0, -1)
    seen_then: dict[Any, float] = {old: time.time() - 7 * 86_400 - 1}
    redis.zadd("chm:unmapped", seen_then)

    send_all(api, make_event(name="new"))

    assert [name["name"] for name in unmapped(api)] == ["vendor/new"]
    left = [redis.ttl(key) for key in redis.scan_iter("chm:unmapped*")]
    assert len(left) == 3
    assert all(7 * 86_400 - 60 < seconds <= 7 * 86_400 for seconds in left)


def test_list_of_unmapped_names_takes_no_parameters(api: ApiClient) -> None:
    assert list(issues(api.get(UNMAPPED, limit=1))) == ["limit"]


@pytest.mark.usefixtures("without_redis")
def test_unmapped_names_without_redis_are_unavailable(api: ApiClient) -> None:
    assert refusal(api.get(UNMAPPED)) == UNAVAILABLE


@pytest.mark.usefixtures("without_redis")
def test_without_redis_runs_are_recorded_and_nothing_is_an_error(api: ApiClient, orders: Pipeline) -> None:
    result = send_all(api, make_event(), make_event(name="nobodys"), make_task_failure(), make_airflow_event())

    assert result == {**NOTHING, "created": 2, "unmapped": 1, "ignored": 1}
    assert find_run(orders.id, DAG_RUN_ID).status is RunStatus.FAILED
    assert send_all(api, make_event(name="nobodys"))["unmapped"] == 1
