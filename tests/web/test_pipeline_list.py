"""The list of all pipelines, and what is done to several of them at a time."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from chm_web.access.permissions import Role
from chm_web.ingestion import queue
from chm_web.models import Pipeline, Platform, RunStatus
from chm_web.services.clients import disable_client
from chm_web.services.pipelines import get_pipeline
from tests.factories import make_alert_rule, make_client, make_pipeline, make_run
from tests.http import client_of
from tests.web.scenes import ago, make_failing, make_healthy


def names(page: str) -> list[str]:
    """The pipelines of the table, in its order."""
    return re.findall(r'id="pipeline-[^"]*" class="name"[^>]*>([^<]+)<', page)


@pytest.fixture
def press(client: FlaskClient, csrf_token: str) -> Callable[..., TestResponse]:
    """Sends the form of the list with some pipelines marked."""

    def send(action: str, *marked: Pipeline, address: str = "/pipelines/bulk", **more: str) -> TestResponse:
        ids = [str(pipeline.id) for pipeline in marked]
        values: dict[str, Any] = {"csrf_token": csrf_token, "action": action, "pipeline_id": ids, **more}
        return client.post(address, data=values)

    return send


def toasts(client: FlaskClient) -> str:
    return " ".join(re.findall(r'<p class="toast.*?</p>', client.get("/pipelines").text, re.DOTALL))


def test_row_tells_status_client_runs_and_rules(client: FlaskClient) -> None:
    owner = make_client(name="Acme Retail")
    pipeline = make_failing(client=owner, name="orders_daily", hours=3.34, platform=Platform.DBT)
    make_run(pipeline, status=RunStatus.RUNNING, started_at=ago(minutes=14))
    make_alert_rule(client_id=owner.id)

    page = client.get("/pipelines").text

    for expected in (
        "orders_daily",
        "Acme Retail",
        "Failing",
        "3 h 20 min",
        ">dbt<",
        ">1/2<",
        ">14 min<",
        "Client&#39;s",
    ):
        assert expected in page


def test_default_is_what_is_enabled(client: FlaskClient) -> None:
    gone = make_client()
    make_pipeline(gone, name="of_gone")
    make_pipeline(name="off", is_active=False)
    make_pipeline(name="on")
    disable_client(client_id=gone.id)

    assert names(client.get("/pipelines").text) == ["on"]
    assert sorted(names(client.get("/pipelines?active=no").text)) == ["of_gone", "off"]
    assert len(names(client.get("/pipelines?active=all").text)) == 3


def test_disabled_pipeline_is_marked_so_instead_of_judged(client: FlaskClient) -> None:
    make_failing(name="off", is_active=False)

    page = client.get("/pipelines?active=no").text

    assert "Disabled</span>" in page
    assert "state-bad" not in page


def test_filters_can_be_cleared_where_there_are_any(client: FlaskClient) -> None:
    make_failing()

    assert "Clear filters" not in client.get("/pipelines?order=-name").text
    page = client.get("/pipelines?health=failing&order=-name").text
    assert 'href="/pipelines?order=-name">Clear filters</a>' in page


def test_filters_narrow_the_list_and_stay_chosen(client: FlaskClient) -> None:
    make_failing(name="orders_broken", platform=Platform.DBT)
    make_failing(name="orders_elsewhere", platform=Platform.CRON)
    make_healthy(name="orders_fine", platform=Platform.DBT)

    page = client.get("/pipelines?q=orders&health=failing&platform=dbt").text

    assert names(page) == ["orders_broken"]
    assert '<option value="dbt" selected>' in page
    assert 'value="orders"' in page


@pytest.mark.parametrize(
    "query",
    [
        "health=grumpy",
        "platform=cobol",
        "pipeline_type=x",
        "environment=moon",
        "client_id=7",
        "active=maybe",
        "order=x",
    ],
)
def test_what_no_filter_offers_is_a_bad_request(client: FlaskClient, query: str) -> None:
    assert client.get(f"/pipelines?{query}").status_code == 400


def test_damaged_cursor_is_a_bad_request(client: FlaskClient) -> None:
    assert client.get("/pipelines?cursor=nonsense").status_code == 400


def test_head_of_a_column_orders_by_it_and_again_turns_it_round(client: FlaskClient) -> None:
    make_healthy(name="a_fine")
    make_failing(name="b_broken")

    worst_first = client.get("/pipelines?order=health").text

    assert names(worst_first) == ["b_broken", "a_fine"]
    assert 'aria-sort="ascending"' in worst_first
    assert names(client.get("/pipelines?order=-health").text) == ["a_fine", "b_broken"]
    assert 'href="/pipelines?order=-health"' in worst_first


def test_next_page_keeps_filters_and_order(client: FlaskClient) -> None:
    owner = make_client()
    for number in range(51):
        make_pipeline(owner, name=f"kept_{number:02}")
    make_pipeline(owner, name="other")
    first = client.get("/pipelines?q=kept&order=-name").text
    following = re.search(r'pager-next" href="([^"]+)', first)
    assert following

    second = client.get(html.unescape(following.group(1))).text

    assert names(first)[:2] == ["kept_50", "kept_49"]
    assert names(second) == ["kept_00"]
    assert "First page" in second


def test_address_with_names_that_mean_something_to_flask_is_harmless(client: FlaskClient) -> None:
    make_pipeline(name="here")

    page = client.get("/pipelines?endpoint=x&_scheme=javascript&_external=1")

    assert page.status_code == 200
    assert "javascript:" not in page.text


def test_nothing_found_leads_back_to_everything(client: FlaskClient) -> None:
    make_pipeline()

    assert "No pipeline matches these filters" in client.get("/pipelines?q=zzz").text


def test_empty_inventory_says_what_to_do(client: FlaskClient) -> None:
    page = client.get("/pipelines").text

    assert "There are no pipelines in use" in page
    assert 'href="/pipelines/new"' in page


def test_refresh_asks_for_the_same_page_of_the_list(client: FlaskClient) -> None:
    make_pipeline(name="orders")

    page = client.get("/pipelines?q=ord&order=-name").text

    assert 'hx-get="/pipelines?q=ord&amp;order=-name"' in page


def test_viewer_sees_the_list_without_its_controls(app: Flask) -> None:
    make_pipeline(name="orders")

    page = client_of(app, role=Role.VIEWER).get("/pipelines").text

    assert names(page) == ["orders"]
    assert "checkbox" not in page
    assert "New pipeline" not in page


@pytest.mark.parametrize("order", ["client", "health", "-finished"])
def test_number_of_queries_is_fixed(client: FlaskClient, count_queries: Callable[..., int], order: str) -> None:
    make_healthy()
    few = count_queries(lambda: client.get(f"/pipelines?order={order}"))
    for _ in range(12):
        make_failing()

    assert count_queries(lambda: client.get(f"/pipelines?order={order}")) == few


def test_csv_has_all_rows_of_the_filters_and_no_formula(client: FlaskClient) -> None:
    owner = make_client(name="=Acme")
    for number in range(60):
        make_pipeline(owner, name=f"orders_{number:02}", external_id=f"-{number}")
    make_failing(client=owner, name="orders_broken")
    make_pipeline(owner, name="other")

    response = client.get("/pipelines/export.csv?q=orders&order=name")

    assert response.mimetype == "text/csv"
    lines = list(csv.DictReader(io.StringIO(response.text.removeprefix("\ufeff"))))
    assert len(lines) == 61
    assert (lines[0]["pipeline"], lines[0]["client"], lines[0]["external_id"]) == ("orders_00", "'=Acme", "'-0")
    assert (lines[60]["status"], lines[60]["last_runs_failed"], lines[60]["median_seconds"]) == ("failing", "1", "")


def test_marked_pipelines_are_disabled_once_it_is_confirmed(
    client: FlaskClient, press: Callable[..., TestResponse]
) -> None:
    marked, other = make_pipeline(), make_pipeline()

    response = press("disable", marked, address="/pipelines/bulk?q=pipe", confirmed="yes")

    assert (response.status_code, response.location) == (303, "/pipelines?q=pipe")
    assert not get_pipeline(pipeline_id=marked.id).is_active
    assert get_pipeline(pipeline_id=marked.id).updated_by == "oidc:somebody"
    assert get_pipeline(pipeline_id=other.id).is_active
    assert "1 pipeline disabled." in toasts(client)


def test_without_a_script_disabling_is_explained_first(press: Callable[..., TestResponse]) -> None:
    first, second = make_pipeline(name="orders_daily"), make_pipeline()

    page = press("disable", first, second)

    assert page.status_code == 200
    assert "Disable 2 pipelines?" in page.text
    assert "no longer asked for" in page.text
    assert "What reports to them by their ids (the API, pings) is still recorded." in page.text
    assert str(second.id) in page.text
    assert "<li>orders_daily</li>" in page.text
    assert get_pipeline(pipeline_id=first.id).is_active


def test_first_few_of_many_that_are_to_be_disabled_are_named(press: Callable[..., TestResponse]) -> None:
    marked = [make_pipeline(name=f"load_{number}") for number in range(8)]

    page = press("disable", *marked).text

    assert "<li>load_4</li>" in page and "load_5" not in page
    assert "<li>and 3 more</li>" in page


def test_marked_pipelines_are_enabled(client: FlaskClient, press: Callable[..., TestResponse]) -> None:
    off, on = make_pipeline(is_active=False), make_pipeline()

    press("enable", off, on)

    assert get_pipeline(pipeline_id=off.id).is_active
    assert "1 pipeline enabled. 1 was enabled already." in toasts(client)


@pytest.mark.usefixtures("with_partner")
def test_each_marked_pipeline_is_asked_for_once_however_often_it_is_pressed(
    client: FlaskClient, press: Callable[..., TestResponse]
) -> None:
    first, second, third = make_pipeline(), make_pipeline(), make_pipeline()

    press("ingest", first, second)
    assert "Ingestion of 2 pipelines is asked for." in toasts(client)
    press("ingest", first, second, third)

    assert "Ingestion of 1 pipeline is asked for. 2 pipelines are being ingested already." in toasts(client)
    assert {job.scope.pipeline_id for job in queue.latest_jobs()} == {first.id, second.id, third.id}
    assert len(queue.latest_jobs()) == 3


@pytest.mark.usefixtures("with_partner")
def test_what_cannot_be_ingested_is_told_and_costs_the_others_nothing(
    client: FlaskClient, press: Callable[..., TestResponse]
) -> None:
    press("ingest", make_pipeline(is_active=False), make_pipeline())

    told = toasts(client)
    assert "Ingestion of 1 pipeline is asked for." in told
    assert "1 pipeline not ingested: This pipeline is disabled." in told


@pytest.mark.usefixtures("without_redis")
def test_queue_that_does_not_answer_is_told(client: FlaskClient, press: Callable[..., TestResponse]) -> None:
    press("ingest", make_pipeline(), make_pipeline())

    assert "The job queue (Redis) does not answer." in toasts(client)


def test_nothing_marked_is_told(client: FlaskClient, press: Callable[..., TestResponse]) -> None:
    assert press("enable").status_code == 303
    assert "Nothing was marked." in toasts(client)


def test_action_that_there_is_not_is_a_bad_request(press: Callable[..., TestResponse]) -> None:
    assert press("explode", make_pipeline()).status_code == 400


@pytest.mark.parametrize("ids", [["x"], [str(uuid4()) for _ in range(51)]])
def test_marks_that_no_page_can_send_are_a_bad_request(client: FlaskClient, csrf_token: str, ids: list[str]) -> None:
    values = {"csrf_token": csrf_token, "action": "enable", "pipeline_id": ids}

    assert client.post("/pipelines/bulk", data=values).status_code == 400
