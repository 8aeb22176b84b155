"""``/pipelines/{id}/runs``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from chm_web.models import Pipeline, RunStatus
from tests.api.envelope import CONFLICT, INVALID, NOT_FOUND, issues, refusal
from tests.factories import NOW, make_pipeline, make_run
from tests.http import ApiClient

RUNNING, SKIPPED, CANCELED, SUCCESS, FAILED = RunStatus

FULL = {
    "external_run_id": "scheduled__2026-10-31T00:00:00+00:00/a b",
    "status": "failed",
    "started_at": "2026-10-31T00:00:00Z",
    "finished_at": "2026-10-31T00:05:30.250000Z",
    "rows_processed": 2**63 - 1,
    "error_message": "ValueError: column x is missing",
    "status_reason": "upstream_failed",
    "payload": {"try": 2, "tags": ["a", None, 1.5], "nested": {"ü": True}},
}


@pytest.fixture
def pipeline(api: ApiClient) -> Pipeline:
    """The pipeline whose runs these are."""
    return make_pipeline()


@pytest.fixture
def path(pipeline: Pipeline) -> str:
    """Its runs."""
    return f"/pipelines/{pipeline.id}/runs"


def listed(api: ApiClient, path: str, **query: Any) -> list[str]:
    """The external ids on the first page."""
    response = api.get(path, **query)
    assert response.status_code == 200, response.text
    return [item["external_run_id"] for item in response.get_json()["items"]]


# -- create -------------------------------------------------------------------------------------------------------


def test_create_gives_back_every_field(api: ApiClient, path: str) -> None:
    response = api.post(path, FULL)

    body = response.get_json()
    assert response.status_code == 201
    assert {name: body[name] for name in FULL} == FULL
    assert body["duration_seconds"] == 330.25
    assert body["pipeline_id"] == path.split("/")[2]
    made = {"id", "pipeline_id", "duration_seconds", "ingested_at", "created_at", "updated_at", "updated_by"}
    assert set(body) == {*FULL, *made}
    assert UUID(body["id"]).version == 7
    assert all(body[name].endswith("Z") for name in ("created_at", "updated_at", "ingested_at"))


def test_create_needs_a_status_alone(api: ApiClient, path: str) -> None:
    body = api.post(path, {"status": "success"}).get_json()

    assert body["external_run_id"].startswith("manual-")
    empty = ("started_at", "finished_at", "duration_seconds", "rows_processed", "error_message", "payload")
    assert [body[name] for name in empty] == [None] * 6


def test_create_makes_an_id_of_its_own_each_time(api: ApiClient, path: str) -> None:
    ids = {api.post(path, {"status": "success", "external_run_id": None}).get_json()["external_run_id"] for _ in "ab"}

    assert len(ids) == 2


@pytest.mark.parametrize("status", ["running", "success", "failed", "canceled", "skipped"])
def test_create_takes_every_status(api: ApiClient, path: str, status: str) -> None:
    assert api.post(path, {"status": status}).get_json()["status"] == status


def test_create_keeps_a_given_duration_when_a_time_is_unknown(api: ApiClient, path: str) -> None:
    body = api.post(path, {"status": "success", "finished_at": "2026-10-31T00:00:00Z", "duration_seconds": 9.5})

    assert body.get_json()["duration_seconds"] == 9.5


def test_create_needs_a_pipeline(api: ApiClient) -> None:
    assert refusal(api.post(f"/pipelines/{uuid4()}/runs", {"status": "success"})) == NOT_FOUND


def test_create_rejects_a_run_that_exists(api: ApiClient, path: str) -> None:
    api.post(path, {"status": "running", "external_run_id": "r"})

    response = api.post(path, {"status": "success", "external_run_id": "r"})

    assert refusal(response) == CONFLICT
    assert issues(response) == {"external_run_id": "This pipeline has a run with this external id already."}
    assert [item["status"] for item in api.get(path).get_json()["items"]] == ["running"]


def test_two_pipelines_may_have_a_run_of_one_id(api: ApiClient, path: str) -> None:
    make_run(external_run_id="r")

    assert api.post(path, {"status": "success", "external_run_id": "r"}).status_code == 201


TIMES = {
    "UTC": ("2026-10-31T12:00:00Z", "2026-10-31T12:00:00Z"),
    "without a zone is UTC": ("2026-10-31T12:00:00", "2026-10-31T12:00:00Z"),
    "with an offset": ("2026-10-31T14:00:00+02:00", "2026-10-31T12:00:00Z"),
    "with a negative offset": ("2026-10-31T00:00:00-09:30", "2026-10-31T09:30:00Z"),
    "a date is its first moment": ("2026-10-31", "2026-10-31T00:00:00Z"),
    "microseconds": ("2026-10-31T12:00:00.123456Z", "2026-10-31T12:00:00.123456Z"),
    "milliseconds": ("2026-10-31T12:00:00.5Z", "2026-10-31T12:00:00.500000Z"),
    "first moment": ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
    "last second": ("2199-12-31T23:59:59Z", "2199-12-31T23:59:59Z"),
}


@pytest.mark.parametrize("case", TIMES)
def test_times_come_back_in_utc(api: ApiClient, path: str, case: str) -> None:
    given, expected = TIMES[case]

    assert api.post(path, {"status": "running", "started_at": given}).get_json()["started_at"] == expected


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "status of nobody": ({"status": "exploded"}, "status"),
    "null status": ({"status": None}, "status"),
    "object as status": ({"status": {}}, "status"),
    "empty id": ({"external_run_id": ""}, "external_run_id"),
    "id of 513 characters": ({"external_run_id": "x" * 513}, "external_run_id"),
    "number as id": ({"external_run_id": 7}, "external_run_id"),
    "NUL in the id": ({"external_run_id": "a\0"}, "external_run_id"),
    "lone surrogate in the id": ({"external_run_id": "\ud800"}, "external_run_id"),
    "words as time": ({"started_at": "yesterday"}, "started_at"),
    "number as time": ({"started_at": 1761868800}, "started_at"),
    "31 February": ({"started_at": "2026-02-31T00:00:00Z"}, "started_at"),
    "before 1970": ({"started_at": "1969-12-31T23:59:59Z"}, "started_at"),
    "year 1 of the east": ({"started_at": "0001-01-01T00:00:00+14:00"}, "started_at"),
    "year 9999 of the west": ({"started_at": "9999-12-31T23:59:59-12:00"}, "started_at"),
    "year 2200": ({"finished_at": "2200-01-01T00:00:00Z"}, "finished_at"),
    "negative duration": ({"duration_seconds": -0.1}, "duration_seconds"),
    "words as duration": ({"duration_seconds": "long"}, "duration_seconds"),
    "truth as duration": ({"duration_seconds": True}, "duration_seconds"),
    "negative rows": ({"rows_processed": -1}, "rows_processed"),
    "2^63 rows": ({"rows_processed": 2**63}, "rows_processed"),
    "half a row": ({"rows_processed": 0.5}, "rows_processed"),
    "NUL in the error": ({"error_message": "a\0"}, "error_message"),
    "lone surrogate in the reason": ({"status_reason": "\udc00"}, "status_reason"),
    "list as payload": ({"payload": [1]}, "payload"),
    "text as payload": ({"payload": "{}"}, "payload"),
    "finish before start": (
        {"started_at": "2026-10-31T00:00:01Z", "finished_at": "2026-10-31T00:00:00Z"},
        "finished_at",
    ),
    "running with a finish": ({"status": "running", "finished_at": "2026-10-31T00:00:00Z"}, "finished_at"),
    "attempt_at is for feeds": ({"attempt_at": "2026-10-31T00:00:00Z"}, "attempt_at"),
    "pipeline stands in the path": ({"pipeline_id": str(uuid4())}, "pipeline_id"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_create_refuses_what_breaks_a_rule(api: ApiClient, path: str, case: str) -> None:
    values, field = REFUSED[case]

    response = api.post(path, {"status": "success", **values})

    assert refusal(response) == INVALID
    assert list(issues(response)) == [field]
    assert listed(api, path) == []


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("field", ["duration_seconds", "rows_processed"])
def test_create_refuses_numbers_that_are_none(api: ApiClient, path: str, field: str, number: str) -> None:
    body = f'{{"status": "success", "{field}": {number}}}'

    response = api.post(path, data=body, content_type="application/json")

    assert refusal(response) == INVALID
    assert list(issues(response)) == [field]


def test_start_and_finish_may_be_one_moment(api: ApiClient, path: str) -> None:
    moment = "2026-10-31T00:00:00Z"

    body = api.post(path, {"status": "success", "started_at": moment, "finished_at": moment}).get_json()

    assert body["duration_seconds"] == 0


def test_payload_comes_back_without_secrets(api: ApiClient, path: str) -> None:
    payload = {"conf": {"api_key": "k-123", "table": "orders"}, "log": "password=hunter2 ok"}

    stored = api.post(path, {"status": "success", "payload": payload}).get_json()["payload"]

    assert stored == {"conf": {"api_key": "[redacted]", "table": "orders"}, "log": "password=[redacted] ok"}


def test_error_comes_back_without_secrets(api: ApiClient, path: str) -> None:
    message = "cannot connect to postgresql://etl:p@ss@db/x"

    stored = api.post(path, {"status": "failed", "error_message": message}).get_json()["error_message"]

    assert stored == "cannot connect to postgresql://etl:[redacted]@db/x"


def test_payload_with_a_large_number_and_odd_text_is_taken(api: ApiClient, path: str) -> None:
    body = '{"status": "success", "payload": {"n": 1e400, "t": "a\\u0000\\ud800", "i": 123456789012345678901234567890}}'

    response = api.post(path, data=body, content_type="application/json")

    assert response.status_code == 201
    assert response.get_json()["payload"] == {"n": None, "t": "a\ufffd\ufffd", "i": 123456789012345678901234567890}


def test_payload_nested_900_deep_is_taken(api: ApiClient, path: str) -> None:
    body = '{"status": "success", "payload": {"a": ' + "[" * 900 + "]" * 900 + "}}"

    assert api.post(path, data=body, content_type="application/json").status_code == 201


# -- latest -------------------------------------------------------------------------------------------------------


def test_latest_is_the_run_that_started_last_running_included(api: ApiClient, pipeline: Pipeline, path: str) -> None:
    make_run(pipeline, external_run_id="new", status=RUNNING, started_at=NOW)
    make_run(pipeline, external_run_id="old", started_at=NOW - timedelta(hours=1), finished_at=NOW + timedelta(hours=9))
    make_run(pipeline, external_run_id="without times", started_at=None, finished_at=None)

    assert api.get(f"{path}/latest").get_json()["external_run_id"] == "new"


def test_latest_of_runs_that_started_together_is_the_one_that_finished_last(
    api: ApiClient, pipeline: Pipeline, path: str
) -> None:
    make_run(pipeline, external_run_id="later", started_at=NOW, finished_at=NOW + timedelta(minutes=2))
    make_run(pipeline, external_run_id="sooner", started_at=NOW, finished_at=NOW + timedelta(minutes=1))
    make_run(pipeline, external_run_id="unfinished", started_at=NOW, status=RUNNING)

    assert api.get(f"{path}/latest").get_json()["external_run_id"] == "later"


def test_latest_is_shown_as_in_the_list(api: ApiClient, path: str) -> None:
    api.post(path, FULL)

    assert api.get(f"{path}/latest").get_json() == api.get(path).get_json()["items"][0]


def test_latest_of_a_pipeline_without_runs_is_not_found(api: ApiClient, path: str) -> None:
    response = api.get(f"{path}/latest")

    assert refusal(response) == NOT_FOUND
    assert response.get_json()["error"]["message"] == "This pipeline has no run yet."


def test_latest_of_an_unknown_pipeline_is_not_found(api: ApiClient) -> None:
    assert refusal(api.get(f"/pipelines/{uuid4()}/runs/latest")) == NOT_FOUND


def test_latest_takes_no_parameters(api: ApiClient, path: str) -> None:
    assert list(issues(api.get(f"{path}/latest", status="failed"))) == ["status"]


# -- list ---------------------------------------------------------------------------------------------------------


def test_list_of_an_unknown_pipeline_is_not_found(api: ApiClient) -> None:
    assert refusal(api.get(f"/pipelines/{uuid4()}/runs")) == NOT_FOUND


def test_list_holds_the_runs_of_this_pipeline_alone(api: ApiClient, pipeline: Pipeline, path: str) -> None:
    make_run(pipeline, external_run_id="mine")
    make_run()

    assert listed(api, path) == ["mine"]


def test_list_is_in_latest_run_order_or_its_reverse(api: ApiClient, pipeline: Pipeline, path: str) -> None:
    order = _runs_in_every_order_of_nulls(pipeline)

    assert listed(api, path) == order
    assert listed(api, path, order="desc") == order
    assert listed(api, path, order="asc") == order[::-1]


def _runs_in_every_order_of_nulls(pipeline: Pipeline) -> list[str]:
    """Runs with ties and nulls in both times; gives their ids in the latest-run order."""
    later, sooner = NOW, NOW - timedelta(hours=1)
    end = NOW + timedelta(hours=1)
    rows: list[tuple[str, dict[str, Any]]] = [
        ("later, later end", {"started_at": later, "finished_at": end + timedelta(hours=1)}),
        ("later, end", {"started_at": later, "finished_at": end}),
        ("later, end, older", {"started_at": later, "finished_at": end}),
        ("later, no end", {"started_at": later, "finished_at": None}),
        ("sooner, end", {"started_at": sooner, "finished_at": end}),
        ("sooner, no end", {"started_at": sooner, "finished_at": None}),
        ("sooner, no end, older", {"started_at": sooner, "finished_at": None}),
        ("no start, end", {"started_at": None, "finished_at": end}),
        ("no times", {"started_at": None, "finished_at": None}),
        ("no times, older", {"started_at": None, "finished_at": None}),
    ]
    for external_run_id, values in reversed(rows):
        make_run(pipeline, external_run_id=external_run_id, **values)
    return [external_run_id for external_run_id, _ in rows]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 7, 9, 10, 11])
@pytest.mark.parametrize("order", ["desc", "asc"])
def test_pages_add_up_over_ties_and_nulls(
    api: ApiClient, pipeline: Pipeline, path: str, order: str, limit: int
) -> None:
    expected = _runs_in_every_order_of_nulls(pipeline)
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = api.get(path, order=order, limit=limit, **cursor).get_json()
        assert len(page["items"]) <= limit
        found += [item["external_run_id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        assert len(page["items"]) == limit
        cursor = {"cursor": page["next_cursor"]}

    assert found == (expected if order == "desc" else expected[::-1])


def test_pages_are_stable_under_inserts_between_them(api: ApiClient, pipeline: Pipeline, path: str) -> None:
    for number in range(4):
        make_run(pipeline, external_run_id=f"r{number}", started_at=NOW + timedelta(minutes=number), finished_at=None)
    first = api.get(path, limit=2).get_json()
    make_run(pipeline, external_run_id="new", started_at=NOW + timedelta(hours=1), finished_at=None)

    second = api.get(path, limit=2, cursor=first["next_cursor"]).get_json()

    assert [item["external_run_id"] for item in first["items"] + second["items"]] == ["r3", "r2", "r1", "r0"]


def test_pages_keep_to_the_filter(api: ApiClient, pipeline: Pipeline, path: str) -> None:
    for number in range(6):
        make_run(
            pipeline,
            external_run_id=f"r{number}",
            status=FAILED if number % 2 else SUCCESS,
            started_at=NOW + timedelta(minutes=number),
            finished_at=None,
        )

    first = api.get(path, limit=2, status="failed").get_json()
    second = api.get(path, limit=2, status="failed", cursor=first["next_cursor"]).get_json()

    assert [item["external_run_id"] for item in first["items"] + second["items"]] == ["r5", "r3", "r1"]


@pytest.mark.parametrize("status", RunStatus)
def test_list_by_status(api: ApiClient, pipeline: Pipeline, path: str, status: RunStatus) -> None:
    for each in RunStatus:
        make_run(pipeline, external_run_id=each.value, status=each)

    assert listed(api, path, status=status.value) == [status.value]


def test_since_is_inclusive_and_until_exclusive_on_event_time(api: ApiClient, pipeline: Pipeline, path: str) -> None:
    # The event time is the finish, else the start: the first two started long before.
    day = timedelta(days=1)
    make_run(pipeline, external_run_id="at since", started_at=NOW - 9 * day, finished_at=NOW)
    make_run(pipeline, external_run_id="just before until", started_at=NOW - 9 * day, finished_at=NOW + day - day / 9)
    make_run(pipeline, external_run_id="at until", started_at=NOW, finished_at=NOW + day)
    make_run(pipeline, external_run_id="before", started_at=NOW - 9 * day, finished_at=NOW - timedelta(microseconds=1))
    make_run(pipeline, external_run_id="running", status=RUNNING, started_at=NOW + day / 2)

    window = {"since": NOW.isoformat(), "until": (NOW + day).isoformat()}

    assert sorted(listed(api, path, **window)) == ["at since", "just before until", "running"]
    assert sorted(listed(api, path, until=window["since"])) == ["before"]
    assert sorted(listed(api, path, since=window["until"])) == ["at until"]


def test_run_without_times_is_windowed_by_when_it_was_recorded(api: ApiClient, pipeline: Pipeline, path: str) -> None:
    created = make_run(pipeline, external_run_id="r", started_at=None, finished_at=None).created_at

    assert listed(api, path, since=created.isoformat()) == ["r"]
    assert listed(api, path, until=created.isoformat()) == []


def test_window_and_status_combine(api: ApiClient, pipeline: Pipeline, path: str) -> None:
    make_run(pipeline, external_run_id="failed now", status=FAILED, started_at=NOW, finished_at=NOW)
    make_run(pipeline, external_run_id="success now", started_at=NOW, finished_at=NOW)
    make_run(pipeline, external_run_id="failed before", status=FAILED)

    assert listed(api, path, status="failed", since="2026-11-01T12:00:00") == ["failed now"]


BAD_QUERIES: dict[str, tuple[dict[str, str], str]] = {
    "since is until": ({"since": "2026-11-01T00:00:00Z", "until": "2026-11-01T00:00:00Z"}, "since"),
    "since after until": ({"since": "2026-11-02T00:00:00Z", "until": "2026-11-01T00:00:00Z"}, "since"),
    "since in another zone after until": (
        {"since": "2026-11-01T00:00:00-01:00", "until": "2026-11-01T00:30:00Z"},
        "since",
    ),
    "words as since": ({"since": "yesterday"}, "since"),
    "plus sign that became a space": ({"since": "2026-11-01T00:00:00 02:00"}, "since"),
    "until out of range": ({"until": "9999-12-31T00:00:00Z"}, "until"),
    "status of nobody": ({"status": "ok"}, "status"),
    "order of nobody": ({"order": "newest"}, "order"),
    "limit 0": ({"limit": "0"}, "limit"),
    "limit 1001": ({"limit": "1001"}, "limit"),
    "unknown parameter": ({"state": "failed"}, "state"),
}


@pytest.mark.parametrize("case", BAD_QUERIES)
def test_list_refuses_bad_parameters(api: ApiClient, path: str, case: str) -> None:
    query, field = BAD_QUERIES[case]

    response = api.get(path, **query)

    assert refusal(response) == INVALID
    assert list(issues(response)) == [field]


def test_default_limit_is_100(api: ApiClient, path: str) -> None:
    for _ in range(101):
        api.post(path, {"status": "success"})

    page = api.get(path).get_json()

    assert len(page["items"]) == 100
    assert page["next_cursor"]
    assert len(api.get(path, limit=1000).get_json()["items"]) == 101


def test_external_ids_come_back_unchanged(api: ApiClient, path: str) -> None:
    ids = ["manual__2026-10-31T00:00:00+00:00", "/a//b/", "latest", "a?b#c%20", "  ", "日本 🚚", "'; --", "..\\.."]
    for external_run_id in ids:
        api.post(path, {"status": "success", "external_run_id": external_run_id})

    assert sorted(listed(api, path)) == sorted(ids)
