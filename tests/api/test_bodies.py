"""What comes as a body: form, size, type and whence."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from tests.api.envelope import INVALID, issues, refusal
from tests.factories import make_pipeline
from tests.http import PREFIX, ApiClient

JSON = "application/json"
UNSUPPORTED = (415, "unsupported_media_type")
FORBIDDEN = (403, "forbidden")
TOO_LARGE = (413, "payload_too_large")
SYNC = "/ingestion/runs/sync"

MALFORMED: dict[str, bytes] = {
    "half an object": b'{"name": "a"',
    "single quotes": b"{'name': 'a'}",
    "trailing comma": b'{"name": "a",}',
    "two values": b'{"name": "a"} {"name": "b"}',
    "words": b"name=a",
    "blank": b"   ",
    "raw NUL": b'{"name": "a\x00"}',
    "100,000 brackets": b"[" * 100_000,
    "100,000 brackets, closed": b"[" * 100_000 + b"]" * 100_000,
    "100,000 objects": b'{"name":' * 100_000,
    "a number of 5,000 digits": b'{"name": ' + b"9" * 5000 + b"}",
    "a negative number of 5,000 digits": b'{"name": -' + b"9" * 5000 + b"}",
    "bytes that are no UTF-8": b'{"name": "\xff\xfe\xfd"}',
    "Latin-1": '{"name": "Müller"}'.encode("latin-1"),
    "gzip": b"\x1f\x8b\x08\x00\x00",
}


@pytest.mark.parametrize("path", ["/clients", SYNC])
@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_body_is_invalid(api: ApiClient, case: str, path: str) -> None:
    response = api.post(path, data=MALFORMED[case], content_type=JSON)

    assert refusal(response) == INVALID
    assert issues(response) == {"body": "Invalid JSON body."}


def test_malformed_body_of_a_run_is_invalid(api: ApiClient) -> None:
    path = f"/pipelines/{make_pipeline().id}/runs"

    for body in MALFORMED.values():
        assert refusal(api.post(path, data=body, content_type=JSON)) == INVALID


@pytest.mark.parametrize("body", [b"[]", b'[{"name": "a"}]', b'"a"', b"7", b"true", b"null", b"NaN"])
@pytest.mark.parametrize("path", ["/clients", SYNC])
def test_body_that_is_no_object_is_invalid(api: ApiClient, path: str, body: bytes) -> None:
    response = api.post(path, data=body, content_type=JSON)

    assert refusal(response) == INVALID
    assert list(issues(response)) == ["body"]


def test_empty_body_where_one_is_needed_names_the_missing_fields(api: ApiClient) -> None:
    response = api.post("/clients", data=b"", content_type=JSON)

    assert refusal(response) == INVALID
    assert issues(response) == {"name": "Missing data for required field."}


def test_field_name_that_no_database_holds_is_reported_as_unknown(api: ApiClient) -> None:
    response = api.post("/clients", data=b'{"name": "a", "x\\u0000\\ud800": 1}', content_type=JSON)

    assert refusal(response) == INVALID
    assert issues(response) == {"x\0\ud800": "Unknown field."}


def test_last_of_two_equal_fields_counts(api: ApiClient) -> None:
    response = api.post("/clients", data=b'{"name": "a", "name": "b"}', content_type=JSON)

    assert response.get_json()["name"] == "b"


@pytest.mark.parametrize("content_type", [JSON, f"{JSON}; charset=utf-8", "Application/JSON"])
def test_json_is_taken_under_its_name(api: ApiClient, content_type: str) -> None:
    assert api.post("/clients", data=b'{"name": "a"}', content_type=content_type).status_code == 201


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/json",
        "json",
        "",
    ],
)
@pytest.mark.parametrize("path", ["/clients", SYNC])
def test_body_of_another_type_is_refused(api: ApiClient, path: str, content_type: str) -> None:
    assert refusal(api.post(path, data=b'{"name": "a"}', content_type=content_type)) == UNSUPPORTED


def test_another_type_without_a_body_is_refused(api: ApiClient) -> None:
    assert refusal(api.post(SYNC, content_type="text/plain")) == UNSUPPORTED


def test_body_of_unknown_length_must_be_json_too(api: ApiClient) -> None:
    response = api.post(SYNC, headers={"Transfer-Encoding": "chunked"}, content_type="text/plain")

    assert refusal(response) == UNSUPPORTED


@pytest.mark.usefixtures("with_partner")
@pytest.mark.parametrize("kwargs", [{}, {"content_type": JSON}, {"json": {}}], ids=["nothing", "type alone", "object"])
def test_optional_body_may_be_missing_or_empty(api: ApiClient, kwargs: dict[str, Any]) -> None:
    make_pipeline()

    assert api.client.post(PREFIX + SYNC, **kwargs).status_code == 202


@pytest.fixture
def small_limit(app: Flask) -> Any:
    """Bodies of at most a thousand bytes."""
    before = app.config["MAX_CONTENT_LENGTH"]
    app.config["MAX_CONTENT_LENGTH"] = 1000
    yield
    app.config["MAX_CONTENT_LENGTH"] = before


@pytest.mark.usefixtures("small_limit")
@pytest.mark.parametrize("path", ["/clients", SYNC])
def test_body_above_the_limit_is_too_large(api: ApiClient, path: str) -> None:
    assert refusal(api.post(path, {"name": "x" * 1000})) == TOO_LARGE


@pytest.mark.usefixtures("small_limit")
def test_body_within_the_limit_is_read(api: ApiClient) -> None:
    assert api.post("/clients", {"name": "x" * 150}).status_code == 201


def test_limit_of_the_configuration_holds(api: ApiClient, app: Flask) -> None:
    body = b'{"name": "' + b"x" * app.config["CHM"].max_request_bytes + b'"}'

    assert refusal(api.post("/clients", data=body, content_type=JSON)) == TOO_LARGE


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_post_from_a_page_of_another_site_is_refused(api: ApiClient, site: str) -> None:
    response = api.post("/clients", {"name": "a"}, headers={"Sec-Fetch-Site": site})

    assert refusal(response) == FORBIDDEN
    assert api.get("/clients").get_json()["items"] == []


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_post_from_our_own_pages_is_taken(api: ApiClient, site: str) -> None:
    assert api.post("/clients", {"name": "a"}, headers={"Sec-Fetch-Site": site}).status_code == 201


def test_reading_is_not_refused_by_whence_it_came(api: ApiClient) -> None:
    response = api.get("/clients", headers={"Sec-Fetch-Site": "cross-site"})

    assert response.status_code == 200


def test_no_other_site_may_read_an_answer(api: ApiClient) -> None:
    response = api.client.get(f"{PREFIX}/clients", headers={"Origin": "https://elsewhere.example"})

    assert "Access-Control-Allow-Origin" not in response.headers


LOOSE: dict[str, tuple[str, Any]] = {
    "a word for true": ("is_active", "yes"),
    "true as text": ("is_active", "true"),
    "a number for true": ("is_active", 1),
    "a number for false": ("is_active", 0.0),
    "a list for true": ("is_active", [True]),
}


@pytest.mark.parametrize("case", LOOSE)
def test_only_true_and_false_are_true_and_false(api: ApiClient, case: str) -> None:
    field, value = LOOSE[case]

    response = api.post("/clients", {"name": "a", field: value})

    assert refusal(response) == INVALID
    assert issues(response) == {field: "Not a valid boolean."}


@pytest.mark.parametrize("value", ["1.5", "NaN", [1], {}, True])
def test_only_numbers_are_numbers(api: ApiClient, value: Any) -> None:
    response = api.post(f"/pipelines/{make_pipeline().id}/runs", {"status": "success", "duration_seconds": value})

    assert refusal(response) == INVALID
    assert issues(response) == {"duration_seconds": "Not a valid number."}


@pytest.mark.parametrize("value", ["1", "yes", "TRUE", "on", ""])
def test_parameters_are_true_or_false_and_nothing_else(api: ApiClient, value: str) -> None:
    assert issues(api.get("/clients", is_active=value)) == {"is_active": "Not a valid boolean."}
