"""Keyset paging of the lists of named things, and cursors that were not made by us."""

from __future__ import annotations

import base64
import json
from typing import Any
from uuid import uuid4

import pytest

from tests.api.envelope import INVALID, issues, refusal
from tests.factories import make_client, make_pipeline, make_run
from tests.http import ApiClient


def cursor_of(value: Any) -> str:
    """What a hand-made cursor looks like."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def all_pages(api: ApiClient, path: str, **query: Any) -> list[list[str]]:
    """The names on every page."""
    pages = []
    cursor: dict[str, str] = {}
    while True:
        page = api.get(path, **query, **cursor).get_json()
        pages.append([item["name"] for item in page["items"]])
        if page["next_cursor"] is None:
            return pages
        cursor = {"cursor": page["next_cursor"]}


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6])
def test_pages_of_clients_add_up(api: ApiClient, limit: int) -> None:
    for name in ("b", "C", "a", "Ü", "z"):
        make_client(name=name)

    pages = all_pages(api, "/clients", limit=limit)

    assert [name for page in pages for name in page] == ["a", "b", "C", "z", "Ü"]
    assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
    assert pages[-1]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_pages_of_pipelines_add_up(api: ApiClient, limit: int) -> None:
    client = make_client()
    for name in ("b", "C", "a"):
        make_pipeline(client, name=name)

    pages = all_pages(api, f"/clients/{client.id}/pipelines", limit=limit)

    assert [name for page in pages for name in page] == ["a", "b", "C"]


def test_no_page_follows_a_last_page_that_is_full(api: ApiClient) -> None:
    for name in "ab":
        make_client(name=name)

    assert api.get("/clients", limit=2).get_json()["next_cursor"] is None


def test_pages_are_stable_under_inserts_between_them(api: ApiClient) -> None:
    for name in ("b", "d", "f"):
        make_client(name=name)
    first = api.get("/clients", limit=2).get_json()
    make_client(name="a")
    make_client(name="c")
    make_client(name="e")

    second = api.get("/clients", limit=9, cursor=first["next_cursor"]).get_json()

    assert [item["name"] for item in first["items"] + second["items"]] == ["b", "d", "e", "f"]


@pytest.mark.parametrize("name", ["a\\b%_", 'quote " and \' and {"t": 1}', "日本 🚚", "[redacted]"])
def test_cursor_carries_any_name(api: ApiClient, name: str) -> None:
    make_client(name=name)
    make_client(name="\U0010fffd")

    assert [len(page) for page in all_pages(api, "/clients", limit=1)] == [1, 1]


ID = str(uuid4())

# What somebody could make of a cursor of clients, which is ["clients", <name>, {"u": <id>}].
FORGED: dict[str, Any] = {
    "null": None,
    "number": 5,
    "text": "clients",
    "object": {"clients": 1},
    "empty": [],
    "too short": ["clients"],
    "too long": ["clients", "a", {"u": ID}, "b"],
    "kind of another list": ["pipelines", "a", {"u": ID}],
    "kind of no text": [["clients"], "a", {"u": ID}],
    "number as name": ["clients", 5, {"u": ID}],
    "null as name": ["clients", None, {"u": ID}],
    "truth as name": ["clients", True, {"u": ID}],
    "list as name": ["clients", ["a"], {"u": ID}],
    "time as name": ["clients", {"t": "2026-11-01T00:00:00+00:00"}, {"u": ID}],
    "id as name": ["clients", {"u": ID}, {"u": ID}],
    "NUL in the name": ["clients", "a\0", {"u": ID}],
    "lone surrogate in the name": ["clients", "a\ud800", {"u": ID}],
    "null as id": ["clients", "a", None],
    "text as id": ["clients", "a", ID],
    "time as id": ["clients", "a", {"t": "2026-11-01T00:00:00+00:00"}],
    "bad id": ["clients", "a", {"u": "x"}],
    "number in the id": ["clients", "a", {"u": 5}],
    "list in the id": ["clients", "a", {"u": [ID]}],
    "null in the id": ["clients", "a", {"u": None}],
    "object without a key": ["clients", "a", {}],
    "number in a time": ["clients", "a", {"t": 5}],
}


@pytest.mark.parametrize("case", FORGED)
def test_forged_cursor_is_refused(api: ApiClient, case: str) -> None:
    make_client()

    response = api.get("/clients", cursor=cursor_of(FORGED[case]))

    assert refusal(response) == INVALID
    assert list(issues(response)) == ["cursor"]


NOON = {"t": "2026-11-01T12:00:00+00:00"}

# A cursor of runs is ["runs.desc", <start>, <finish>, {"u": <id>}], where both times may be null.
FORGED_OF_RUNS: dict[str, Any] = {
    "text as time": ["runs.desc", "2026", None, {"u": ID}],
    "id as time": ["runs.desc", {"u": ID}, None, {"u": ID}],
    "time without a zone": ["runs.desc", {"t": "2026-11-01T12:00:00"}, None, {"u": ID}],
    "date as time": ["runs.desc", {"t": "2026-11-01"}, None, {"u": ID}],
    "truth as time": ["runs.desc", True, None, {"u": ID}],
    "null as id": ["runs.desc", NOON, NOON, None],
    "time as id": ["runs.desc", NOON, NOON, NOON],
    "bad time": ["runs.desc", {"t": "noon"}, None, {"u": ID}],
    "the other order": ["runs.asc", NOON, NOON, {"u": ID}],
}


@pytest.mark.parametrize("case", FORGED_OF_RUNS)
def test_forged_cursor_of_runs_is_refused(api: ApiClient, case: str) -> None:
    run = make_run()

    response = api.get(f"/pipelines/{run.pipeline_id}/runs", cursor=cursor_of(FORGED_OF_RUNS[case]))

    assert refusal(response) == INVALID
    assert list(issues(response)) == ["cursor"]


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_cursor_at_the_ends_of_time_is_no_error(api: ApiClient, moment: str) -> None:
    run = make_run()
    cursor = cursor_of(["runs.desc", {"t": moment}, {"t": moment}, {"u": ID}])

    assert api.get(f"/pipelines/{run.pipeline_id}/runs", cursor=cursor).status_code in (200, 400)


DAMAGED = {
    "no base64": "***",
    "not ASCII": "ü",
    "base64 of no JSON": base64.urlsafe_b64encode(b"{nothing").decode(),
    "base64 of no UTF-8": base64.urlsafe_b64encode(b"\xff\xfe\xfa").decode(),
    "one character": "a",
    "deeply nested": base64.urlsafe_b64encode(b"[" * 20_000).decode(),
    "5,000 digits": base64.urlsafe_b64encode(b"9" * 5000).decode(),
    "NUL": "\0",
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_cursor_is_refused(api: ApiClient, case: str) -> None:
    response = api.get("/clients", cursor=DAMAGED[case])

    assert refusal(response) == INVALID
    assert list(issues(response)) == ["cursor"]


def test_cut_cursor_is_refused(api: ApiClient) -> None:
    for name in "ab":
        make_client(name=name)
    cursor = api.get("/clients", limit=1).get_json()["next_cursor"]

    assert refusal(api.get("/clients", cursor=cursor[:-5])) == INVALID


def test_cursor_of_another_list_is_refused(api: ApiClient) -> None:
    for name in "ab":
        client = make_client(name=name)
    cursor = api.get("/clients", limit=1).get_json()["next_cursor"]

    assert list(issues(api.get(f"/clients/{client.id}/pipelines", cursor=cursor))) == ["cursor"]


def test_cursor_of_the_other_order_is_refused(api: ApiClient) -> None:
    pipeline = make_pipeline()
    for _ in range(2):
        make_run(pipeline)
    path = f"/pipelines/{pipeline.id}/runs"
    cursor = api.get(path, limit=1, order="asc").get_json()["next_cursor"]

    assert list(issues(api.get(path, limit=1, order="desc", cursor=cursor))) == ["cursor"]
