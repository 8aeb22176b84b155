"""The mapper of OpenLineage events, by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from chm_web.ingestion.mapper import CLOCK_SKEW, Unmappable
from chm_web.ingestion.platforms.openlineage import Ignored, RunEvent, TaskFailure, map_run, read_event
from chm_web.models import Platform, RunStatus
from chm_web.services.runs import RunRecord
from tests.ingestion.lineage import PARENT_ID, RUN_ID, make_airflow_event, make_event, make_task_failure

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def mapped(event: dict[str, Any]) -> RunRecord:
    """The record of an event that must be of a pipeline's run."""
    read = read_event(event)
    assert isinstance(read, RunEvent)
    return map_run(uuid4(), read)


# -- statuses and times -------------------------------------------------------------------------------------------

TYPES: dict[Any, tuple[RunStatus, bool, bool, bool]] = {
    # type: status, whether it tells a start, an end, and of the run's state at all
    "START": (RunStatus.RUNNING, True, False, True),
    "RUNNING": (RunStatus.RUNNING, False, False, True),
    "COMPLETE": (RunStatus.SUCCESS, False, True, True),
    "FAIL": (RunStatus.FAILED, False, True, True),
    "ABORT": (RunStatus.CANCELED, False, True, True),
    "OTHER": (RunStatus.RUNNING, False, False, False),
    "PAUSED": (RunStatus.RUNNING, False, False, False),
    "": (RunStatus.RUNNING, False, False, False),
    None: (RunStatus.RUNNING, False, False, False),
    "complete": (RunStatus.SUCCESS, False, True, True),
}


@pytest.mark.parametrize("event_type", TYPES)
def test_each_type_says_what_the_table_says(event_type: str | None) -> None:
    status, starts, ends, tells_state = TYPES[event_type]

    record = mapped(make_event(eventType=event_type))

    assert record.status is status
    assert record.started_at == (NOON if starts else None)
    assert record.finished_at == (NOON if ends else None)
    assert record.source_updated_at == (NOON if tells_state else None)


def test_event_without_a_type_brings_metadata_alone() -> None:
    event = make_event()
    del event["eventType"]

    record = mapped(event)

    assert (record.status, record.source_updated_at) == (RunStatus.RUNNING, None)


@pytest.mark.parametrize("event_type", ["START", "COMPLETE", "FAIL"])
def test_attempt_is_told_by_airflows_clock_and_by_no_event(event_type: str) -> None:
    assert mapped(make_event(eventType=event_type)).attempt_at is None
    assert mapped(make_airflow_event(eventType=event_type)).attempt_at == NOON - timedelta(minutes=1)


def test_event_that_says_nothing_of_the_state_claims_no_attempt() -> None:
    assert mapped(make_airflow_event(eventType="OTHER")).attempt_at is None


@pytest.mark.parametrize("text", ["2026-11-01T13:00:00+01:00", "2026-11-01T12:00:00", "2026-11-01T12:00:00.000Z"])
def test_times_are_taken_with_and_without_a_zone(text: str) -> None:
    assert mapped(make_event(eventTime=text)).finished_at == NOON


# -- which events are of a pipeline's run -------------------------------------------------------------------------

PARENT = {"parent": {"run": {"runId": PARENT_ID}, "job": {"namespace": "airflow", "name": "nightly"}}}


@pytest.mark.parametrize("job_type", ["DAG", "JOB", "dag"])
def test_dag_or_job_is_a_pipeline_even_with_a_parent(job_type: str) -> None:
    assert isinstance(read_event(make_event(job_type=job_type, facets=PARENT)), RunEvent)


@pytest.mark.parametrize("job_type", ["TASK", "MODEL", "TEST", "SQL", "", None, 7])
@pytest.mark.parametrize("event_type", ["START", "RUNNING", "COMPLETE", "ABORT", "OTHER", None])
def test_part_of_a_run_is_ignored(job_type: Any, event_type: str | None) -> None:
    event = make_event(job_type=job_type, eventType=event_type, facets=PARENT)

    assert isinstance(read_event(event), Ignored)


@pytest.mark.parametrize("job_type", ["TASK", "MODEL", "APPLICATION", None])
@pytest.mark.parametrize("facets", [{}, {"parent": None}, {"parent": "x"}, {"parent": {}}])
def test_anything_without_a_parent_is_a_pipeline(job_type: str | None, facets: dict[str, Any]) -> None:
    assert isinstance(read_event(make_event(job_type=job_type, facets=facets)), RunEvent)


