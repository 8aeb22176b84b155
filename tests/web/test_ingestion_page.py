"""The page of ingestion, and what every page says of it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from rq.job import Job

from chm_web.access.permissions import Role
from chm_web.ingestion import queue
from chm_web.ingestion.progress import RejectedRun, SyncScope, UnmappedReport
from chm_web.ingestion.queue.signs import give_sign, note_asked, note_read
from chm_web.models import RunStatus
from tests.factories import make_pipeline
from tests.http import client_of
from tests.web.test_ingestion import FINISHED

BANNER = 'class="banner"'


@pytest.fixture
def viewer(app: Flask) -> FlaskClient:
    """A browser in which somebody is signed in who may look."""
    return client_of(app, role=Role.VIEWER)


def redis_of(app: Flask) -> Any:
    """The app's connection."""
    return app.extensions["chm_queue"].redis


def let_all_be_well(app: Flask) -> None:
    """A worker and a schedule that have just given a sign."""
    now = datetime.now(UTC)
    give_sign(redis_of(app), worker=now, schedule=now, next_cycle=now + timedelta(minutes=4))


def cancel(app: Flask, job_id: str) -> None:
    """Take a job's work out of the queue."""
    for part in range(4):
        if Job.exists(f"{job_id}-{part}", connection=redis_of(app)):
            Job.fetch(f"{job_id}-{part}", connection=redis_of(app)).cancel()


# -- sources ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("with_partner")
def test_source_is_shown_with_its_last_error_and_the_next_run(client: FlaskClient, app: Flask) -> None:
    let_all_be_well(app)
    note_read(redis_of(app), source="partner", part_id="x-0", scope=SyncScope(), error="partner answers 503")

    page = client.get("/ingestion").text

    assert "http://127.0.0.1:9" in page
    assert "partner answers 503" in page
    assert "Not yet" in page
    assert "All sources are read every 5 min" in page
    assert "Not planned" not in page


@pytest.mark.usefixtures("with_partner")
def test_source_that_is_slowed_down_says_so_with_the_next_attempt(client: FlaskClient, app: Flask) -> None:
    let_all_be_well(app)
    note_asked(redis_of(app), begins_at={"partner": datetime.now(UTC)})
    redis_of(app).hset("chm:source:partner", mapping={"failures": 3, "counts": "[1, 1234, 2, 3, 4]"})

    page = client.get("/ingestion").text

    assert "Failed 3 times in a row: read every 20 min instead of every 5 min." in page
    # The cycle in 4 minutes is let pass, and the ones until 17.5 minutes are over.
    next_at = datetime.now(UTC) + timedelta(minutes=19)
    assert any(f"{moment:%H:%M}" in page for moment in (next_at, next_at - timedelta(minutes=1)))
    assert "1,234 new" in page
    assert "2 changed, 3 known, 4 rejected" in page


@pytest.mark.usefixtures("with_partner")
def test_next_run_is_not_promised_while_the_schedule_does_not_run(client: FlaskClient) -> None:
    assert "Not planned" in client.get("/ingestion").text


def test_page_without_a_source_says_what_to_set(client: FlaskClient) -> None:
    page = client.get("/ingestion").text

    assert "No source is configured" in page
    assert "No ingestion in the last 7 days" in page
    assert "Once there is a source, what was read shows here." in page
    assert "shape-ok" not in page


@pytest.mark.usefixtures("without_redis")
def test_banner_leads_to_the_page_of_ingestion_from_elsewhere_alone(client: FlaskClient) -> None:
    for address, leads in (("/clients", True), ("/ingestion", False)):
        page = client.get(address).text
        assert ("See ingestion" in page) is leads
        refresh = re.search(r'hx-get="(/ingestion/banner[^"]*)"', page)
        assert refresh is not None
        assert ("See ingestion" in client.get(refresh[1]).text) is leads


