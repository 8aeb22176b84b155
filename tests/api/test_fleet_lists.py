"""``/pipelines`` and ``/runs``: lists over all clients."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from chm_web.models import Environment, PipelineType, Platform, RunStatus
from tests.api.envelope import INVALID, issues, refusal
from tests.factories import NOW, make_client, make_pipeline, make_run
from tests.http import ApiClient

FAILED = RunStatus.FAILED
HOUR = timedelta(hours=1)


def listed(api: ApiClient, path: str, **query: Any) -> list[str]:
    """The names or external ids on all pages."""
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        response = api.get(path, **query, **cursor)
        assert response.status_code == 200, response.text
        page = response.get_json()
        assert len(page["items"]) <= int(query.get("limit", 100))
        found += [item.get("external_run_id") or item["name"] for item in page["items"]]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


# -- pipelines ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
def test_pipelines_are_listed_by_client_and_name(api: ApiClient, limit: int) -> None:
    second, first = make_client(name="b"), make_client(name="A")
    for client, name in ((second, "1"), (first, "Z"), (first, "y"), (second, "0")):
        make_pipeline(client, name=name)

    assert listed(api, "/pipelines", limit=limit) == ["y", "Z", "0", "1"]


def test_pipelines_are_filtered(api: ApiClient) -> None:
    client = make_client(name="a")
    make_pipeline(client, name="dbt", platform=Platform.DBT)
    make_pipeline(client, name="export", pipeline_type=PipelineType.EXPORT)
    make_pipeline(client, name="dev", environment=Environment.DEV, is_active=False)
    make_pipeline(make_client(name="b"), name="other dbt", platform=Platform.DBT)

    assert listed(api, "/pipelines", platform="dbt") == ["dbt", "other dbt"]
    assert listed(api, "/pipelines", pipeline_type="export") == ["export"]
    assert listed(api, "/pipelines", environment="dev") == ["dev"]
    assert listed(api, "/pipelines", is_active="false") == ["dev"]
    assert listed(api, "/pipelines", is_active="true", client_id=str(client.id)) == ["dbt", "export"]
    assert listed(api, "/pipelines", q="DB", client_id=str(client.id)) == ["dbt"]
    assert listed(api, "/pipelines", client_id=str(uuid4())) == []


# -- runs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("scope", ["fleet", "client"])
def test_runs_are_listed_by_event_time(api: ApiClient, scope: str, limit: int) -> None:
    client = make_client()
    one, two = make_pipeline(client), make_pipeline(client)
    make_run(one, external_run_id="b", started_at=NOW - 9 * HOUR, finished_at=NOW + HOUR)
    make_run(two, external_run_id="a", started_at=None, finished_at=NOW + 2 * HOUR)
    make_run(two, external_run_id="d", started_at=NOW, finished_at=NOW)
    make_run(one, external_run_id="c", started_at=NOW, finished_at=NOW)
    make_run(one, external_run_id="e", status=RunStatus.RUNNING, started_at=NOW - HOUR)
    query = {"client_id": str(client.id)} if scope == "client" else {}

    assert listed(api, "/runs", limit=limit, **query) == ["a", "b", "c", "d", "e"]


def test_runs_are_filtered(api: ApiClient) -> None:
    mine, other = make_pipeline(), make_pipeline()
    make_run(mine, external_run_id="failed", status=FAILED, started_at=NOW, finished_at=NOW)
    make_run(mine, external_run_id="older", status=FAILED)
    make_run(mine, external_run_id="success", started_at=NOW, finished_at=NOW)
    make_run(other, external_run_id="other", status=FAILED, started_at=NOW, finished_at=NOW + HOUR)

    assert listed(api, "/runs", status="failed") == ["other", "failed", "older"]
    assert listed(api, "/runs", status="failed", since=NOW.isoformat()) == ["other", "failed"]
    assert listed(api, "/runs", until=NOW.isoformat()) == ["older"]
    assert listed(api, "/runs", pipeline_id=str(other.id)) == ["other"]
    assert listed(api, "/runs", client_id=str(mine.client_id), status="failed", limit=1) == ["failed", "older"]
    assert listed(api, "/runs", client_id=str(mine.client_id), pipeline_id=str(other.id)) == []
    assert listed(api, "/runs", client_id=str(uuid4())) == []


def test_runs_are_shown_as_they_are_read_alone(api: ApiClient) -> None:
    run = make_run()
    alone = api.get(f"/runs/{run.id}").get_json()

    assert api.get("/runs").get_json()["items"] == [alone]
    pipeline = api.get(f"/pipelines/{run.pipeline_id}").get_json()
    assert api.get("/runs", client_id=pipeline["client_id"]).get_json()["items"] == [alone]


BAD_QUERIES: dict[str, tuple[str, dict[str, str], str]] = {
    "pipelines of an unknown platform": ("/pipelines", {"platform": "excel"}, "platform"),
    "pipelines of a client that is no UUID": ("/pipelines", {"client_id": "1"}, "client_id"),
    "pipelines by a cursor of nothing": ("/pipelines", {"cursor": "W10"}, "cursor"),
    "runs in an empty window": (
        "/runs",
        {"since": "2026-11-01T00:00:00Z", "until": "2026-11-01T00:00:00Z"},
        "since",
    ),
    "runs in a state of nobody": ("/runs", {"status": "ok"}, "status"),
    "runs by a cursor of nothing": ("/runs", {"cursor": "W10"}, "cursor"),
    "runs in another order": ("/runs", {"order": "asc"}, "order"),
    "runs beyond the limit": ("/runs", {"limit": "1001"}, "limit"),
}


@pytest.mark.parametrize("case", BAD_QUERIES)
def test_lists_refuse_bad_parameters(api: ApiClient, case: str) -> None:
    path, query, field = BAD_QUERIES[case]

    response = api.get(path, **query)

    assert refusal(response) == INVALID
    assert list(issues(response)) == [field]
