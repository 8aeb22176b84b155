"""The search that every page carries, and the help."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from chm_web.models import RunStatus
from chm_web.services.clients import disable_client
from tests.factories import make_client, make_pipeline, make_run
from tests.web.scenes import ago, make_failing, make_healthy


def test_search_finds_clients_and_pipelines_by_a_part_of_their_names(client: FlaskClient) -> None:
    owner = make_client(name="Acme Retail")
    make_pipeline(owner, name="retail_orders")
    make_pipeline(owner, name="ledger")

    page = client.get("/search?q=RETAIL").text

    assert "Acme Retail" in page
    assert "retail_orders" in page
    assert "ledger" not in page


def test_search_finds_pipelines_by_their_external_ids(client: FlaskClient) -> None:
    make_pipeline(name="orders", external_id="dag-4711")

    assert "orders" in client.get("/search?q=dag-4711").text


def test_what_begins_with_the_text_comes_first(client: FlaskClient) -> None:
    make_pipeline(name="a_ledger")
    make_pipeline(name="ledger_b")

    page = client.get("/search?q=ledger").text

    assert page.index("ledger_b") < page.index("a_ledger")


def test_disabled_things_come_last_and_say_so(client: FlaskClient) -> None:
    make_pipeline(name="ledger_a", is_active=False)
    make_pipeline(name="ledger_b")

    page = client.get("/search?q=ledger").text

    assert page.index("ledger_b") < page.index("ledger_a")
    assert "Disabled" in page


@pytest.mark.parametrize("address", ["/search", "/search/suggestions"])
def test_found_pipelines_show_their_health_unless_disabled(client: FlaskClient, address: str) -> None:
    make_failing(name="ledger_a")
    make_healthy(name="ledger_b")
    make_pipeline(name="ledger_c")
    make_failing(name="ledger_d", is_active=False)

    page = client.get(f"{address}?q=ledger").text

    shown = re.findall(r">(ledger_\w)<.*?class=\"state state-(\w+)\"", page, re.DOTALL)
    assert shown == [("ledger_a", "bad"), ("ledger_b", "ok"), ("ledger_c", "none")]


@pytest.mark.parametrize("address", ["/search", "/search/suggestions"])
def test_found_clients_show_how_their_pipelines_fare(client: FlaskClient, address: str) -> None:
    names = ("Bad", "Behind", "Busy", "Fine", "New", "Old")
    bad, behind, busy, fine, _new, old = (make_client(name=f"Acme {name}") for name in names)
    for name in ("a", "b"):
        make_failing(client=bad, name=name)
    make_healthy(client=bad, name="c")
    make_healthy(client=behind, expected_every_minutes=1)
    make_run(make_pipeline(busy), status=RunStatus.RUNNING, started_at=ago(minutes=5), finished_at=None)
    make_healthy(client=fine, name="a")
    make_run(make_pipeline(fine), status=RunStatus.RUNNING, started_at=ago(minutes=5), finished_at=None)
    make_failing(client=old)
    disable_client(client_id=old.id)

    page = client.get(f"{address}?q=acme").text

    items = re.findall(r"<li[ >].*?</li>", page, re.DOTALL)
    entries = [" ".join(re.sub("<[^>]*>", " ", item).split()) for item in items]
    said = {"Bad": "2 failing", "Behind": "1 late", "Busy": "Running", "Fine": "Healthy", "New": "No pipelines"}
    for name, words in (said | {"Old": "isabled"}).items():
        [entry] = [entry for entry in entries if f"Acme {name}" in entry]
        assert words in entry
        assert not [other for other in said.values() if other != words and other in entry]


@pytest.mark.parametrize(
    ("address", "shown", "hint"),
    [("/search/suggestions", 6, "All results"), ("/search", 25, "The first 25 are shown. Type more of the name.")],
)
def test_more_clients_than_are_shown_are_told_of(client: FlaskClient, address: str, shown: int, hint: str) -> None:
    for number in range(shown):
        make_client(name=f"Acme {number}")
    assert hint not in client.get(f"{address}?q=acme").text
    make_client(name="Acme")

    page = client.get(f"{address}?q=acme").text

    assert len(re.findall(r">Acme[ \d]*<", page)) == shown
    assert hint in page


def test_signs_of_patterns_are_taken_literally(client: FlaskClient) -> None:
    make_pipeline(name="ledger")

    assert "Nothing is called" in client.get("/search?q=%25").text


def test_search_without_a_match_says_what_is_searched(client: FlaskClient) -> None:
    assert "Nothing is called “nonesuch”" in client.get("/search?q=nonesuch").text


def test_search_is_shown_as_text_and_never_as_markup(client: FlaskClient) -> None:
    assert "<script>alert" not in client.get("/search?q=<script>alert(1)</script>").text


def test_search_refuses_what_is_too_long(client: FlaskClient) -> None:
    assert client.get("/search?q=" + "x" * 300).status_code == 400


def test_suggestions_are_few_and_lead_to_all(client: FlaskClient) -> None:
    owner = make_client()
    for number in range(10):
        make_pipeline(owner, name=f"ledger_{number}")

    page = client.get("/search/suggestions?q=ledger").text

    assert page.count("ledger_") == 6
    assert "All results" in page


def test_suggestions_for_nothing_are_nothing(client: FlaskClient) -> None:
    assert "<li>" not in client.get("/search/suggestions?q=").text


def test_search_asks_a_fixed_number_of_queries(
    client: FlaskClient, count_queries: Callable[[Callable[[], Any]], int]
) -> None:
    for number in range(20):
        make_pipeline(make_client(name=f"Ledgers {number}"), name=f"ledger_{number}")

    assert count_queries(lambda: client.get("/search?q=ledger")) == 3


def test_help_explains_every_state_of_health(client: FlaskClient) -> None:
    page = client.get("/help").text

    for word in ("Failing", "Late", "Running", "Healthy", "No data"):
        assert word in page
