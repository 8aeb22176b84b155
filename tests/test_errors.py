"""How errors are told: the envelope under ``/api/``, a page elsewhere, and never the words of an exception."""

from __future__ import annotations

import dataclasses
import logging
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, abort
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import TooManyRequests, Unauthorized
from werkzeug.test import TestResponse

from chm_web import create_app
from chm_web.access.guard import declare
from chm_web.access.permissions import Permission, Scope
from chm_web.config import Config
from chm_web.extensions import db
from chm_web.services import clients
from chm_web.services.exceptions import Conflict, FieldIssue, Invalid, NotFound, ServiceError, Unavailable
from tests.api.envelope import INVALID, NOT_FOUND, UNAVAILABLE, issues, refusal
from tests.http import ApiClient, bearing, client_of

NOT_ALLOWED = (405, "method_not_allowed")
INTERNAL = (500, "internal_error")
SECRET = "hunter2 at db.internal"


def is_page(response: TestResponse) -> bool:
    """Whether an error was told as a page."""
    return response.mimetype == "text/html" and "<h1>" in response.text


# -- paths and methods --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/api/", "/api/v1", "/api/v1/", "/api/v1/nothing", "/api/v2/clients", "/api/v1/clients/", "/api/%00"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_unknown_path_of_the_api_is_told_by_the_envelope(client: FlaskClient, path: str, method: str) -> None:
    assert refusal(client.open(path, method=method)) == NOT_FOUND


@pytest.mark.parametrize("path", ["/api", "/apiary", "/nothing", "/clients/not-a-uuid", "/%00"])
def test_unknown_path_elsewhere_is_told_by_a_page(client: FlaskClient, path: str) -> None:
    response = client.get(path)

    assert response.status_code == 404
    assert is_page(response)
    assert "There is no such page" in response.text


WRONG_METHODS = [
    ("DELETE", "/api/v1/clients", {"GET", "HEAD", "OPTIONS", "POST"}),
    ("PUT", "/api/v1/clients", {"GET", "HEAD", "OPTIONS", "POST"}),
    ("GET", "/api/v1/ingestion/runs/sync", {"OPTIONS", "POST"}),
    ("POST", "/api/v1/ingestion/jobs", {"GET", "HEAD", "OPTIONS"}),
    ("POST", "/api/v1/openapi.json", {"GET", "HEAD", "OPTIONS"}),
]


@pytest.mark.parametrize(("method", "path", "allowed"), WRONG_METHODS)
def test_wrong_method_names_the_right_ones(client: FlaskClient, method: str, path: str, allowed: set[str]) -> None:
    response = client.open(path, method=method)

    assert refusal(response) == NOT_ALLOWED
    assert set(response.headers["Allow"].split(", ")) == allowed


def test_wrong_method_of_a_page_is_told_by_a_page(client: FlaskClient) -> None:
    response = client.delete("/clients")

    assert response.status_code == 405
    assert is_page(response)
    assert "GET" in response.headers["Allow"]


def test_head_of_an_error_has_no_body(client: FlaskClient) -> None:
    response = client.head("/api/v1/nothing")

    assert (response.status_code, response.data) == (404, b"")


def test_doubled_slash_does_not_break_the_api(client: FlaskClient) -> None:
    response = client.get("/api/v1//clients", follow_redirects=True)

    assert response.status_code in (200, 404)


# -- errors raised by views ---------------------------------------------------------------------------------------

DETAILS = (FieldIssue("name", "Must be better."),)

RAISED: dict[str, tuple[Exception, int, str]] = {
    "not found": (NotFound("There is none."), 404, "not_found"),
    "conflict": (Conflict("It is taken.", DETAILS), 409, "conflict"),
    "invalid": (Invalid("It is bad.", DETAILS), 400, "validation_error"),
    "unavailable": (Unavailable("It is away."), 503, "service_unavailable"),
    "unauthorized": (Unauthorized("Sign in."), 401, "unauthorized"),
    "too many": (TooManyRequests("Slower."), 429, "rate_limited"),
}


@pytest.fixture
def raising(config: Config) -> Iterator[tuple[Flask, dict[str, Exception]]]:
    """An app of its own with two routes that raise what the dictionary's ``error`` says."""
    app = create_app(config)
    box: dict[str, Exception] = {}

    def fail() -> str:
        raise box["error"]

    _add_route(app, "/api/v1/fail", fail)
    _add_route(app, "/fail", fail)
    yield app, box


