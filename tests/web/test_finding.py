"""The search that every page carries, and the help."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from chm_web.services.clients import disable_client
from tests.factories import make_client, make_pipeline
from tests.web.scenes import make_failing, make_healthy


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
    bad, well, gone = (make_client(name=f"Acme {name}") for name in ("Bad", "Fine", "Old"))
    make_client(name="Acme New")
    for name in ("a", "b"):
        make_failing(client=bad, name=name)
    make_healthy(client=bad, name="c")
    make_healthy(client=well)
    make_failing(client=gone)
    disable_client(client_id=gone.id)

    page = client.get(f"{address}?q=acme").text

    said = [re.sub(r"<svg.*?</svg>|<[^>]*>|\s+", " ", entry) for entry in re.findall(r"<li.*?</li>", page, re.DOTALL)]
    told = {name: entry for entry in said for name in ("Bad", "Fine", "New", "Old") if f"Acme {name}" in entry}
    assert "2 failing" in told["Bad"]
    assert "Healthy" in told["Fine"]
    assert "No pipelines" in told["New"]
    assert "disabled" in told["Old"].lower() and "failing" not in told["Old"]


def test_more_clients_than_are_shown_are_told_of(client: FlaskClient) -> None:
    for number in range(7):
        make_client(name=f"Acme {number}")

    page = client.get("/search/suggestions?q=acme").text

    assert page.count(">Acme ") == 6
    assert "All results" in page


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
