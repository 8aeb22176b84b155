"""The first page."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from chm_web.ingestion import queue
from chm_web.ingestion.progress import Counts, IngestionJob, JobState, SourceProgress, SyncScope
from chm_web.models import RunStatus
from chm_web.services import changes
from chm_web.services.changes import Fleet
from chm_web.services.runs import get_latest_run
from tests.factories import make_client, make_pipeline, make_run
from tests.web.scenes import ago, make_failing, make_healthy


def tiles(page: str) -> dict[str, str]:
    """The figures of the tiles by their status."""
    return dict(re.findall(r'class="tile tile-(\w+).*?tile-figure">([\d,]+)<', page, re.DOTALL))


def test_empty_inventory_says_what_to_do(client: FlaskClient) -> None:
    page = client.get("/").text

    assert "There are no pipelines yet" in page
    assert "REST API" in page
    assert re.findall(r'class="btn btn-primary"[^>]*>(?:<svg.*?</svg>)?([^<]+)', page, re.DOTALL) == ["New client"]


def test_nothing_failing_is_said_plainly(client: FlaskClient) -> None:
    make_healthy()

    assert "Nothing is failing" in client.get("/").text


def test_before_the_first_run_nothing_is_praised(client: FlaskClient) -> None:
    make_pipeline()

    page, changes = (client.get(address).text for address in ("/", "/overview/changes"))

    assert "Nothing is failing" in page
    assert "There are no runs yet" in changes
    for praised in (page.split('id="failing"')[1], changes):
        assert "shape-ok" not in praised


def test_failing_pipeline_is_shown_with_client_duration_and_error(client: FlaskClient) -> None:
    owner = make_client(name="Acme Retail")
    make_failing(client=owner, name="orders_daily", error="connection refused", hours=3.34)

    page = client.get("/").text

    for expected in ("Acme Retail", "orders_daily", "connection refused", "3 h 20 min", "Last run: 1 failed"):
        assert expected in page


@pytest.mark.parametrize("address", ["/", "/?health=failing"])
def test_pipeline_that_heals_while_the_page_is_made_is_not_among_the_failing(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    failing, healing = make_failing(), make_failing()
    look_at_fleet = changes.look_at_fleet

    def look_and_heal(**moments: Any) -> Fleet:
        fleet = look_at_fleet(**moments)
        make_run(healing, started_at=ago(minutes=2), finished_at=ago(minutes=1))
        return fleet

    monkeypatch.setattr(changes, "look_at_fleet", look_and_heal)
    page = client.get(address).text

    assert failing.name in page
    assert healing.name not in page


def test_longest_failing_pipeline_comes_first(client: FlaskClient) -> None:
    make_failing(name="since_today", hours=2)
    make_failing(name="since_yesterday", hours=30)

    page = client.get("/").text

    assert page.index("since_yesterday") < page.index("since_today")


def test_error_is_escaped(client: FlaskClient) -> None:
    make_failing(error="<script>alert(1)</script>")

    assert "<script>alert" not in client.get("/").text


def test_late_pipeline_is_listed_apart(client: FlaskClient) -> None:
    pipeline = make_pipeline(name="silent", expected_every_minutes=60)
    make_run(pipeline, started_at=ago(hours=5), finished_at=ago(hours=4.9))

    page = client.get("/").text

    assert 'id="late-title"' in page
    assert "Nothing is failing" in page


def test_tiles_count_by_health(client: FlaskClient) -> None:
    make_failing()
    make_healthy()
    make_healthy()
    make_pipeline()
    busy = make_pipeline()
    make_run(busy, status=RunStatus.RUNNING, started_at=ago(minutes=3))

    assert tiles(client.get("/").text) == {
        "failing": "1",
        "failed": "1",
        "success": "0",
        "late": "0",
        "running": "1",
        "problems": "0",
    }


def test_tiles_of_changes_lead_each_to_its_own(client: FlaskClient) -> None:
    make_healthy()

    page = client.get("/").text

    assert '<a class="tile tile-failed is-zero" href="/#newly_failing">' in page
    assert '<a class="tile tile-success is-zero" href="/#recovered">' in page


def test_healthy_and_without_data_are_counted_and_linked(client: FlaskClient) -> None:
    make_healthy()
    make_pipeline()

    page = client.get("/").text

    assert '<a href="/?health=healthy">1 healthy</a>' in page
    assert '<a href="/?health=no_data">1 no data</a>' in page


def test_title_shows_the_number_failing(client: FlaskClient) -> None:
    make_failing()
    make_failing()

    assert "<title>(2) Overview - CHM</title>" in client.get("/").text


def test_health_filter_lists_only_that_health(client: FlaskClient) -> None:
    make_failing(name="broken")
    make_healthy(name="fine")

    page = client.get("/?health=healthy").text

    assert "fine" in page
    assert "broken" not in page


def test_running_filter_lists_what_runs_whatever_its_health(client: FlaskClient) -> None:
    broken = make_failing(name="broken_and_busy")
    make_run(broken, status=RunStatus.RUNNING, started_at=ago(minutes=3))

    assert "broken_and_busy" in client.get("/?health=running").text


def test_unknown_health_filter_is_a_bad_request(client: FlaskClient) -> None:
    assert client.get("/?health=grumpy").status_code == 400


def test_refresh_gives_the_part_that_the_page_includes(client: FlaskClient) -> None:
    make_failing(name="broken")

    fragment = client.get("/overview/health?health=failing", headers={"HX-Request": "true"}).text

    assert fragment.lstrip().startswith('<div id="health"')
    assert "broken" in fragment
    assert 'hx-get="/overview/health?health=failing"' in fragment


def test_disabled_pipeline_is_left_out(client: FlaskClient) -> None:
    make_failing(name="retired", is_active=False)

    assert "retired" not in client.get("/").text


@pytest.mark.usefixtures("without_redis")
def test_page_shows_without_redis(client: FlaskClient) -> None:
    make_failing(name="broken")

    response = client.get("/")

    assert response.status_code == 200
    assert "broken" in response.text
    assert "Ingestion is not available" in response.text
    assert tiles(response.text)["problems"] == "1"


@pytest.mark.usefixtures("with_partner")
def test_sources_in_trouble_are_counted_and_lead_to_their_ingestion(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_healthy()
    # States that would take a worker and several partners to reach.
    sources = (
        SourceProgress(name="one", state=JobState.FAILED, error="503"),
        SourceProgress(name="two", state=JobState.FINISHED, counts=Counts(rejected=3)),
        SourceProgress(name="three", state=JobState.FINISHED, counts=Counts(created=3)),
    )
    last = IngestionJob(id="job-1", scope=SyncScope(), requested_at=ago(minutes=5), sources=sources)
    monkeypatch.setattr(queue, "last_job", lambda *, scope: last)

    page = client.get("/").text

    assert tiles(page)["problems"] == "2"
    assert '<a class="tile tile-problems" href="/ingestion">' in page


def test_longer_list_of_failing_pipelines_leads_to_all(client: FlaskClient) -> None:
    owner = make_client()
    for _ in range(26):
        make_failing(client=owner)

    assert "All 26 failing pipelines" in client.get("/").text
    assert "All 26 failing pipelines" not in client.get("/?health=failing").text


def test_number_of_queries_is_fixed_whatever_the_fleet(
    client: FlaskClient, count_queries: Callable[[Callable[[], Any]], int]
) -> None:
    make_failing()
    few = count_queries(lambda: client.get("/")), count_queries(lambda: client.get("/overview/changes"))
    for _ in range(5):
        make_failing()
        make_healthy()

    many = count_queries(lambda: client.get("/")), count_queries(lambda: client.get("/overview/changes"))

    assert many == few


def test_last_error_leads_to_the_run_that_failed(client: FlaskClient) -> None:
    run = get_latest_run(pipeline_id=make_failing(error="connection refused").id)

    assert f'href="/runs/{run.id}">connection refused</a>' in client.get("/").text
