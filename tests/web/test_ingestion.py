"""Ingest now, from the pages."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
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
from chm_web.models import Pipeline
from tests.factories import make_client, make_pipeline

NOW = datetime.now(UTC)

FINISHED = IngestionJob(
    id="job-1",
    scope=SyncScope(),
    requested_at=NOW - timedelta(seconds=80),
    sources=(
        SourceProgress(
            name="partner",
            state=JobState.FINISHED,
            counts=Counts(pages=12, created=1203, updated=4, unchanged=90, rejected=2),
            pipelines_done=50,
            pipelines_total=50,
            started_at=NOW - timedelta(seconds=75),
            ended_at=NOW - timedelta(seconds=3),
        ),
    ),
)
FAILED = replace(
    FINISHED, sources=(replace(FINISHED.sources[0], state=JobState.FAILED, error="the partner answers 503"),)
)
RUNNING = replace(
    FINISHED,
    sources=(replace(FINISHED.sources[0], state=JobState.RUNNING, pipelines_done=7, ended_at=None),),
)
REJECTED = RejectedRun(source="partner", pipeline_id=None, external_run_id="run 7", reason="the end is not a time")


@pytest.fixture
def readable() -> Pipeline:
    """A pipeline that the configured source is asked for."""
    return make_pipeline(name="orders_daily")


def show(monkeypatch: pytest.MonkeyPatch, job: IngestionJob, *unread: UnreadPipeline) -> None:
    """Let the queue know ``job``, in a state that would take a worker and a partner to reach."""
    monkeypatch.setattr(queue, "get_job", lambda *, job_id: job)
    monkeypatch.setattr(queue, "list_unread", lambda *, job_id, limit: list(unread))
    monkeypatch.setattr(queue, "list_rejected", lambda *, job_id, limit: [REJECTED])


def test_result_names_the_pipeline_that_could_not_be_read_and_why(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, readable: Pipeline
) -> None:
    reason = "partner.example does not know it (404)."
    source = replace(FINISHED.sources[0], pipelines_unread=1, unread_example=f"orders-old: {reason}")
    unread = UnreadPipeline(source="partner", pipeline_id=readable.id, external_id="orders-old", reason=reason)
    show(monkeypatch, replace(FINISHED, sources=(source,)), unread)

    page = client.get("/ingestion/jobs/job-1").text

    assert "Ingestion finished, but not of all pipelines" in page
    assert f"partner: 1 of 50 pipelines could not be read. orders-old: {reason}" in page
    assert f'<a href="/pipelines/{readable.id}">orders_daily</a>.' in page


@pytest.mark.usefixtures("with_partner", "readable")
def test_ingest_now_leads_to_the_progress_of_a_job(client: FlaskClient, csrf_token: str) -> None:
    response = client.post("/ingestion/sync", data={"csrf_token": csrf_token})

    assert response.status_code == 303
    assert "Waiting for a worker" in client.get(response.location).text


@pytest.mark.usefixtures("with_partner", "readable")
def test_pressing_twice_gives_the_same_job(client: FlaskClient, csrf_token: str) -> None:
    first = client.post("/ingestion/sync", data={"csrf_token": csrf_token})
    second = client.post("/ingestion/sync", data={"csrf_token": csrf_token})

    assert first.location == second.location


@pytest.mark.usefixtures("with_partner")
def test_ingest_now_of_a_pipeline_names_it(client: FlaskClient, csrf_token: str, readable: Pipeline) -> None:
    response = client.post(
        "/ingestion/sync",
        data={"csrf_token": csrf_token, "pipeline_id": str(readable.id)},
        follow_redirects=True,
    )

    assert "Ingestion of orders_daily" in response.text


@pytest.mark.usefixtures("with_partner")
def test_live_job_of_a_client_shows_on_its_pipelines_page(
    client: FlaskClient, csrf_token: str, readable: Pipeline
) -> None:
    client.post("/ingestion/sync", data={"csrf_token": csrf_token, "client_id": str(readable.client_id)})

    assert "Waiting for a worker" in client.get(f"/pipelines/{readable.id}").text


def test_ingest_now_without_a_source_says_why(client: FlaskClient, csrf_token: str) -> None:
    response = client.post("/ingestion/sync", data={"csrf_token": csrf_token})

    assert response.status_code == 409
    assert "No source of runs is configured" in response.text
    assert "Try again" in response.text


@pytest.mark.usefixtures("without_redis")
def test_ingest_now_without_redis_says_so_in_the_panel(client: FlaskClient, csrf_token: str) -> None:
    response = client.post("/ingestion/sync", data={"csrf_token": csrf_token}, headers={"HX-Request": "true"})

    assert response.status_code == 503
    assert 'id="ingest-panel"' in response.text
    assert "Try again" in response.text


def test_ingest_now_without_a_token_is_refused(client: FlaskClient) -> None:
    assert client.post("/ingestion/sync").status_code == 400


def test_htmx_may_send_the_token_as_a_header(client: FlaskClient, csrf_token: str) -> None:
    response = client.post("/ingestion/sync", headers={"X-CSRFToken": csrf_token})

    assert response.status_code == 409  # past the token: nothing is configured


def test_ingest_now_of_an_unknown_pipeline_is_not_found(client: FlaskClient, csrf_token: str) -> None:
    data = {"csrf_token": csrf_token, "pipeline_id": str(uuid4())}

    assert client.post("/ingestion/sync", data=data).status_code == 404


def test_scope_that_is_no_id_is_a_bad_request(client: FlaskClient, csrf_token: str) -> None:
    data = {"csrf_token": csrf_token, "client_id": "acme"}

    assert client.post("/ingestion/sync", data=data).status_code == 400


def test_running_job_asks_for_itself_again(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    show(monkeypatch, RUNNING)

    response = client.get("/ingestion/jobs/job-1/progress")

    assert 'hx-trigger="every 1s' in response.text
    assert 'value="7" max="50"' in response.text
    assert "HX-Trigger" not in response.headers


def test_running_job_reloads_without_javascript(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    show(monkeypatch, RUNNING)

    assert '<noscript><meta http-equiv="refresh"' in client.get("/ingestion/jobs/job-1").text


def test_ended_job_stops_asking_and_tells_the_page(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    show(monkeypatch, FINISHED)

    response = client.get("/ingestion/jobs/job-1/progress")

    assert "hx-trigger" not in response.text
    assert response.headers["HX-Trigger"] == "chm:ingested"
    assert "1,203" in response.text
    assert "took 1 min 12 s" in response.text


def test_rejected_runs_are_shown_with_their_reasons(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    show(monkeypatch, FINISHED)

    page = client.get("/ingestion/jobs/job-1").text

    assert "run 7" in page
    assert "the end is not a time" in page


def test_failed_job_says_why_and_offers_another_try(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    show(monkeypatch, FAILED)

    page = client.get("/ingestion/jobs/job-1/progress").text

    assert "Ingestion failed" in page
    assert "the partner answers 503" in page
    assert "Try again" in page


def test_failed_job_tells_its_error_once(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    unread = replace(FAILED.sources[0], pipelines_unread=8, unread_example="orders: the partner answers 503")
    show(monkeypatch, replace(FAILED, sources=(unread,)))

    page = client.get("/ingestion/jobs/job-1/progress").text

    assert "could not be read." not in page


def test_failed_job_tells_what_else_was_not_read_and_stays_a_failed_one(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(FINISHED.sources[0], name="other", pipelines_unread=8, unread_example="orders: it does not know it")
    show(monkeypatch, replace(FAILED, sources=(FAILED.sources[0], other)))

    page = client.get("/ingestion/jobs/job-1/progress").text

    assert "other: 8 of 50 pipelines could not be read. orders: it does not know it" in page
    assert "ingest-failed" in page and "ingest-warned" not in page


def test_last_ingestion_is_told_beside_the_button(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "last_job", lambda *, scope: FINISHED)

    assert "1,203 created, 4 updated, 2 rejected" in client.get("/").text


def test_a_job_that_waits_says_for_what(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = SourceProgress(
        name="partner",
        state=JobState.QUEUED,
        waiting_for="partner.example asks for a pause of 300 s (429).",
        waiting_until=datetime(2026, 11, 1, 12, 5, tzinfo=UTC),
    )
    monkeypatch.setattr(queue, "find_live_job", lambda *, scope: replace(FINISHED, sources=(waiting,)))

    page = client.get("/").text

    assert "partner.example asks for a pause of 300 s (429)." in page
    assert "It goes on at" in page
    assert "Waiting for a worker" not in page


def test_unknown_job_is_not_found(client: FlaskClient) -> None:
    assert client.get("/ingestion/jobs/no-such-job").status_code == 404


def test_progress_of_a_forgotten_job_gives_the_button_back(client: FlaskClient) -> None:
    response = client.get("/ingestion/jobs/no-such-job/progress")

    assert response.status_code == 404
    assert "no longer known" in response.text
    assert "no-such-job" not in response.text


@pytest.mark.usefixtures("without_redis")
def test_progress_goes_on_asking_while_redis_is_away(client: FlaskClient) -> None:
    response = client.get("/ingestion/jobs/job-1/progress")

    assert response.status_code == 503
    assert 'hx-trigger="every 5s' in response.text


def test_what_is_disabled_cannot_be_ingested_from_its_page(client: FlaskClient) -> None:
    pipeline = make_pipeline(is_active=False)
    disabled = make_client(is_active=False)

    assert "Ingest now" not in client.get(f"/pipelines/{pipeline.id}").text
    assert "Ingest now" not in client.get(f"/clients/{disabled.id}").text
    assert "Ingest now" in client.get(f"/clients/{pipeline.client_id}").text