@pytest.mark.usefixtures("with_partner")
def test_ingest_now_of_a_source_is_one_job_however_often_pressed(
    client: FlaskClient, csrf_token: str, app: Flask
) -> None:
    make_pipeline()
    data = {"csrf_token": csrf_token, "source": "partner"}

    pressed = [client.post("/ingestion/sync", data=data).location for _ in range(3)]

    assert len(set(pressed)) == 1
    assert "Ingestion of partner" in client.get(pressed[0]).text


@pytest.mark.usefixtures("with_partner")
def test_source_that_does_not_exist_is_not_found(client: FlaskClient, csrf_token: str) -> None:
    assert client.post("/ingestion/sync", data={"csrf_token": csrf_token, "source": "nobody"}).status_code == 404


# -- jobs ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("with_partner")
def test_jobs_say_what_they_read_and_who_asked(client: FlaskClient) -> None:
    pipeline = make_pipeline(name="orders_daily")
    queue.request_sync(scope=SyncScope(pipeline_id=pipeline.id), requested_by="jo")
    queue.request_sync(scope=SyncScope())

    page = client.get("/ingestion").text

    assert page.index("Everything") < page.index("orders_daily")
    assert "by jo" in page and "by the schedule" in page
    assert f'href="/pipelines/{pipeline.id}"' in page


@pytest.mark.usefixtures("with_partner")
def test_live_job_is_looked_at_more_often(client: FlaskClient, app: Flask) -> None:
    make_pipeline()
    assert 'hx-trigger="every 30s' in client.get("/ingestion/state").text

    job, _ = queue.request_sync(scope=SyncScope())
    assert 'hx-trigger="every 2s' in client.get("/ingestion/state").text

    cancel(app, job.id)
    assert 'hx-trigger="every 30s' in client.get("/ingestion/state").text


@pytest.mark.usefixtures("with_partner")
def test_job_that_did_not_finish_can_be_tried_again(client: FlaskClient, viewer: FlaskClient, app: Flask) -> None:
    pipeline = make_pipeline()
    job, _ = queue.request_sync(scope=SyncScope(client_id=pipeline.client_id))
    assert "Try again" not in client.get("/ingestion/state").text

    cancel(app, job.id)

    page = client.get("/ingestion/state").text
    assert "Try again" in page
    assert f'name="client_id" value="{pipeline.client_id}"' in page
    assert "Try again" not in viewer.get("/ingestion/state").text


@pytest.mark.usefixtures("with_partner")
def test_jobs_are_paged(client: FlaskClient) -> None:
    pipelines = [make_pipeline() for _ in range(21)]
    for pipeline in pipelines:
        queue.request_sync(scope=SyncScope(pipeline_id=pipeline.id))

    first = client.get("/ingestion").text
    following = re.search(r'href="(/ingestion\?after=[^"#]+)', first)
    assert following
    second = client.get(following.group(1)).text

    assert pipelines[0].name not in first and pipelines[20].name in first
    assert pipelines[0].name in second and pipelines[20].name not in second


@pytest.mark.usefixtures("with_partner")
def test_page_asks_the_database_as_often_for_many_jobs(
    client: FlaskClient, count_queries: Callable[[Callable[[], Any]], int]
) -> None:
    queue.request_sync(scope=SyncScope(pipeline_id=make_pipeline().id))
    few = count_queries(lambda: client.get("/ingestion"))
    for _ in range(8):
        queue.request_sync(scope=SyncScope(pipeline_id=make_pipeline().id))

    assert count_queries(lambda: client.get("/ingestion")) == few


