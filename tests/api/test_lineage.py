"""``/lineage``: OpenLineage events become runs, and what becomes of those that do not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chm_web.ingestion.platforms.openlineage import EVENT_STATUS
from chm_web.models import Pipeline, Platform, RunStatus
from tests.api.envelope import INVALID, issues, refusal
from tests.api.lineage import BATCH, DAG_RUN_ID, LINEAGE, NOTHING, send, send_all, unmapped
from tests.factories import find_run, make_client, make_pipeline
from tests.http import ApiClient
from tests.ingestion.lineage import RUN_ID, make_airflow_event, make_event, make_task_failure

JSON = "application/json"
UNSUPPORTED = (415, "unsupported_media_type")


# -- one event ----------------------------------------------------------------------------------------------------


def test_event_becomes_a_run(api: ApiClient, orders: Pipeline) -> None:
    assert send(api, make_event()) == {**NOTHING, "created": 1}

    assert find_run(orders.id, RUN_ID).status is RunStatus.SUCCESS


def test_same_event_again_changes_nothing(api: ApiClient, orders: Pipeline) -> None:
    send(api, make_event())

    assert send(api, make_event()) == {**NOTHING, "unchanged": 1}


def test_start_and_end_are_one_run(api: ApiClient, orders: Pipeline) -> None:
    send(api, make_event(eventType="START", eventTime="2026-11-01T11:58:00Z"))

    assert send(api, make_event()) == {**NOTHING, "updated": 1}
    assert find_run(orders.id, RUN_ID).duration_seconds == 120


def test_late_start_fills_the_start_and_reopens_nothing(api: ApiClient, orders: Pipeline) -> None:
    send(api, make_event(eventType="FAIL"))

    send(api, make_event(eventType="START", eventTime="2026-11-01T11:58:00Z"))

    run = find_run(orders.id, RUN_ID)
    assert (run.status, run.duration_seconds) == (RunStatus.FAILED, 120)


@pytest.mark.parametrize("terminal", ["COMPLETE", "FAIL", "ABORT"])
@pytest.mark.parametrize("order", [1, -1])
def test_at_one_time_the_end_outranks_running(api: ApiClient, orders: Pipeline, terminal: str, order: int) -> None:
    for event_type in ["RUNNING", terminal][::order]:
        send(api, make_event(eventType=event_type))

    assert find_run(orders.id, RUN_ID).status is EVENT_STATUS[terminal]


@pytest.mark.parametrize("event_type", ["OTHER", "PAUSED", None])
@pytest.mark.parametrize("order", [1, -1])
def test_metadata_alone_never_changes_the_state(
    api: ApiClient, orders: Pipeline, event_type: str | None, order: int
) -> None:
    outputs = [{"outputFacets": {"outputStatistics": {"rowCount": 7}}}]
    metadata = make_event(eventType=event_type, eventTime="2026-11-01T13:00:00Z", outputs=outputs)

    for event in [make_event(), metadata][::order]:
        send(api, event)

    run = find_run(orders.id, RUN_ID)
    assert (run.status, run.rows_processed) == (RunStatus.SUCCESS, 7)


@pytest.mark.parametrize(
    "event",
    [
        {"eventTime": "2026-11-01T12:00:00Z", "job": {"namespace": "vendor", "name": "nightly_orders"}},
        {"eventTime": "2026-11-01T12:00:00Z", "dataset": {"namespace": "postgres", "name": "orders"}},
        make_task_failure(eventType="COMPLETE"),
    ],
    ids=["job", "dataset", "task"],
)
def test_event_of_no_run_of_a_pipeline_is_accepted_and_ignored(
    api: ApiClient, orders: Pipeline, event: dict[str, Any]
) -> None:
    assert send(api, event) == {**NOTHING, "ignored": 1}
    assert unmapped(api) == []


def test_unknown_fields_are_no_errors(api: ApiClient, orders: Pipeline) -> None:
    event = make_event(ofALaterSpec={"deep": [{}]})
    event["run"]["more"] = event["job"]["more"] = 1

    assert send(api, event) == {**NOTHING, "created": 1}


MALFORMED: dict[str, tuple[Any, str]] = {
    "array": ([make_event()], "event"),
    "text": ("START", "event"),
    "no run": ({"eventType": "START"}, "run"),
    "no job name": (make_event(job={"namespace": "vendor"}), "job.name"),
    "object as run id": (make_event(run_id={}), "run.runId"),
    "words as time": (make_event(eventTime="yesterday"), "eventTime"),
    "a time beyond all": (make_event(eventTime="9999-12-31T00:00:00Z"), "finished_at"),
    "long run id of Airflow": (
        make_airflow_event(facets={"airflowDagRun": {"dagRun": {"run_id": "x" * 513}}}),
        "external_run_id",
    ),
    "more rows than there can be": (
        make_event(outputs=[{"outputFacets": {"outputStatistics": {"rowCount": 2**63}}}]),
        "rows_processed",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_event_is_refused_by_the_field_at_fault(api: ApiClient, orders: Pipeline, case: str) -> None:
    event, field = MALFORMED[case]

    response = api.post(LINEAGE, event)

    assert refusal(response) == INVALID
    assert list(issues(response)) == [field]
    assert api.get("/runs").get_json()["items"] == []


@pytest.mark.parametrize("path", [LINEAGE, BATCH])
@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}", b"\xff"])
def test_body_that_is_no_json_is_invalid(api: ApiClient, path: str, body: bytes) -> None:
    assert refusal(api.post(path, data=body, content_type=JSON)) == INVALID


@pytest.mark.parametrize("path", [LINEAGE, BATCH])
@pytest.mark.parametrize("content_type", ["text/plain", "application/vnd.openlineage+json", ""])
def test_only_json_is_taken(api: ApiClient, path: str, content_type: str) -> None:
    response = api.post(path, data=json.dumps(make_event()), content_type=content_type)

    assert refusal(response) == UNSUPPORTED


@pytest.mark.parametrize("path", [LINEAGE, BATCH])
def test_query_parameters_are_refused(api: ApiClient, path: str) -> None:
    assert list(issues(api.post(f"{path}?namespace=x", make_event()))) == ["namespace"]


# -- what nobody should see, and what no database holds -----------------------------------------------------------


def test_secrets_in_an_event_are_not_stored(api: ApiClient, orders: Pipeline) -> None:
    dag_run = {"run_id": "r", "conf": {"api_key": "hunter2-hunter2", "url": "postgres://chm:hunter2@db/x"}}
    facets = {
        "airflowDagRun": {"dagRun": dag_run},
        "errorMessage": {"message": "token=hunter2hunter2", "stackTrace": "Authorization: Bearer hunter2hunter2"},
    }

    send(api, make_event(eventType="FAIL", facets=facets, producer="https://chm:hunter2@producer"))

    run = find_run(orders.id, "r")
    assert run.payload is not None
    assert run.payload["facets"]["airflowDagRun"]["run_id"] == "r"
    assert "hunter2" not in f"{run.payload} {run.status_reason} {run.error_message}"


def test_secrets_in_what_is_unmapped_are_not_kept(api: ApiClient) -> None:
    send(api, make_event(name="token=hunter2hunter2", producer="https://chm:hunter2@producer"))

    assert len(unmapped(api)) == 1
    assert "hunter2" not in str(unmapped(api))


def test_secret_in_a_tasks_error_is_not_stored(api: ApiClient, orders: Pipeline) -> None:
    send_all(api, make_task_failure("password=hunter2hunter2 is wrong"), make_airflow_event())

    message = find_run(orders.id, DAG_RUN_ID).error_message
    assert message is not None
    assert message.startswith("load: ")
    assert "hunter2" not in message


REPLACED = "\ufffd"
UNSTORABLE = ["\0", "\ud800", "\udc00\ud800"]


@pytest.mark.parametrize("bad", UNSTORABLE)
def test_what_no_database_holds_is_replaced(api: ApiClient, orders: Pipeline, bad: str) -> None:
    facets = {"errorMessage": {"message": f"a{bad}b"}, "nominalTime": {f"k{bad}": bad}}

    assert send(api, make_event(eventType="FAIL", run_id=f"r{bad}", facets=facets))["created"] == 1

    replaced = REPLACED * len(bad)
    assert find_run(orders.id, f"r{replaced}").error_message == f"a{replaced}b"


@pytest.mark.parametrize("bad", UNSTORABLE)
def test_name_that_no_database_holds_is_unmapped(api: ApiClient, bad: str) -> None:
    event = make_event(name=f"n{bad}", producer=bad)

    assert send(api, event)["unmapped"] == 1
    assert [item["name"] for item in unmapped(api)] == [f"vendor/n{REPLACED * len(bad)}"]


@pytest.mark.parametrize("bad", UNSTORABLE)
def test_task_failure_that_no_database_holds_is_taken(api: ApiClient, orders: Pipeline, bad: str) -> None:
    failed = make_airflow_event(run_id=f"p{bad}")
    facets = {"parent": {"run": {"runId": f"p{bad}"}}, "errorMessage": {"message": f"a{bad}b"}}

    send_all(api, failed, make_task_failure(name="load", facets=facets))

    assert find_run(orders.id, DAG_RUN_ID).error_message == f"load: a{REPLACED * len(bad)}b"


def test_huge_event_costs_its_payload_alone(api: ApiClient, orders: Pipeline) -> None:
    dag_run = {"run_id": "r", "conf": {f"k{number}": "x" * 1000 for number in range(500)}}

    send(api, make_event(facets={"airflowDagRun": {"dagRun": dag_run}}))

    payload = find_run(orders.id, "r").payload
    assert payload is not None
    assert payload["openlineage_run_id"] == RUN_ID
    assert len(json.dumps(payload)) < 65_536


# -- which pipeline -----------------------------------------------------------------------------------------------


def test_namespace_and_name_go_before_the_name_alone(api: ApiClient, orders: Pipeline) -> None:
    by_name = make_pipeline(external_id="nightly_orders")

    send(api, make_event())
    send(api, make_event(run_id="elsewhere", job={"namespace": "other", "name": "nightly_orders"}))

    assert find_run(orders.id, RUN_ID).status is RunStatus.SUCCESS
    assert find_run(by_name.id, "elsewhere").status is RunStatus.SUCCESS


@pytest.mark.parametrize("platform", list(Platform))
def test_pipeline_of_any_platform_is_found(api: ApiClient, platform: Platform) -> None:
    pipeline = make_pipeline(external_id="nightly_orders", platform=platform)

    send(api, make_event(integration="AIRFLOW"))

    assert find_run(pipeline.id, RUN_ID).status is RunStatus.SUCCESS


def test_id_that_several_clients_have_is_unmapped(api: ApiClient) -> None:
    for _ in range(2):
        make_pipeline(external_id="nightly_orders", platform=Platform.AIRFLOW)

    assert send(api, make_event(integration="AIRFLOW")) == {**NOTHING, "unmapped": 1}
    assert unmapped(api)[0]["reason"] == "Several active pipelines have this external id."
    assert api.get("/runs").get_json()["items"] == []


def test_of_several_platforms_the_events_own_decides(api: ApiClient) -> None:
    client = make_client()
    make_pipeline(client, external_id="nightly_orders", platform=Platform.VENDOR_API)
    airflow = make_pipeline(client, external_id="nightly_orders", platform=Platform.AIRFLOW)

    assert send(api, make_event(integration="AIRFLOW"))["created"] == 1
    assert find_run(airflow.id, RUN_ID).status is RunStatus.SUCCESS
    assert send(api, make_event(integration="SPARK"))["unmapped"] == 1


def test_better_id_that_is_ambiguous_does_not_fall_back_to_the_name(api: ApiClient) -> None:
    for external_id in ("vendor/nightly_orders", "vendor/nightly_orders", "nightly_orders"):
        make_pipeline(external_id=external_id)

    assert send(api, make_event())["unmapped"] == 1


def test_disabled_pipelines_and_clients_get_no_runs(api: ApiClient) -> None:
    make_pipeline(external_id="nightly_orders", is_active=False)
    make_pipeline(make_client(is_active=False), external_id="nightly_orders")

    assert send(api, make_event())["unmapped"] == 1
    assert unmapped(api)[0]["reason"] == "No active pipeline has this external id."


def test_pipeline_gets_its_runs_once_it_is_registered(api: ApiClient) -> None:
    send(api, make_event())
    pipeline = make_pipeline(external_id="vendor/nightly_orders")

    assert send(api, make_event())["created"] == 1
    assert find_run(pipeline.id, RUN_ID).status is RunStatus.SUCCESS


# -- batches ------------------------------------------------------------------------------------------------------


def test_batch_tells_what_became_of_each_event(api: ApiClient, orders: Pipeline) -> None:
    send(api, make_event(run_id="known"))

    result = send_all(
        api,
        make_event(eventType="START", eventTime="2026-11-01T11:58:00Z"),
        {"eventType": "START"},
        make_event(),
        make_event(run_id="known"),
        make_event(name="nobodys"),
        make_task_failure(),
        7,
        make_event(run_id="late", eventTime="9999-01-01T00:00:00Z"),
    )

    rejected = result.pop("rejected")
    assert result == {"created": 1, "updated": 1, "unchanged": 1, "unmapped": 1, "ignored": 1}
    assert [(each["index"], each["field"], each["external_run_id"]) for each in rejected] == [
        (1, "run", None),
        (6, "event", None),
        (7, "finished_at", "late"),
    ]
    assert all(each["issue"] for each in rejected)


def test_batch_of_the_largest_size_is_taken(api: ApiClient, orders: Pipeline) -> None:
    events = [make_event(run_id=f"run-{number}") for number in range(1000)]

    assert send_all(api, *events) == {**NOTHING, "created": 1000}


def test_larger_batch_is_refused_as_a_whole(api: ApiClient, orders: Pipeline) -> None:
    response = api.post(BATCH, [make_event()] * 1001)

    assert refusal(response) == INVALID
    assert issues(response) == {"body": "Must not hold more than 1,000 events."}
    assert api.get("/runs").get_json()["items"] == []


def test_empty_batch_is_fine(api: ApiClient) -> None:
    assert send_all(api) == NOTHING


@pytest.mark.parametrize("body", [make_event(), {"events": []}, "x", 7, None])
def test_batch_that_is_no_array_is_refused(api: ApiClient, body: Any) -> None:
    response = api.post(BATCH, data=json.dumps(body), content_type=JSON)

    assert refusal(response) == INVALID
    assert issues(response) == {"body": "Must be an array of events."}
