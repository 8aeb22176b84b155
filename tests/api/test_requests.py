"""Request ids, the allow-list of hosts, and the headers of every answer."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from chm_web.access.permissions import Scope
from chm_web.web.headers import SECURITY_HEADERS
from tests.api.envelope import INVALID, NOT_FOUND, refusal
from tests.http import PREFIX, ApiClient, bearing

REQUEST_ID = "X-Request-ID"


class Get(Protocol):
    """GET with headers, written with underscores."""

    def __call__(self, path: str, **headers: str) -> TestResponse:
        """Give the answer."""


@pytest.fixture
def get(client: FlaskClient, tokens: dict[Scope, str]) -> Get:
    """Ask as somebody who may, on pages and in the API."""
    bearing(client, tokens[Scope.READ])

    def ask(path: str, **headers: str) -> TestResponse:
        return client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return ask


# -- request ids --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["abcdefgh", "A.b_c-9" * 9, "0190a5b4-7e1c-7c3a-8f7e-1234567890ab", "x" * 64])
def test_request_id_that_is_well_formed_is_given_back(get: Get, given: str) -> None:
    assert get(f"{PREFIX}/clients", X_Request_ID=given).headers[REQUEST_ID] == given


MALFORMED = [
    "",
    "short",
    "x" * 65,
    "with space in it",
    "semi;colon;",
    "quote'quote",
    "<script></script>",
    "üüüüüüüü",
]


@pytest.mark.parametrize("given", MALFORMED)
def test_request_id_that_is_not_well_formed_is_replaced(get: Get, given: str) -> None:
    found = get(f"{PREFIX}/clients", X_Request_ID=given).headers[REQUEST_ID]

    assert UUID(found).version == 7


def test_each_request_gets_an_id_of_its_own(api: ApiClient) -> None:
    assert len({api.get("/clients").headers[REQUEST_ID] for _ in range(3)}) == 3


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/healthz", "/static/nothing", f"{PREFIX}/nothing", f"{PREFIX}/clients?x=1", "/api/"]
)
def test_every_answer_bears_the_request_id(get: Get, path: str) -> None:
    assert get(path, X_Request_ID="my-request-7").headers.getlist(REQUEST_ID) == ["my-request-7"]


@pytest.mark.parametrize("path", ["/clients", f"{PREFIX}/clients"])
def test_request_to_a_refused_host_has_its_id_too(get: Get, path: str) -> None:
    response = get(path, Host="evil.example", X_Request_ID="my-request-7")

    assert response.status_code == 400
    assert response.headers[REQUEST_ID] == "my-request-7"


# -- hosts --------------------------------------------------------------------------------------------------------

REFUSED_HOSTS = [
    "evil.example",
    "evil.example:5000",
    "localhost.evil.example",
    "evil.localhost",
    "127.0.0.1.evil.example",
    "127.0.0.2",
    "10.0.0.1",
    "[::2]",
    "[::1]evil",
    "localhost:",
    "localhost:port",
    "localhost@evil.example",
    "local host",
    "[",
]


@pytest.mark.parametrize("host", REFUSED_HOSTS)
def test_unknown_host_is_refused_by_the_api(get: Get, host: str) -> None:
    assert refusal(get(f"{PREFIX}/clients", Host=host)) == INVALID


@pytest.mark.parametrize("path", ["/", "/clients", "/healthz", "/nothing"])
def test_unknown_host_is_refused_by_pages(get: Get, path: str) -> None:
    response = get(path, Host="evil.example")

    assert response.status_code == 400
    assert response.mimetype == "text/html"
    assert "This request cannot be understood" in response.text
    assert "evil.example" not in response.text


@pytest.mark.parametrize("host", ["evil.example", "localhost"])
def test_unknown_path_of_the_api_is_answered_by_host(get: Get, host: str) -> None:
    expected = NOT_FOUND if host == "localhost" else INVALID

    assert refusal(get(f"{PREFIX}/nothing", Host=host)) == expected


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1", "127.0.0.1:65535"])
@pytest.mark.parametrize("path", ["/healthz", f"{PREFIX}/clients"])
def test_loopback_names_pass_with_any_port(get: Get, path: str, host: str) -> None:
    assert get(path, Host=host).status_code == 200


@pytest.mark.parametrize("host", ["[::1]", "[::1]:8000", "LOCALHOST:80", "LocalHost"])
def test_loopback_passes_in_every_spelling(get: Get, host: str) -> None:
    assert get(f"{PREFIX}/clients", Host=host).status_code == 200


def test_forwarded_host_is_not_believed(get: Get) -> None:
    assert get(f"{PREFIX}/clients", X_Forwarded_Host="evil.example").status_code == 200
    assert get(f"{PREFIX}/clients", Host="evil.example", X_Forwarded_Host="localhost").status_code == 400


# -- headers ------------------------------------------------------------------------------------------------------


def assert_secured(response: TestResponse) -> None:
    """Check that the answer carries every security header."""
    assert {name: response.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS


@pytest.mark.parametrize("path", ["/clients", "/clients/x", "/openapi.json", "/ingestion/jobs/x"])
def test_answers_of_the_api_carry_the_security_headers(api: ApiClient, path: str) -> None:
    assert_secured(api.get(path))


def test_refusals_of_bodies_carry_the_security_headers(api: ApiClient) -> None:
    for response in (
        api.post("/clients", data=b"{", content_type="application/json"),
        api.post("/clients", data=b"{", content_type="text/plain"),
        api.post("/clients", {}, headers={"Sec-Fetch-Site": "cross-site"}),
        api.client.delete(f"{PREFIX}/clients"),
    ):
        assert response.status_code in (400, 403, 405, 415)
        assert_secured(response)


@pytest.mark.parametrize("path", ["/", f"{PREFIX}/clients"])
def test_refused_host_is_told_with_the_security_headers(get: Get, path: str) -> None:
    assert_secured(get(path, Host="evil.example"))


def test_answers_of_the_api_are_json(api: ApiClient, client: FlaskClient) -> None:
    assert api.get("/clients").content_type == "application/json"
    assert client.get(f"{PREFIX}/nothing").content_type == "application/json"