@pytest.mark.parametrize(
    "event",
    [
        {"eventTime": "2026-11-01T12:00:00Z", "job": {"namespace": "vendor", "name": "nightly_orders"}},
        {"eventTime": "2026-11-01T12:00:00Z", "dataset": {"namespace": "postgres", "name": "orders"}},
    ],
    ids=["job", "dataset"],
)
def test_event_of_a_job_or_a_dataset_is_ignored(event: dict[str, Any]) -> None:
    assert isinstance(read_event(event), Ignored)


def test_failed_part_tells_the_error_text_of_its_run() -> None:
    assert read_event(make_task_failure()) == TaskFailure(PARENT_ID, "load: the disk is full")


def test_failed_part_without_a_message_is_named() -> None:
    assert read_event(make_task_failure(None)) == TaskFailure(PARENT_ID, "load failed")


@pytest.mark.parametrize("run", [None, {}, {"runId": None}, {"runId": 7}, {"runId": ""}, {"runId": "x" * 513}, "x"])
def test_failed_part_that_does_not_say_of_which_run_is_ignored(run: Any) -> None:
    facets = {"parent": {"run": run, "job": {"name": "nightly_orders"}}}

    assert isinstance(read_event(make_task_failure(facets=facets)), Ignored)


# -- which pipeline and which run ---------------------------------------------------------------------------------


def test_pipeline_is_looked_for_by_namespace_and_name_before_the_name_alone() -> None:
    event = read_event(make_event())

    assert isinstance(event, RunEvent)
    assert event.external_ids == ("vendor/nightly_orders", "nightly_orders")


@pytest.mark.parametrize("namespace", [None, ""])
def test_pipeline_without_a_namespace_is_looked_for_by_name(namespace: str | None) -> None:
    event = read_event(make_event(job={"namespace": namespace, "name": "nightly_orders"}))

    assert isinstance(event, RunEvent)
    assert event.external_ids == ("nightly_orders",)


PLATFORMS = {"AIRFLOW": Platform.AIRFLOW, "DBT": Platform.DBT, "dbt": Platform.DBT, "SPARK": None, "CUSTOM": None}


@pytest.mark.parametrize("integration", PLATFORMS)
def test_platform_is_told_by_the_integration(integration: str) -> None:
    event = read_event(make_event(integration=integration))

    assert isinstance(event, RunEvent)
    assert event.platform is PLATFORMS[integration]


def test_run_is_known_by_the_producers_id() -> None:
    assert mapped(make_event()).external_run_id == RUN_ID


def test_run_of_airflow_is_known_by_airflows_id_and_times() -> None:
    record = mapped(make_airflow_event())

    assert record.external_run_id == "manual__2026-11-01T11:58:00+00:00"
    assert (record.started_at, record.finished_at) == (NOON - timedelta(minutes=1), NOON)


@pytest.mark.parametrize("run_id", [None, "", 7, ["x"]])
def test_run_of_airflow_without_an_id_of_airflows_is_known_by_the_producers(run_id: Any) -> None:
    facets = {"airflowDagRun": {"dagRun": {"run_id": run_id}}}

    assert mapped(make_airflow_event(facets=facets)).external_run_id == PARENT_ID


def test_run_of_dbt_is_known_by_dbts_id() -> None:
    facets = {"dbt_run": {"invocation_id": "37e7e69d-3df2-4735-9e01-a86ca8f7ed01"}}

    assert mapped(make_event(facets=facets)).external_run_id == "37e7e69d-3df2-4735-9e01-a86ca8f7ed01"


@pytest.mark.parametrize("facet", [None, "x", {}, {"invocation_id": None}, {"invocation_id": ""}, {"invocation_id": 7}])
def test_run_of_dbt_without_an_id_of_dbts_is_known_by_the_producers(facet: Any) -> None:
    assert mapped(make_event(facets={"dbt_run": facet})).external_run_id == RUN_ID


@pytest.mark.parametrize("facet", [None, "x", [], {}, {"dagRun": None}, {"dagRun": {"start_date": "soon"}}])
def test_facet_of_airflow_that_says_nothing_is_passed_over(facet: Any) -> None:
    record = mapped(make_airflow_event(facets={"airflowDagRun": facet}))

    assert (record.external_run_id, record.started_at, record.finished_at) == (PARENT_ID, None, NOON)


def test_end_before_the_start_is_clamped_and_said() -> None:
    dag_run = {"start_date": "2026-11-01T12:00:00Z", "end_date": "2026-11-01T11:59:00Z"}

    record = mapped(make_airflow_event(facets={"airflowDagRun": {"dagRun": dag_run}}))

    assert (record.started_at, record.finished_at, record.status_reason) == (NOON, NOON, CLOCK_SKEW)


