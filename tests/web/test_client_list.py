"""The list of all clients."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from chm_web.access.permissions import Role
from chm_web.ingestion import queue
from chm_web.ingestion.progress import SyncScope
from chm_web.models import Client
from tests.factories import make_alert_rule, make_client, make_pipeline, make_run
from tests.http import client_of
from tests.web.scenes import ago, make_failing, make_healthy


def names(page: str) -> list[str]:
    """The clients of the table, in its order."""
    return re.findall(r'id="client-[^"]*" class="name"[^>]*>([^<]+)<', page)


def cell(page: str, label: str) -> str:
    """The text of the first cell under a label."""
    found = re.search(rf'<td data-label="{label}"[^>]*>(.*?)</td>', page, re.DOTALL)
    assert found
    return " ".join(re.sub(r"<[^>]+>", " ", found[1]).split())


def test_clients_in_most_trouble_come_first(client: FlaskClient) -> None:
    make_healthy(client=make_client(name="Aardvark"))
    make_failing(client=make_client(name="Zebra"))

    assert names(client.get("/clients").text) == ["Zebra", "Aardvark"]


def test_row_tells_the_figures_of_a_client(client: FlaskClient) -> None:
    owner = make_client()
    make_failing(client=owner, hours=3)
    late = make_pipeline(owner, expected_every_minutes=60)
    for hours in (5, 200):
        ended = ago(hours=hours)
        make_run(late, started_at=ended - timedelta(minutes=1), finished_at=ended)
    make_alert_rule(client_id=owner.id)

    page = client.get("/clients").text

    assert cell(page, "Failing") == "1 /2"
    assert cell(page, "Late") == "1"
    assert cell(page, "Newly failing") == "1"
    assert cell(page, "Success, 7 d") == "50.0 % −50.0 points"
    assert cell(page, "Rules") == "1"


def test_disabled_clients_are_marked_and_can_be_left_out(client: FlaskClient) -> None:
    make_client(name="Gone", is_active=False)
    make_client(name="Here")

    assert "Disabled</span>" in client.get("/clients").text
    assert names(client.get("/clients?active=yes").text) == ["Here"]
    assert names(client.get("/clients?active=no").text) == ["Gone"]


def test_without_clients_the_page_says_what_to_do(client: FlaskClient) -> None:
    page = client.get("/clients").text

    assert "There are no clients yet" in page
    assert 'href="/clients/new"' in page


def test_nothing_found_leads_back_to_everything(client: FlaskClient) -> None:
    make_client()

    assert "No client matches these filters" in client.get("/clients?q=zzz").text


@pytest.mark.parametrize("query", ["active=maybe", "order=x", "cursor=nonsense"])
def test_what_the_list_does_not_know_is_a_bad_request(client: FlaskClient, query: str) -> None:
    assert client.get(f"/clients?{query}").status_code == 400


def test_filters_can_be_cleared_where_there_are_any(client: FlaskClient) -> None:
    make_client(name="Acme")

    assert "Clear filters" not in client.get("/clients?order=name").text
    assert 'href="/clients?order=name">Clear filters</a>' in client.get("/clients?q=acme&order=name").text


def test_next_page_keeps_filters_and_order(client: FlaskClient) -> None:
    for number in range(51):
        make_client(name=f"kept {number:02}")
    make_client(name="other")
    first = client.get("/clients?q=kept&order=-name").text
    following = re.search(r'pager-next" href="([^"]+)', first)
    assert following

    second = client.get(html.unescape(following.group(1))).text

    assert names(first)[:2] == ["kept 50", "kept 49"]
    assert names(second) == ["kept 00"]


@pytest.mark.usefixtures("with_partner")
def test_last_ingest_is_that_of_the_client_or_of_everything(client: FlaskClient) -> None:
    asked_for, other = make_client(name="Asked for"), make_client(name="Other")
    make_pipeline(asked_for)
    queue.request_sync(scope=SyncScope(client_id=asked_for.id))

    page = client.get("/clients?order=name").text

    assert last_ingest(page, asked_for) == "Running now"
    assert last_ingest(page, other) == "-"


def last_ingest(page: str, of: Client) -> str:
    return cell(page[page.index(f'id="client-{of.id}"') :], "Last ingest")


@pytest.mark.usefixtures("without_redis")
def test_list_shows_without_redis(client: FlaskClient) -> None:
    make_client(name="Here")

    assert names(client.get("/clients").text) == ["Here"]


def test_number_of_queries_is_fixed(client: FlaskClient, count_queries: Callable[..., int]) -> None:
    make_healthy()
    few = count_queries(lambda: client.get("/clients"))
    for _ in range(12):
        make_failing()

    assert count_queries(lambda: client.get("/clients")) == few


def test_csv_has_all_clients_of_the_filters(client: FlaskClient) -> None:
    for number in range(60):
        make_client(name=f"kept {number:02}")
    make_failing(client=make_client(name="kept, broken"))
    make_client(name="other")

    response = client.get("/clients/export.csv?q=kept&order=name")

    lines = list(csv.DictReader(io.StringIO(response.text.removeprefix("\ufeff"))))
    assert len(lines) == 61
    assert (lines[60]["client"], lines[60]["failing"], lines[60]["newly_failing_24h"]) == ("kept, broken", "1", "1")
    assert lines[60]["success_rate_7d"] == "0.0"


@pytest.mark.parametrize(("role", "is_shown"), [(Role.OPERATOR, False), (Role.ADMIN, True)])
def test_new_client_is_offered_to_admins(app: Flask, role: Role, is_shown: bool) -> None:
    assert ("New client" in client_of(app, role=role).get("/clients").text) is is_shown
