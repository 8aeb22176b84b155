"""``/clients/{id}/runs/summary``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from chm_web.models import Client, Platform, RunStatus
from tests.api.envelope import INVALID, NOT_FOUND, issues, refusal
from tests.factories import NOW, make_client, make_pipeline, make_run
from tests.http import ApiClient

RUNNING, SKIPPED, CANCELED, SUCCESS, FAILED = RunStatus
DAY = timedelta(days=1)
ZERO = {"running": 0, "skipped": 0, "canceled": 0, "success": 0, "failed": 0}


@pytest.fixture
def client_of_runs(api: ApiClient) -> Client:
    """The client whose runs are summed up."""
    return make_client()


@pytest.fixture
def path(client_of_runs: Client) -> str:
    """Its summary."""
    return f"/clients/{client_of_runs.id}/runs/summary"


def test_summary_of_a_client_without_pipelines(api: ApiClient, client_of_runs: Client, path: str) -> None:
    body = api.get(path).get_json()

    assert set(body) == {"client_id", "since", "until", "status_counts", "latest_by_pipeline"}
    assert body["client_id"] == str(client_of_runs.id)
    assert (body["status_counts"], body["latest_by_pipeline"]) == (ZERO, [])


def test_window_is_the_last_30_days_unless_asked_otherwise(api: ApiClient, path: str) -> None:
    before = datetime.now(UTC)
    body = api.get(path).get_json()
    since, until = (datetime.fromisoformat(body[name]) for name in ("since", "until"))

    assert before <= until <= datetime.now(UTC)
    assert until - since == 30 * DAY
    assert body["until"].endswith("Z")


def test_window_given_in_part_is_filled_in(api: ApiClient, path: str) -> None:
    ended = api.get(path, until=NOW.isoformat()).get_json()
    begun = api.get(path, since="2026-01-01T00:00:00").get_json()

    assert (ended["since"], ended["until"]) == ("2026-10-02T12:00:00Z", "2026-11-01T12:00:00Z")
    assert begun["since"] == "2026-01-01T00:00:00Z"


def test_counts_are_of_event_time_in_the_window(api: ApiClient, client_of_runs: Client, path: str) -> None:
    pipelines = [make_pipeline(client_of_runs), make_pipeline(client_of_runs, is_active=False)]
    for pipeline in pipelines:
        make_run(pipeline, started_at=NOW - 9 * DAY, finished_at=NOW)
        make_run(pipeline, status=FAILED, started_at=NOW - 9 * DAY, finished_at=NOW + DAY - DAY / 9)
        make_run(pipeline, status=RUNNING, started_at=NOW)
        make_run(pipeline, started_at=NOW, finished_at=NOW + DAY)
        make_run(pipeline, status=SKIPPED, started_at=None, finished_at=NOW - DAY)
    make_run(started_at=NOW, finished_at=NOW)

    body = api.get(path, since=NOW.isoformat(), until=(NOW + DAY).isoformat()).get_json()

    assert body["status_counts"] == {**ZERO, "success": 2, "failed": 2, "running": 2}


def test_latest_run_of_each_pipeline_whatever_the_window(api: ApiClient, client_of_runs: Client, path: str) -> None:
    empty = make_pipeline(client_of_runs, name="B empty", platform=Platform.CRON)
    busy = make_pipeline(client_of_runs, name="a busy", platform=Platform.DBT)
    make_pipeline(name="another client's")
    make_run(busy, started_at=NOW - DAY, finished_at=NOW + DAY)
    make_run(busy, status=FAILED, started_at=NOW, finished_at=NOW + timedelta(minutes=1))

    body = api.get(path, until="2026-01-01T00:00:00Z").get_json()

    assert body["latest_by_pipeline"] == [
        {
            "pipeline_id": str(busy.id),
            "pipeline_name": "a busy",
            "platform": "dbt",
            "latest_status": "failed",
            "latest_run_at": "2026-11-01T12:01:00Z",
        },
        {
            "pipeline_id": str(empty.id),
            "pipeline_name": "B empty",
            "platform": "cron",
            "latest_status": None,
            "latest_run_at": None,
        },
    ]


BAD_QUERIES: dict[str, tuple[dict[str, str], str]] = {
    "empty window": ({"since": "2026-11-01T00:00:00Z", "until": "2026-11-01T00:00:00Z"}, "since"),
    "backward window": ({"since": "2026-11-02T00:00:00Z", "until": "2026-11-01T00:00:00Z"}, "since"),
    "since in the future": ({"since": "2198-01-01T00:00:00Z"}, "since"),
    "words": ({"since": "yesterday"}, "since"),
    "unknown parameter": ({"window": "7d"}, "window"),
}


@pytest.mark.parametrize("case", BAD_QUERIES)
def test_summary_refuses_bad_parameters(api: ApiClient, path: str, case: str) -> None:
    query, field = BAD_QUERIES[case]

    response = api.get(path, **query)

    assert refusal(response) == INVALID
    assert list(issues(response)) == [field]


def test_summary_of_an_unknown_client_is_not_found(api: ApiClient) -> None:
    assert refusal(api.get(f"/clients/{uuid4()}/runs/summary")) == NOT_FOUND