def _add_route(app: Flask, path: str, view: Callable[[], str]) -> None:
    """Add a route that is open to anyone."""
    endpoint = path.strip("/").replace("/", "_")
    app.add_url_rule(path, endpoint, view)
    declare(app, endpoint, Permission.PUBLIC)


Raising = tuple[Flask, dict[str, Exception]]


@pytest.mark.parametrize("case", RAISED)
def test_raised_error_is_told_by_the_envelope(raising: Raising, case: str) -> None:
    app, box = raising
    box["error"], status, code = RAISED[case]

    response = app.test_client().get("/api/v1/fail")

    assert refusal(response) == (status, code)
    if isinstance(box["error"], ServiceError):
        assert response.get_json()["error"]["message"] == box["error"].message
        assert issues(response) == {detail.field: detail.issue for detail in box["error"].details}


@pytest.mark.parametrize("case", RAISED)
def test_raised_error_is_told_by_a_page(raising: Raising, case: str) -> None:
    app, box = raising
    box["error"], status, _ = RAISED[case]

    response = app.test_client().get("/fail")

    assert response.status_code == status
    assert is_page(response)


@pytest.mark.parametrize("path", ["/api/v1/fail", "/fail"])
def test_headers_of_an_error_survive(raising: Raising, path: str) -> None:
    app, box = raising
    box["error"] = TooManyRequests("Slower.", retry_after=17)

    assert app.test_client().get(path).headers["Retry-After"] == "17"


@pytest.mark.parametrize("path", ["/api/v1/fail", "/fail"])
def test_unavailable_says_when_to_come_again(raising: Raising, path: str) -> None:
    app, box = raising
    box["error"] = Unavailable("It is away.")

    assert int(app.test_client().get(path).headers["Retry-After"]) > 0


@pytest.mark.parametrize("status", [406, 410, 418, 422, 451])
def test_rarer_refusals_are_told_as_invalid(config: Config, status: int) -> None:
    app = create_app(config)
    _add_route(app, "/api/v1/fail", lambda: abort(status))

    assert refusal(app.test_client().get("/api/v1/fail")) == INVALID


@pytest.mark.parametrize("status", [501, 502, 504])
def test_rarer_failures_are_told_as_internal(config: Config, status: int) -> None:
    app = create_app(config)
    _add_route(app, "/api/v1/fail", lambda: abort(status))

    assert refusal(app.test_client().get("/api/v1/fail")) == INTERNAL


UNEXPECTED: dict[str, Exception] = {
    "runtime error": RuntimeError(SECRET),
    "key error": KeyError(SECRET),
    "recursion": RecursionError(SECRET),
    "unicode": UnicodeDecodeError("utf-8", b"\xff", 0, 1, SECRET),
}


@pytest.mark.parametrize("testing", [False, True])
@pytest.mark.parametrize("case", UNEXPECTED)
def test_unexpected_error_keeps_its_words_to_the_log(
    raising: Raising, caplog: pytest.LogCaptureFixture, case: str, testing: bool
) -> None:
    app, box = raising
    app.testing = testing
    box["error"] = UNEXPECTED[case]

    with caplog.at_level(logging.ERROR):
        response = app.test_client().get("/api/v1/fail", headers={"X-Request-ID": "my-request-7"})

    assert refusal(response) == INTERNAL
    assert "hunter2" not in response.text
    assert "Traceback" not in response.text
    assert "my-request-7" in caplog.text
    assert caplog.records[-1].exc_info is not None


def test_unexpected_error_of_a_page_is_told_by_a_page(raising: Raising) -> None:
    app, box = raising
    box["error"] = RuntimeError(SECRET)

    response = app.test_client().get("/fail")

    assert response.status_code == 500
    assert is_page(response)
    assert "hunter2" not in response.text
    assert response.headers["X-Request-ID"] in response.text


def test_error_within_a_service_of_the_api_is_told_by_the_envelope(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise ZeroDivisionError(SECRET)

    monkeypatch.setattr(clients, "list_clients", fail)

    response = api.get("/clients")

    assert refusal(response) == INTERNAL
    assert "hunter2" not in response.text


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("SELECT 1", {}, Exception(SECRET)),
        DatabaseError("SELECT 1", {}, Exception(SECRET), connection_invalidated=True),
        PoolTimeout(SECRET),
    ],
    ids=["connection", "answer that broke off", "pool"],
)
def test_database_error_keeps_its_words_to_itself(raising: Raising, error: Exception) -> None:
    app, box = raising
    box["error"] = error

    for path in ("/api/v1/fail", "/fail"):
        response = app.test_client().get(path)
        assert response.status_code == 503
        assert "hunter2" not in response.text
        assert "SELECT" not in response.text


