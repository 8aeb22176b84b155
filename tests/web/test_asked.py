"""What an address asks for."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.exceptions import BadRequest

from chm_web.models import RunStatus
from chm_web.web import asked

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_member_of_an_enumeration(app: Flask) -> None:
    with app.test_request_context("/?status=failed"):
        assert asked.one_of("status", RunStatus) is RunStatus.FAILED


@pytest.mark.parametrize("query", ["", "?status="])
def test_nothing_asked_for_is_none(app: Flask, query: str) -> None:
    with app.test_request_context(f"/{query}"):
        assert asked.one_of("status", RunStatus) is None
        assert asked.uuid("client_id") is None
        assert asked.text("q") is None
        assert asked.moment("since") is None


@pytest.mark.parametrize(
    "query",
    [
        "status=broken",
        "client_id=x",
        "q=" + "x" * 201,
        "window=1y",
        "window=custom",
        "window=custom&since=yesterday",
        "window=custom&since=2026-11-24T13:00",
        "window=custom&since=0001-01-01",
        "window=custom&since=9999-12-31T23:59:59-14:00",
        "window=custom&since=2026-11-02&until=2026-11-01",
    ],
)
def test_what_cannot_be_had_is_refused_in_words(app: Flask, query: str) -> None:
    with app.test_request_context(f"/?{query}"), pytest.raises(BadRequest) as refused:
        asked.one_of("status", RunStatus)
        asked.uuid("client_id")
        asked.text("q")
        asked.window(now=NOW)
    assert refused.value.description and len(refused.value.description) > 20


def test_window_is_the_first_one_by_default(app: Flask) -> None:
    with app.test_request_context("/"):
        found = asked.window(now=NOW, options=("7d", "30d"))

    assert (found.since, found.until) == (NOW - timedelta(days=7), NOW)


def test_window_may_be_another_one_by_default(app: Flask) -> None:
    with app.test_request_context("/"):
        assert asked.window(now=NOW, default="7d").key == "7d"
    with app.test_request_context("/?window=24h"):
        assert asked.window(now=NOW, default="7d").key == "24h"


@pytest.mark.parametrize(
    ("now", "since"),
    [(NOW, datetime(2026, 10, 1, tzinfo=UTC)), (datetime(2026, 1, 1, tzinfo=UTC), datetime(2025, 12, 1, tzinfo=UTC))],
)
def test_month_is_the_calendar_month_before(app: Flask, now: datetime, since: datetime) -> None:
    with app.test_request_context("/"):
        found = asked.window(now=now, options=("month", "7d"))

    assert (found.key, found.since, found.until) == ("month", since, now.replace(day=1, hour=0))
    assert found.choices == [("month", "Last month"), ("7d", "7 d")]


def test_window_of_ones_own_is_refused_where_there_is_none(app: Flask) -> None:
    with app.test_request_context("/?window=custom&since=2026-11-01"), pytest.raises(BadRequest):
        asked.window(now=NOW, custom=False)


def test_custom_window_without_an_end_ends_now(app: Flask) -> None:
    with app.test_request_context("/?window=custom&since=2026-11-01"):
        found = asked.window(now=NOW)

    assert (found.since, found.until) == (datetime(2026, 11, 1, tzinfo=UTC), NOW)


def test_custom_window_is_asked_for_by_its_own_link(app: Flask) -> None:
    with app.test_request_context("/?window=custom&since=2026-11-01T08:00&until=2026-11-02T09:30:00Z"):
        found = asked.window(now=NOW)
    with app.test_request_context("/", query_string=found.query):
        assert asked.window(now=NOW) == found


def test_same_page_keeps_what_is_asked_for_but_not_the_place_in_the_list(app: Flask) -> None:
    with app.test_request_context("/clients?window=7d&cursor=abc&q=x"):
        assert asked.same_page(q=None, status="failed") == "/clients?window=7d&status=failed"


def test_order_is_a_column_and_a_direction(app: Flask) -> None:
    with app.test_request_context("/?order=-failed"):
        assert asked.order(RunStatus, "success") == (RunStatus.FAILED, True)
    with app.test_request_context("/"):
        assert asked.order(RunStatus, "success") == (RunStatus.SUCCESS, False)


@pytest.mark.parametrize("order", ["name", "-", "--failed"])
def test_order_by_what_there_is_not_is_a_bad_request(app: Flask, order: str) -> None:
    with app.test_request_context(f"/?order={order}"), pytest.raises(BadRequest):
        asked.order(RunStatus, "success")


def test_parameters_leave_out_what_is_empty_and_what_means_something_to_flask(app: Flask) -> None:
    with app.test_request_context("/?q=a&platform=&_scheme=javascript&endpoint=static"):
        assert asked.parameters() == {"q": "a"}


@pytest.mark.parametrize(
    "path", ["/clients", "/runs.csv", "/no/such/page", "/static/css/chm.css", "/api/v1/clients", "/sign-in"]
)
@pytest.mark.parametrize("query", ["q=\xff", "next=\xe9&q=\xc3\x28", "\xff"])
def test_bytes_that_are_no_text_are_read_as_if_they_were_escaped(client: FlaskClient, path: str, query: str) -> None:
    def ask(sent: str) -> tuple[int, str]:
        response = client.get(path, environ_overrides={"QUERY_STRING": sent}, headers={"X-Request-ID": "the-same-id"})
        return response.status_code, re.sub(r"csrf[^>]+>|\d\d:\d\d:\d\d", "", response.text)

    assert ask(query) == ask(quote(query, safe="=&", encoding="latin-1"))


def test_bytes_that_are_no_text_lead_nobody_elsewhere_than_to_sign_in(app: Flask) -> None:
    response = app.test_client().get("/clients", environ_overrides={"QUERY_STRING": "q=\xff"})

    assert (response.status_code, response.location) == (303, "/sign-in?next=/clients?q%3D%25FF")
