"""Health in the lists of pipelines, and the health of one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask

from chm_web.models import Platform, RunStatus
from chm_web.services.health import Health, look_at_client
from chm_web.services.pipeline_lists import list_client_pipelines, list_pipelines
from tests.api.envelope import INVALID, NOT_FOUND, issues, refusal
from tests.factories import NOW, make_client, make_pipeline, make_run
from tests.http import ApiClient

HOUR = timedelta(hours=1)


def ran(pipeline: Any, status: RunStatus, hours_ago: float) -> None:
    """Record a run that ended so many hours before now."""
    ended = datetime.now(UTC) - timedelta(hours=hours_ago)
    finished = None if status is RunStatus.RUNNING else ended
    make_run(pipeline, status=status, started_at=ended - timedelta(minutes=5), finished_at=finished)


@pytest.fixture
def fleet(app: Flask) -> dict[str, str]:
    """Two clients with a pipeline in each health, the second one's disabled: names and their health."""
    for client, is_active in ((make_client(name="a"), True), (make_client(name="b"), False)):
        values: dict[str, Any] = {"is_active": is_active, "platform": Platform.DBT}
        failing = make_pipeline(client, name=f"{client.name} failing", **values)
        ran(failing, RunStatus.SUCCESS, 3)
        ran(failing, RunStatus.FAILED, 2)
        ran(failing, RunStatus.RUNNING, 1)
        late = make_pipeline(client, name=f"{client.name} late", expected_every_minutes=60, **values)
        ran(late, RunStatus.SUCCESS, 5)
        ran(make_pipeline(client, name=f"{client.name} running", **values), RunStatus.RUNNING, 1)
        ran(make_pipeline(client, name=f"{client.name} healthy", **values), RunStatus.SUCCESS, 1)
        make_pipeline(client, name=f"{client.name} no_data", **{**values, "platform": Platform.CRON})
    return {f"{client} {health}": health for client in "ab" for health in Health}


def names(api: ApiClient, path: str = "/pipelines", **query: Any) -> list[str]:
    """The names on all pages."""
    found: list[str] = []
    page: dict[str, Any] = {"next_cursor": None}
    while True:
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else {}
        page = api.get(path, **query, **cursor).get_json()
        found += [item["name"] for item in page["items"]]
        if page["next_cursor"] is None:
            return found


@pytest.mark.parametrize("path", ["/pipelines", "client"])
def test_lists_show_the_health_of_each_pipeline(api: ApiClient, fleet: dict[str, str], path: str) -> None:
    if path == "client":
        path = f"/clients/{api.get('/clients', q='a').get_json()['items'][0]['id']}/pipelines"

    items = api.get(path).get_json()["items"]

    assert items
    assert {item["name"]: item["health"] for item in items}.items() <= fleet.items()


def test_lists_show_the_latest_run(api: ApiClient, fleet: dict[str, str]) -> None:
    items = {item["name"]: item for item in api.get("/pipelines").get_json()["items"]}

    assert items["a failing"]["latest_status"] == "running"
    latest = api.get(f"/pipelines/{items['a healthy']['id']}/runs/latest").get_json()
    assert (items["a healthy"]["latest_status"], items["a healthy"]["latest_run_at"]) == (
        "success",
        latest["finished_at"],
    )
    assert (items["a no_data"]["latest_status"], items["a no_data"]["latest_run_at"]) == (None, None)


@pytest.mark.parametrize("limit", [1, 100])
@pytest.mark.parametrize("health", Health)
def test_pipelines_are_filtered_by_health(api: ApiClient, fleet: dict[str, str], health: Health, limit: int) -> None:
    expected = [f"a {health}", f"b {health}"]

    assert names(api, health=health.value, limit=limit) == expected