def test_database_error_on_a_sound_connection_is_our_mistake(raising: Raising) -> None:
    app, box = raising
    box["error"] = DatabaseError("SELECT 1", {}, Exception(SECRET))

    response = app.test_client().get("/api/v1/fail")

    assert refusal(response) == INTERNAL
    assert "hunter2" not in response.text


# -- the database is away -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stranded(tokens_file: Path, tokens: dict[Scope, str]) -> FlaskClient:
    """A browser on an app whose database and Redis are at a port where nothing listens."""
    config = Config(
        database_url="postgresql+psycopg://chm:hunter2@127.0.0.1:9/chm",
        redis_url="redis://:hunter2@127.0.0.1:9",
        secret_key=secrets.token_hex(32),
        partner_api_base_url="http://127.0.0.1:9",
        users_file=tokens_file.with_name("users.json"),
        tokens_file=tokens_file,
    )
    return bearing(client_of(create_app(config)), tokens[Scope.WRITE])


ID = "0190a5b4-7e1c-7c3a-8f7e-1234567890ab"
READS = [f"/clients{tail}" for tail in ("", f"/{ID}", f"/{ID}/pipelines")] + [
    f"/pipelines/{ID}{tail}" for tail in ("", "/runs", "/runs/latest")
]


@pytest.mark.parametrize("path", READS)
def test_without_a_database_the_api_says_to_come_again(stranded: FlaskClient, path: str) -> None:
    response = stranded.get(f"/api/v1{path}")

    assert refusal(response) == UNAVAILABLE
    assert int(response.headers["Retry-After"]) > 0
    assert "hunter2" not in response.text
    assert "127.0.0.1" not in response.text


EVENT = {"eventTime": "2026-11-01T12:00:00Z", "job": {"name": "orders"}, "run": {"runId": ID}}
WRITES: list[tuple[str, dict[str, Any] | list[dict[str, Any]]]] = [
    ("/clients", {"name": "a"}),
    (f"/clients/{ID}/pipelines", {"name": "a", "platform": "dbt", "pipeline_type": "export"}),
    (f"/pipelines/{ID}/runs", {"status": "success"}),
    ("/ingestion/runs/sync", {"client_id": ID}),
    ("/lineage", EVENT),
    ("/lineage/batch", [EVENT]),
]


@pytest.mark.parametrize(("path", "body"), WRITES)
def test_without_a_database_nothing_is_written_and_the_api_says_so(stranded: FlaskClient, path: str, body: Any) -> None:
    response = stranded.post(f"/api/v1{path}", json=body)

    assert refusal(response) == UNAVAILABLE
    assert int(response.headers["Retry-After"]) > 0


@pytest.mark.parametrize("path", ["/", "/clients", f"/clients/{ID}"])
def test_without_a_database_pages_say_so(stranded: FlaskClient, path: str) -> None:
    response = stranded.get(path)

    assert response.status_code == 503
    assert is_page(response)
    assert int(response.headers["Retry-After"]) > 0
    assert "hunter2" not in response.text
    assert '<a class="btn btn-primary" href="">' in response.text  # the same page once more


def test_without_a_database_bad_requests_are_still_told_as_such(stranded: FlaskClient) -> None:
    assert refusal(stranded.get("/api/v1/clients?limit=0")) == INVALID
    assert refusal(stranded.get("/api/v1/nothing")) == NOT_FOUND


def test_without_a_database_the_document_of_the_api_is_served(stranded: FlaskClient) -> None:
    assert stranded.get("/api/v1/openapi.json").status_code == 200


@pytest.mark.parametrize("path", ["/clients", "/api/v1/clients"])
def test_a_database_that_goes_away_behind_an_answer_does_not_take_it_back(
    config: Config, committed_app: Flask, tokens_file: Path, tokens: dict[Scope, str], path: str
) -> None:
    app = create_app(dataclasses.replace(config, tokens_file=tokens_file))

    @app.after_request
    def cut(response: Response) -> Response:
        mine = db.session.scalar(text("SELECT pg_backend_pid()"))
        with committed_app.app_context(), db.engine.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:mine, 5000)"), {"mine": mine})
        return response

    browser = bearing(client_of(app), tokens[Scope.READ])

    # The second request meets what the first has left behind.
    assert [browser.get(path).status_code for _ in range(2)] == [200, 200]
