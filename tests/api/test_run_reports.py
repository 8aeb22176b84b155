"""Runs by their ids, and idempotent reports of one run or of a batch."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from chm_web.models import Pipeline
from tests.api.envelope import INVALID, NOT_FOUND, issues, refusal
from tests.factories import make_client, make_pipeline, make_run
from tests.http import ApiClient

BATCH = "/runs/batch"
DONE = {"status": "success", "started_at": "2026-10-31T00:00:00Z", "finished_at": "2026-10-31T00:05:00Z"}
IDS = [
    "1",
    "manual__2026-10-31T00:00:00+00:00",
    "/a//b/",
    "//",
    "a?b#c%20",
    "  ",
    "日本 🚚",
    "'; --",
    "a\nb",
    "latest/x",
    "x" * 512,
]


@pytest.fixture
def pipeline(api: ApiClient) -> Pipeline:
    """The pipeline whose runs these are."""
    return make_pipeline()


@pytest.fixture
def path(pipeline: Pipeline) -> str:
    """Its runs."""
    return f"/pipelines/{pipeline.id}/runs"


def at(path: str, external_run_id: str) -> str:
    """The address of a run by the platform's id."""
    return f"{path}/{quote(external_run_id, safe='')}"


# -- read one -----------------------------------------------------------------------------------------------------


def test_run_is_shown_alike_at_both_addresses(api: ApiClient, path: str) -> None:
    created = api.post(path, {**DONE, "external_run_id": "r"}).get_json()

    by_id, by_name = api.get(f"/runs/{created['id']}"), api.get(f"{path}/r")

    assert by_id.get_json() == by_name.get_json() == created
    assert by_id.headers["ETag"] == by_name.headers["ETag"]


def test_known_version_of_a_run_is_not_sent_again(api: ApiClient, path: str) -> None:
    etag = api.put(f"{path}/r", DONE).headers["ETag"]
    run_id = api.get(f"{path}/r").get_json()["id"]

    for address in (f"/runs/{run_id}", f"{path}/r"):
        assert api.get(address, headers={"If-None-Match": etag}).status_code == 304


def test_unknown_runs_are_not_found(api: ApiClient, path: str) -> None:
    elsewhere = make_run(external_run_id="r")

    for address in (
        f"/runs/{uuid4()}",
        "/runs/x",
        f"{path}/r",
        at(path, "x" * 513),
        f"{path}/",
        f"/pipelines/{uuid4()}/runs/{elsewhere.external_run_id}",
    ):
        assert refusal(api.get(address)) == NOT_FOUND, address


def test_latest_stays_the_latest_run(api: ApiClient, path: str) -> None:
    created = api.put(f"{path}/latest", {**DONE, "started_at": None}).get_json()
    api.put(f"{path}/newer", DONE)

    assert created["external_run_id"] == "latest"
    assert api.get(f"{path}/latest").get_json()["external_run_id"] == "newer"
    assert api.get(f"/runs/{created['id']}").get_json() == created


# -- report one ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("external_run_id", IDS)
def test_report_takes_ids_of_any_characters(api: ApiClient, path: str, external_run_id: str) -> None:
    address = at(path, external_run_id)

    created = api.put(address, DONE)

    assert created.status_code == 201
    assert created.get_json()["external_run_id"] == external_run_id
    assert api.get(address).get_json() == created.get_json()


def test_what_is_disabled_takes_reports(api: ApiClient) -> None:
    for pipeline in (make_pipeline(is_active=False), make_pipeline(make_client(is_active=False))):
        path = f"/pipelines/{pipeline.id}"
        dbt = {"metadata": {"invocation_id": "d"}, "results": []}

        assert api.put(f"{path}/runs/a", DONE).status_code == 201
        assert api.post(f"{path}/runs", {**DONE, "external_run_id": "b"}).status_code == 201
        batch = {"runs": [{**DONE, "external_run_id": "c", "pipeline_id": str(pipeline.id)}]}
        assert api.post(BATCH, batch).get_json()["created"] == 1
        assert api.post(f"{path}/dbt-run-results", dbt).status_code == 201


def test_repeated_report_changes_nothing(api: ApiClient, path: str) -> None:
    first = api.put(f"{path}/r", DONE)
    second = api.put(f"{path}/r", DONE)

    assert (first.status_code, second.status_code) == (201, 200)
    assert second.get_json() == first.get_json()
    assert second.headers["ETag"] == first.headers["ETag"]
    assert len(api.get(path).get_json()["items"]) == 1