# -- what else is kept --------------------------------------------------------------------------------------------


def counted(*counts: Any) -> list[dict[str, Any]]:
    """Outputs with these row counts."""
    return [{"outputFacets": {"outputStatistics": {"rowCount": count}}} for count in counts]


STATISTICS: dict[str, tuple[Any, int | None]] = {
    "no outputs": (None, None),
    "outputs that are no list": ({"a": 1}, None),
    "outputs without statistics": ([{}, "x", {"outputFacets": None}], None),
    "one": (counted(7), 7),
    "several": (counted(7, 0, 5.0), 12),
    "nothing written": (counted(0), 0),
    "nonsense beside a count": (counted(7, -1, "many", 1.5, None, []), 7),
    "not a number": (counted(float("nan")), None),
}


@pytest.mark.parametrize("case", STATISTICS)
def test_rows_are_the_sum_over_the_outputs(case: str) -> None:
    outputs, rows = STATISTICS[case]

    assert mapped(make_event(outputs=outputs)).rows_processed == rows


def test_error_message_is_kept_and_its_trace_goes_to_the_payload() -> None:
    facets = {"errorMessage": {"message": "file missing", "stackTrace": "Traceback\nOSError"}}

    record = mapped(make_event(eventType="FAIL", facets=facets))

    assert record.error_message == "file missing"
    assert record.payload is not None
    assert record.payload["stack_trace"] == "Traceback\nOSError"


@pytest.mark.parametrize("integration", ["AIRFLOW", "DBT"])
def test_what_an_orchestrator_says_of_a_failure_is_a_reason_and_no_error(integration: str) -> None:
    facets = {"errorMessage": {"message": "task_failure"}}

    record = mapped(make_event(eventType="FAIL", integration=integration, facets=facets))

    assert (record.error_message, record.status_reason) == (None, "task_failure")


def test_payload_holds_what_helps_and_no_schemas() -> None:
    facets = {
        "nominalTime": {"_producer": "p", "_schemaURL": "u", "nominalStartTime": "2026-11-01T11:00:00Z"},
        "tags": {"tags": []},
    }
    outputs = [{"namespace": "postgres", "name": "orders", "facets": {"schema": {}}}]

    assert mapped(make_event(facets=facets, outputs=outputs)).payload == {
        "openlineage_run_id": RUN_ID,
        "namespace": "vendor",
        "job": "nightly_orders",
        "producer": "https://vendor.example/loader",
        "outputs": [{"namespace": "postgres", "name": "orders"}],
        "facets": {
            "nominalTime": {"nominalStartTime": "2026-11-01T11:00:00Z"},
            "jobType": {"jobType": "JOB", "integration": "CUSTOM"},
        },
    }


@pytest.mark.parametrize("junk", [None, "x", 7, [], {"errorMessage": 7, "nominalTime": []}])
def test_facets_that_are_none_are_passed_over(junk: Any) -> None:
    record = mapped(make_event(run={"runId": RUN_ID, "facets": junk}, job={"name": "a", "facets": junk}))

    assert record.status is RunStatus.SUCCESS


# -- what is no event ---------------------------------------------------------------------------------------------

MALFORMED: dict[str, tuple[Any, str]] = {
    "text": ("START", "event"),
    "null": (None, "event"),
    "array": ([make_event()], "event"),
    "empty": ({}, "run"),
    "run that is no object": (make_event(run=RUN_ID), "run"),
    "no job": (make_event(job=None), "job"),
    "job that is no object": (make_event(job="nightly_orders"), "job"),
    "no job name": (make_event(job={"namespace": "vendor"}), "job.name"),
    "empty job name": (make_event(job={"namespace": "vendor", "name": ""}), "job.name"),
    "number as job name": (make_event(job={"namespace": "vendor", "name": 7}), "job.name"),
    "list as namespace": (make_event(job={"namespace": ["a"], "name": "a"}), "job.namespace"),
    "no run id": (make_event(run={}), "run.runId"),
    "number as run id": (make_event(run_id=7), "run.runId"),
    "empty run id": (make_event(run_id=""), "run.runId"),
    "long run id": (make_event(run_id="x" * 513), "run.runId"),
    "number as type": (make_event(eventType=7), "eventType"),
    "no time": (make_event(eventTime=None), "eventTime"),
    "words as time": (make_event(eventTime="yesterday"), "eventTime"),
    "list as time": (make_event(eventTime=[]), "eventTime"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_no_event_is_refused_by_the_field_at_fault(case: str) -> None:
    event, field = MALFORMED[case]

    with pytest.raises(Unmappable) as refused:
        read_event(event)

    assert refused.value.field == field
