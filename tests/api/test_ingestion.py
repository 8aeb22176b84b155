"""``/ingestion``: asking for an ingestion and reading jobs. No worker runs, so that jobs stay queued."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from flask.testing import FlaskClient

from chm_web.ingestion import queue
from chm_web.ingestion.progress import (
    Counts,
    IngestionJob,
    JobState,
    RejectedRun,
    SourceProgress,
    SyncScope,
    UnreadPipeline,
)
from chm_web.models import Platform
from tests.api.envelope import CONFLICT, INVALID, NOT_FOUND, UNAVAILABLE, issues, refusal
from tests.factories import make_client, make_pipeline
from tests.http import ApiClient

SYNC = "/ingestion/runs/sync"
JOBS = "/ingestion/jobs"
EMPTY_COUNTS = {"pages": 0, "created": 0, "updated": 0, "unchanged": 0, "rejected": 0}
EVERYTHING = {"client_id": None, "pipeline_id": None, "source": None}


def sync(api: ApiClient, **scope: Any) -> dict[str, Any]:
    """Ask for an ingestion that must be taken."""
    response = api.post(SYNC, {name: value if value is None else str(value) for name, value in scope.items()})
    assert response.status_code == 202, response.text
    job: dict[str, Any] = response.get_json()
    return job


# -- asking -------------------------------------------------------------------------------------------------------


def test_without_a_configured_source_sync_says_what_to_set(api: ApiClient) -> None:
    make_pipeline()

    response = api.post(SYNC, {})

    assert refusal(response) == CONFLICT
    message = response.get_json()["error"]["message"]
    assert "CHM_PARTNER_API_BASE_URL" in message
    assert "CHM_PARTNER_API_TOKEN" in message


@pytest.mark.usefixtures("with_partner")
def test_sync_gives_a_queued_job_with_every_field(api: ApiClient) -> None:
    make_pipeline()
    make_pipeline()
    before = datetime.now(UTC)

    job = sync(api)

    assert job["requested_at"].endswith("Z")
    assert before <= datetime.fromisoformat(job["requested_at"]) <= datetime.now(UTC)
    assert {name: value for name, value in job.items() if name not in ("id", "requested_at")} == {
        "state": "queued",
        "scope": EVERYTHING,
        "started_at": None,
        "ended_at": None,
        "counts": EMPTY_COUNTS,
        "pipelines_done": 0,
        "pipelines_total": 2,
        "pipelines_unread": 0,
        "error": None,
        "warning": None,
        "waiting_for": None,
        "waiting_until": None,
        "sources": [
            {
                "name": "partner",
                "state": "queued",
                "counts": EMPTY_COUNTS,
                "pipelines_done": 0,
                "pipelines_total": 2,
                "pipelines_unread": 0,
                "started_at": None,
                "ended_at": None,
                "error": None,
                "warning": None,
                "waiting_for": None,
                "waiting_until": None,
            }
        ],
    }


@pytest.mark.usefixtures("with_partner")
def test_asking_twice_gives_the_same_job(api: ApiClient) -> None:
    make_pipeline()

    assert sync(api)["id"] == sync(api)["id"]
    assert len(api.get(JOBS).get_json()["items"]) == 1


@pytest.mark.usefixtures("with_partner")
def test_narrower_scope_is_covered_by_a_live_job_of_everything(api: ApiClient) -> None:
    pipeline = make_pipeline()
    everything = sync(api)

    assert sync(api, client_id=pipeline.client_id)["id"] == everything["id"]
    assert sync(api, pipeline_id=pipeline.id)["id"] == everything["id"]
    assert sync(api, source="partner")["id"] == everything["id"]


@pytest.mark.usefixtures("with_partner")
def test_pipeline_is_covered_by_a_live_job_of_its_client(api: ApiClient) -> None:
    pipeline = make_pipeline()

    assert sync(api, client_id=pipeline.client_id)["id"] == sync(api, pipeline_id=pipeline.id)["id"]


@pytest.mark.usefixtures("with_partner")
def test_wider_scope_is_a_job_of_its_own(api: ApiClient) -> None:
    pipeline = make_pipeline()
    narrow = sync(api, pipeline_id=pipeline.id)

    wide = sync(api, client_id=pipeline.client_id)

    assert wide["id"] != narrow["id"]
    assert narrow["scope"] == {**EVERYTHING, "client_id": str(pipeline.client_id), "pipeline_id": str(pipeline.id)}
    assert wide["scope"] == {**EVERYTHING, "client_id": str(pipeline.client_id)}


@pytest.mark.usefixtures("with_partner")
def test_job_counts_only_what_the_source_can_read(api: ApiClient) -> None:
    client = make_client()
    make_pipeline(client)
    make_pipeline(client, external_id=None)
    make_pipeline(client, is_active=False)
    make_pipeline(client, platform=Platform.AIRFLOW)
    make_pipeline(make_client(is_active=False))

    assert sync(api)["pipelines_total"] == 1


@pytest.mark.usefixtures("with_partner")
@pytest.mark.parametrize("name", ["client_id", "pipeline_id"])
def test_sync_of_something_unknown_is_not_found(api: ApiClient, name: str) -> None:
    assert refusal(api.post(SYNC, {name: str(uuid4())})) == NOT_FOUND


@pytest.mark.usefixtures("with_partner")
def test_sync_of_an_unknown_source_names_those_that_there_are(api: ApiClient) -> None:
    response = api.post(SYNC, {"source": "elsewhere"})

    assert refusal(response) == NOT_FOUND
    assert "partner" in response.get_json()["error"]["message"]


@pytest.mark.usefixtures("with_partner")
def test_sync_of_a_disabled_client_is_refused(api: ApiClient) -> None:
    client = make_client(is_active=False)
    make_pipeline(client)

    assert refusal(api.post(SYNC, {"client_id": str(client.id)})) == CONFLICT


@pytest.mark.usefixtures("with_partner")
def test_sync_of_a_disabled_pipeline_is_refused(api: ApiClient) -> None:
    assert refusal(api.post(SYNC, {"pipeline_id": str(make_pipeline(is_active=False).id)})) == CONFLICT


@pytest.mark.usefixtures("with_partner")
def test_sync_of_a_pipeline_of_another_client_is_refused(api: ApiClient) -> None:
    body = {"client_id": str(make_client().id), "pipeline_id": str(make_pipeline().id)}

    assert refusal(api.post(SYNC, body)) == CONFLICT


@pytest.mark.usefixtures("with_partner")
def test_sync_with_nothing_to_read_says_why(api: ApiClient) -> None:
    make_pipeline(external_id=None)

    response = api.post(SYNC)

    assert refusal(response) == CONFLICT
    assert "external id" in response.get_json()["error"]["message"]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "client that is no uuid": ({"client_id": "x"}, "client_id"),
    "number as client": ({"client_id": 7}, "client_id"),
    "list as pipeline": ({"pipeline_id": []}, "pipeline_id"),
    "empty source": ({"source": ""}, "source"),
    "long source": ({"source": "x" * 201}, "source"),
    "NUL in the source": ({"source": "a\0"}, "source"),
    "unknown field": ({"full": True}, "full"),
}


@pytest.mark.usefixtures("with_partner")
@pytest.mark.parametrize("case", REFUSED)
def test_sync_refuses_a_scope_that_breaks_a_rule(api: ApiClient, case: str) -> None:
    body, field = REFUSED[case]

    response = api.post(SYNC, body)

    assert refusal(response) == INVALID
    assert list(issues(response)) == [field]


@pytest.mark.usefixtures("with_partner")
def test_sync_takes_no_query_parameters(api: ApiClient) -> None:
    assert list(issues(api.post(f"{SYNC}?source=partner"))) == ["source"]


# -- reading ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("with_partner")
def test_job_is_read_with_its_rejected_runs_and_unread_pipelines(api: ApiClient) -> None:
    make_pipeline()
    job = sync(api)

    assert api.get(f"{JOBS}/{job['id']}").get_json() == {**job, "rejected_runs": [], "unread_pipelines": []}


def test_job_that_failed_is_read_with_every_field(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    # A state that would take a worker and a partner to reach.
    noon = datetime(2026, 11, 1, 12, tzinfo=UTC)
    source = SourceProgress(
        name="partner",
        state=JobState.FAILED,
        counts=Counts(pages=5, created=4, updated=3, unchanged=2, rejected=1),
        pipelines_done=1,
        pipelines_total=2,
        started_at=noon + timedelta(seconds=1),
        ended_at=noon + timedelta(seconds=2.5),
        error="the partner answers 503",
    )
    job = IngestionJob(id="j", scope=SyncScope(), requested_at=noon, sources=(source, replace(source, name="other")))
    pipeline_id = uuid4()
    rejected = RejectedRun(source="partner", pipeline_id=pipeline_id, external_run_id="r", reason="status: is missing")
    monkeypatch.setattr(queue, "get_job", lambda *, job_id: job)
    unread = [
        UnreadPipeline(source="partner", pipeline_id=uuid4(), external_id=name, reason="404") for name in ("p", "q")
    ]
    monkeypatch.setattr(queue, "list_rejected", lambda *, job_id: [rejected])
    monkeypatch.setattr(queue, "list_unread", lambda *, job_id: unread)

    body = api.get(f"{JOBS}/j").get_json()

    assert body["state"] == "failed"
    assert body["counts"] == {"pages": 10, "created": 8, "updated": 6, "unchanged": 4, "rejected": 2}
    assert (body["pipelines_done"], body["pipelines_total"]) == (2, 4)
    assert (body["started_at"], body["ended_at"]) == ("2026-11-01T12:00:01Z", "2026-11-01T12:00:02.500000Z")
    assert body["error"] == "partner: the partner answers 503\nother: the partner answers 503"
    assert [source["name"] for source in body["sources"]] == ["partner", "other"]
    assert body["rejected_runs"] == [
        {
            "source": "partner",
            "pipeline_id": str(pipeline_id),
            "external_run_id": "r",
            "reason": "status: is missing",
        }
    ]
    assert body["unread_pipelines"] == [
        {
            "source": "partner",
            "pipeline_id": str(one.pipeline_id),
            "external_id": one.external_id,
            "reason": "404",
        }
        for one in unread
    ]


@pytest.mark.parametrize(
    "job_id", ["x", "c0ffee00-0000-4000-8000-000000000000", "%00", "a:b*", "x" * 5000, "%F0%9F%9A%9A"]
)
def test_unknown_job_is_not_found(api: ApiClient, job_id: str) -> None:
    assert refusal(api.get(f"{JOBS}/{job_id}")) == NOT_FOUND


def test_list_is_empty_without_jobs(api: ApiClient) -> None:
    assert api.get(JOBS).get_json() == {"items": [], "next_cursor": None}


@pytest.mark.usefixtures("with_partner")
def test_list_is_newest_first_and_no_longer_than_asked(api: ApiClient) -> None:
    jobs = [sync(api, pipeline_id=make_pipeline().id) for _ in range(3)]

    assert api.get(JOBS).get_json()["items"] == jobs[::-1]
    assert api.get(JOBS, limit=2).get_json() == {"items": [jobs[2], jobs[1]], "next_cursor": None}


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 101}, {"limit": "x"}, {"cursor": "x"}, {"state": "failed"}])
def test_list_refuses_bad_parameters(api: ApiClient, query: dict[str, Any]) -> None:
    response = api.get(JOBS, **query)

    assert refusal(response) == INVALID
    assert list(issues(response)) == list(query)


# -- without Redis ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("without_redis")
def test_sync_without_redis_is_unavailable(api: ApiClient) -> None:
    make_pipeline()

    response = api.post(SYNC, {})

    assert refusal(response) == UNAVAILABLE
    assert int(response.headers["Retry-After"]) > 0
    assert "Redis" in response.get_json()["error"]["message"]


@pytest.mark.usefixtures("without_redis")
@pytest.mark.parametrize("path", [JOBS, f"{JOBS}/x"])
def test_jobs_without_redis_are_unavailable(api: ApiClient, path: str) -> None:
    assert refusal(api.get(path)) == UNAVAILABLE


@pytest.mark.usefixtures("without_redis")
@pytest.mark.parametrize("path", ["/", "/clients"])
def test_pages_work_without_redis(client: FlaskClient, path: str) -> None:
    make_client(name="Northwind")

    assert client.get(path).status_code == 200


@pytest.mark.usefixtures("without_redis")
def test_runs_are_recorded_without_redis(api: ApiClient) -> None:
    assert api.post(f"/pipelines/{make_pipeline().id}/runs", {"status": "success"}).status_code == 201
