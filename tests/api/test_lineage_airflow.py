"""Events of Airflow: pushed and pulled runs are one, and a failed task says why its run failed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from chm_web.models import Pipeline, RunStatus
from tests.api.lineage import DAG_RUN_ID, send, send_all
from tests.factories import find_run, make_run
from tests.http import ApiClient
from tests.ingestion.lineage import PARENT_ID, RUN_ID, make_airflow_event, make_task_failure


def test_what_is_pushed_and_what_is_pulled_are_one_run(api: ApiClient, orders: Pipeline) -> None:
    make_run(orders, external_run_id=DAG_RUN_ID, status=RunStatus.FAILED)

    assert send(api, make_airflow_event())["updated"] == 1
    assert len(api.get("/runs").get_json()["items"]) == 1


def second_attempt(event_type: str) -> dict[str, Any]:
    """An event of the run after it was cleared: Airflow's id again, under a new one of the producer's."""
    dag_run = {"run_id": DAG_RUN_ID, "start_date": "2026-11-01T12:30:00+00:00"}
    if event_type != "START":
        dag_run["end_date"] = "2026-11-01T12:40:00+00:00"
    facets = {"airflowDagRun": {"dagRun": dag_run}}
    return make_airflow_event(eventType=event_type, run_id=RUN_ID, eventTime="2026-11-01T12:40:01Z", facets=facets)


def test_cleared_run_begins_anew(api: ApiClient, orders: Pipeline) -> None:
    send_all(api, make_airflow_event(), make_task_failure())

    send(api, second_attempt("START"))
    begun = find_run(orders.id, DAG_RUN_ID)
    seen = (begun.status, begun.started_at, begun.finished_at, begun.error_message)
    send(api, second_attempt("COMPLETE"))
    run = find_run(orders.id, DAG_RUN_ID)

    started = datetime(2026, 11, 1, 12, 30, tzinfo=UTC)
    assert seen == (RunStatus.RUNNING, started, None, None)
    assert (run.status, run.started_at, run.duration_seconds) == (RunStatus.SUCCESS, started, 600)
    assert (run.error_message, run.status_reason) == (None, None)


@pytest.mark.parametrize("late", [make_airflow_event(), make_task_failure(), second_attempt("START")])
def test_late_event_changes_nothing_of_the_attempt_after_it(
    api: ApiClient, orders: Pipeline, late: dict[str, Any]
) -> None:
    send_all(api, make_airflow_event(), second_attempt("COMPLETE"))
    before = api.get("/runs").get_json()["items"]

    send(api, late)

    assert before[0]["status"] == "success"
    assert api.get("/runs").get_json()["items"] == before


@pytest.mark.parametrize("order", [1, -1])
def test_error_of_the_failed_task_becomes_the_runs(api: ApiClient, orders: Pipeline, order: int) -> None:
    for event in [make_task_failure("x"), make_airflow_event()][::order]:
        send(api, event)

    run = find_run(orders.id, DAG_RUN_ID)
    assert (run.status, run.error_message, run.status_reason) == (RunStatus.FAILED, "load: x", "task_failure")


@pytest.mark.parametrize("position", [0, 1, 2])
def test_of_several_failed_tasks_one_is_told_in_any_order(api: ApiClient, orders: Pipeline, position: int) -> None:
    events = [make_task_failure("short"), make_task_failure("the longer one of the two")]
    events.insert(position, make_airflow_event())

    for event in events:
        send(api, event)

    assert find_run(orders.id, DAG_RUN_ID).error_message == "load: the longer one of the two"


def test_task_that_failed_and_was_tried_again_leaves_no_error(api: ApiClient, orders: Pipeline) -> None:
    send(api, make_task_failure())

    send(api, make_airflow_event(eventType="COMPLETE", facets={"airflowDagRun": {"dagRun": {"run_id": "r"}}}))

    run = find_run(orders.id, "r")
    assert (run.status, run.error_message) == (RunStatus.SUCCESS, None)


def test_error_of_a_task_reopens_no_run(api: ApiClient, orders: Pipeline) -> None:
    send(api, make_airflow_event())

    send(api, make_task_failure(eventTime="2026-11-02T00:00:00Z"))

    assert find_run(orders.id, DAG_RUN_ID).status is RunStatus.FAILED


def test_failed_task_of_a_rejected_run_makes_no_run(api: ApiClient, orders: Pipeline) -> None:
    result = send_all(api, make_airflow_event(eventTime="2300-01-01T00:00:00Z"), make_task_failure())

    assert len(result["rejected"]) == 1
    assert api.get("/runs").get_json()["items"] == []


def test_task_makes_no_run_of_its_run(api: ApiClient, orders: Pipeline) -> None:
    send(api, make_task_failure())

    assert api.get(f"/pipelines/{orders.id}/runs/{PARENT_ID}").status_code == 404