COMBINED: dict[str, tuple[dict[str, str], list[str]]] = {
    "active": ({"health": "failing", "is_active": "true"}, ["a failing"]),
    "disabled": ({"health": "failing", "is_active": "false"}, ["b failing"]),
    "platform": ({"health": "no_data", "platform": "cron"}, ["a no_data", "b no_data"]),
    "another platform": ({"health": "no_data", "platform": "dbt"}, []),
    "name": ({"health": "late", "q": "B L"}, ["b late"]),
    "environment and type": (
        {"health": "healthy", "environment": "prod", "pipeline_type": "ingestion"},
        ["a healthy", "b healthy"],
    ),
    "another environment": ({"health": "healthy", "environment": "dev"}, []),
    "unknown client": ({"health": "healthy", "client_id": str(uuid4())}, []),
}


@pytest.mark.parametrize("limit", [1, 100])
@pytest.mark.parametrize("case", COMBINED)
def test_health_combines_with_the_other_filters(api: ApiClient, fleet: dict[str, str], case: str, limit: int) -> None:
    query, expected = COMBINED[case]

    assert names(api, **query, limit=limit) == expected


def test_health_of_nobody_is_refused(api: ApiClient) -> None:
    response = api.get("/pipelines", health="well")

    assert refusal(response) == INVALID
    assert list(issues(response)) == ["health"]


def test_lists_say_the_same_as_the_pages_do(app: Flask, fleet: dict[str, str]) -> None:
    now = datetime.now(UTC)
    listed = {item.pipeline.id: item for item in list_pipelines(now=now, is_active=True).items}

    [client_id] = {item.pipeline.client_id for item in listed.values()}
    shown = look_at_client(client_id=client_id, now=now).pipelines

    assert {each.pipeline_id: (each.health, each.latest_status) for each in shown} == {
        key: (item.health, item.latest_status) for key, item in listed.items()
    }


@pytest.mark.parametrize("scope", ["fleet", "client"])
def test_pages_of_one_listing_are_judged_at_one_moment(app: Flask, scope: str) -> None:
    client = make_client()
    for name in ("a", "b"):
        pipeline = make_pipeline(client, name=name, expected_every_minutes=60)
        make_run(pipeline, started_at=NOW, finished_at=NOW)

    def listed(now: datetime, cursor: str | None) -> Any:
        if scope == "client":
            return list_client_pipelines(client_id=client.id, now=now, limit=1, cursor=cursor)
        return list_pipelines(now=now, health=Health.HEALTHY, limit=1, cursor=cursor)

    first = listed(NOW + HOUR, None)
    second = listed(NOW + 10 * HOUR, first.next_cursor)

    assert [(item.pipeline.name, item.health) for item in first.items + second.items] == [
        ("a", Health.HEALTHY),
        ("b", Health.HEALTHY),
    ]


def test_health_of_one_pipeline_tells_since_when_and_with_what_error(api: ApiClient) -> None:
    pipeline = make_pipeline()
    ran(pipeline, RunStatus.SUCCESS, 4)
    now = datetime.now(UTC)
    for hours in (3, 2):
        run = make_run(
            pipeline,
            status=RunStatus.FAILED,
            started_at=now - hours * HOUR,
            finished_at=now - hours * HOUR,
            error_message="full",
        )

    body = api.get(f"/pipelines/{pipeline.id}/health").get_json()

    assert (body["pipeline_id"], body["health"], body["failures_in_row"]) == (str(pipeline.id), "failing", 2)
    assert (body["last_failed_run_id"], body["last_error"]) == (str(run.id), "full")
    assert body["since"] == (now - 3 * HOUR).isoformat().replace("+00:00", "Z")


def test_health_changes_nothing_of_the_pipeline_itself(api: ApiClient) -> None:
    pipeline = make_pipeline()
    path = f"/pipelines/{pipeline.id}"
    before = api.get(path)

    ran(pipeline, RunStatus.FAILED, 1)

    assert api.get(path, headers={"If-None-Match": before.headers["ETag"]}).status_code == 304
    assert api.patch(path, {}, headers={"If-Match": before.headers["ETag"]}).status_code == 200


def test_health_of_an_unknown_pipeline_is_not_found(api: ApiClient) -> None:
    assert refusal(api.get(f"/pipelines/{uuid4()}/health")) == NOT_FOUND