def test_reports_of_one_run_are_merged(api: ApiClient, path: str) -> None:
    api.put(f"{path}/r", {"status": "running", "started_at": DONE["started_at"], "rows_processed": 5})
    done = api.put(f"{path}/r", {"status": "failed", "finished_at": DONE["finished_at"], "error_message": "x"})
    late = api.put(f"{path}/r", {"status": "running"})

    assert (done.status_code, late.status_code) == (200, 200)
    expected = {"status": "failed", "rows_processed": 5, "duration_seconds": 300.0, "error_message": "x"}
    assert expected.items() <= done.get_json().items()
    assert late.get_json() == done.get_json()


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no status": ({}, "status"),
    "status of nobody": ({"status": "ok"}, "status"),
    "id in the body": ({**DONE, "external_run_id": "r"}, "external_run_id"),
    "pipeline in the body": ({**DONE, "pipeline_id": str(uuid4())}, "pipeline_id"),
    "end before start": ({**DONE, "finished_at": "2026-10-30T00:00:00Z"}, "finished_at"),
    "end of a running run": ({"status": "running", "finished_at": "2026-10-30T00:00:00Z"}, "finished_at"),
    "negative rows": ({**DONE, "rows_processed": -1}, "rows_processed"),
    "unknown field": ({**DONE, "rows": 1}, "rows"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_report_refuses_what_breaks_a_rule(api: ApiClient, path: str, case: str) -> None:
    body, field = REFUSED[case]

    response = api.put(f"{path}/r", body)

    assert refusal(response) == INVALID
    assert list(issues(response)) == [field]
    assert refusal(api.get(f"{path}/r")) == NOT_FOUND


def test_report_under_an_id_that_is_too_long_is_refused(api: ApiClient, path: str) -> None:
    assert list(issues(api.put(at(path, "x" * 513), DONE))) == ["external_run_id"]


def test_report_for_an_unknown_pipeline_is_not_found(api: ApiClient) -> None:
    assert refusal(api.put(f"/pipelines/{uuid4()}/runs/r", DONE)) == NOT_FOUND


# -- report a batch -----------------------------------------------------------------------------------------------


def item(pipeline: Pipeline, external_run_id: str, **values: Any) -> dict[str, Any]:
    """A good run of a batch."""
    return {**DONE, "pipeline_id": str(pipeline.id), "external_run_id": external_run_id, **values}


def test_batch_counts_what_became_of_its_runs(api: ApiClient, pipeline: Pipeline, path: str) -> None:
    api.put(f"{path}/known", DONE)
    api.put(f"{path}/changed", {"status": "running"})
    other = make_pipeline()

    response = api.post(
        BATCH,
        {"runs": [item(pipeline, "known"), item(pipeline, "changed"), item(pipeline, "new"), item(other, "new")]},
    )

    assert response.status_code == 200
    assert response.get_json() == {"created": 2, "updated": 1, "unchanged": 1, "rejected": []}
    assert api.get(f"/pipelines/{other.id}/runs/new").status_code == 200


def test_bad_runs_of_a_batch_cost_no_other(api: ApiClient, pipeline: Pipeline, path: str) -> None:
    nowhere = str(uuid4())
    runs = [
        item(pipeline, "first"),
        7,
        item(pipeline, "bad status", status="ok"),
        item(pipeline, "nowhere", pipeline_id=nowhere),
        {"status": "success", "pipeline_id": str(pipeline.id)},
        item(pipeline, "unknown field", rows=1),
        item(pipeline, "x" * 513),
        item(pipeline, "end", finished_at="2026-10-30T00:00:00Z"),
        item(pipeline, "lone \ud800"),
        item(pipeline, "last"),
    ]

    body = api.post(BATCH, {"runs": runs}).get_json()

    assert (body["created"], body["updated"], body["unchanged"]) == (2, 0, 0)
    assert [(each["index"], each["external_run_id"], each["field"]) for each in body["rejected"]] == [
        (1, None, "body"),
        (2, "bad status", "status"),
        (3, "nowhere", "pipeline_id"),
        (4, None, "external_run_id"),
        (5, "unknown field", "rows"),
        (6, "x" * 200, "external_run_id"),
        (7, "end", "finished_at"),
        (8, "lone \ud800", "external_run_id"),
    ]
    assert all(set(each) == {"index", "external_run_id", "field", "issue"} for each in body["rejected"])
    assert all(each["issue"] for each in body["rejected"])
    assert {run["external_run_id"] for run in api.get(path).get_json()["items"]} == {"first", "last"}


def test_run_that_stands_twice_in_a_batch_is_one_run(api: ApiClient, pipeline: Pipeline, path: str) -> None:
    running = {"status": "running", "finished_at": None}

    body = api.post(BATCH, {"runs": [item(pipeline, "r", **running), item(pipeline, "r")]}).get_json()

    assert (body["created"], body["updated"]) == (1, 1)
    assert api.get(f"{path}/r").get_json()["status"] == "success"


def test_batch_holds_up_to_a_thousand_runs(api: ApiClient, pipeline: Pipeline) -> None:
    runs = [item(pipeline, str(number)) for number in range(1001)]

    assert list(issues(api.post(BATCH, {"runs": runs}))) == ["runs"]
    assert api.post(BATCH, {"runs": runs[:1000]}).get_json()["created"] == 1000
    assert api.post(BATCH, {"runs": runs[:1000]}).get_json()["unchanged"] == 1000


def test_empty_batch_does_nothing(api: ApiClient) -> None:
    expected = {"created": 0, "updated": 0, "unchanged": 0, "rejected": []}

    assert api.post(BATCH, {"runs": []}).get_json() == expected


@pytest.mark.parametrize("body", [{}, {"runs": None}, {"runs": "x"}, {"runs": {"a": 1}}, {"items": []}, []])
def test_body_that_is_no_batch_is_refused(api: ApiClient, body: Any) -> None:
    assert refusal(api.post(BATCH, body)) == INVALID