def test_rejected_runs_lead_to_their_pipeline(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = make_pipeline(name="orders_daily")
    run = RejectedRun(source="partner", pipeline_id=pipeline.id, external_run_id="=run", reason="the end is no time")
    monkeypatch.setattr(queue, "get_job", lambda *, job_id: replace(FINISHED, id=job_id))
    monkeypatch.setattr(queue, "list_rejected", lambda *, job_id, limit: [run])

    page = client.get("/ingestion/jobs/job-1").text
    [row] = csv.DictReader(io.StringIO(client.get("/ingestion/jobs/job-1/rejected.csv").text.removeprefix("\ufeff")))

    assert f'href="/pipelines/{pipeline.id}">orders_daily</a>: the end is no time' in page
    assert (row["pipeline"], row["external_run_id"], row["reason"]) == ("orders_daily", "'=run", "the end is no time")


def test_viewers_are_shown_no_controls(viewer: FlaskClient) -> None:
    queue.note_unmapped(source="openlineage", reports=[UNMAPPED])

    page = viewer.get("/ingestion").text

    assert "<button" not in page.split("<main")[1].split("</main>")[0]
    assert "Create this pipeline" not in page


# -- names that no pipeline bears ---------------------------------------------------------------------------------

UNMAPPED = UnmappedReport(
    name="vendor/nightly orders",
    reason="No active pipeline has this external id.",
    status=RunStatus.FAILED,
    sample={"job": "nightly orders", "platform": "airflow"},
)


def test_unmapped_name_leads_to_the_form_of_its_pipeline(client: FlaskClient) -> None:
    queue.note_unmapped(source="openlineage", reports=[UNMAPPED, UNMAPPED])

    page = client.get("/ingestion").text

    assert "No active pipeline has this external id." in page
    query = "name=nightly+orders&amp;external_id=vendor%2Fnightly+orders&amp;platform=airflow"
    assert f'href="/pipelines/new?{query}"' in page


def test_many_unmapped_names_are_shown_on_demand(client: FlaskClient) -> None:
    reports = [replace(UNMAPPED, name=f"vendor/job-{number:02}") for number in range(12)]
    queue.note_unmapped(source="openlineage", reports=reports)

    assert client.get("/ingestion").text.count("Create this pipeline<") == 10
    assert client.get("/ingestion?unmapped=all").text.count("Create this pipeline<") == 12


# -- without Redis ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("without_redis")
def test_page_without_redis_says_so(client: FlaskClient) -> None:
    response = client.get("/ingestion")

    assert response.status_code == 200
    assert "The job queue (Redis) does not answer" in response.text


# -- the banner of every page -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("with_partner")
@pytest.mark.parametrize("path", ["/clients", "/profile", "/alert-rules", "/no/such/page"])
def test_every_page_says_that_nobody_works(client: FlaskClient, path: str) -> None:
    page = client.get(path).text

    assert BANNER in page
    assert "No worker is alive" in page and "The schedule does not run" in page


@pytest.mark.usefixtures("with_partner")
def test_pages_say_nothing_while_all_is_well(client: FlaskClient, app: Flask) -> None:
    let_all_be_well(app)

    assert BANNER not in client.get("/clients").text
    assert BANNER not in client.get("/ingestion/banner").text


@pytest.mark.usefixtures("with_partner")
def test_banner_asks_for_itself_again_either_way(client: FlaskClient, app: Flask) -> None:
    trigger = 'hx-get="/ingestion/banner" hx-trigger="every 60s'

    assert trigger in client.get("/ingestion/banner").text
    let_all_be_well(app)
    assert trigger in client.get("/ingestion/banner").text


def test_pages_say_nothing_where_nothing_is_to_be_ingested(client: FlaskClient) -> None:
    assert BANNER not in client.get("/clients").text


@pytest.mark.usefixtures("without_redis")
def test_pages_are_shown_without_redis_and_say_so(client: FlaskClient) -> None:
    response = client.get("/clients")

    assert response.status_code == 200
    assert "The job queue (Redis) does not answer" in response.text


@pytest.mark.usefixtures("with_partner")
def test_banner_costs_one_round_trip_a_page(client: FlaskClient, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    let_all_be_well(app)
    note_asked(redis_of(app), begins_at={"partner": datetime.now(UTC)})
    pool = app.extensions["chm_queue"].hasty_redis.connection_pool
    taken = []
    take = pool.get_connection

    def note(*arguments: Any, **named: Any) -> Any:
        taken.append(arguments)
        return take(*arguments, **named)

    monkeypatch.setattr(pool, "get_connection", note)

    client.get("/profile")

    assert len(taken) == 1


def test_sign_in_page_has_no_banner(app: Flask) -> None:
    assert "ingestion-banner" not in app.test_client().get("/sign-in").text
