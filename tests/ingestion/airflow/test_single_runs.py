"""What Airflow is asked of single runs: those that ended unseen, and the texts of failures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from werkzeug import Response

from chm_web.ingestion.account import FEED, NO_TEXT
from chm_web.models import Pipeline, RunStatus
from chm_web.services.runs import record_runs
from tests.factories import find_run, make_record
from tests.ingestion.airflows import (
    FAILED_RUN,
    LONG_AGO,
    AccountAccount,
    Airflow,
    airflow_source,
    dag_run,
    read_account,
    recorded,
)


def test_a_run_that_is_held_as_running_is_asked_for_when_the_feed_is_silent(
    airflow: Airflow, pipeline: Pipeline
) -> None:
    source, account = airflow_source(airflow.server), AccountAccount()
    running = {**recorded("dagrun_get_failed"), "state": "running", "end_date": None, "duration": None}
    airflow.runs = [running]
    read_account(source, account)
    airflow.runs = [recorded("dagrun_get_failed")]
    airflow.changed = {FAILED_RUN: LONG_AGO}

    read_account(source, account)

    assert find_run(pipeline.id, FAILED_RUN).status is RunStatus.FAILED


def test_a_running_run_that_the_feed_brings_is_not_asked_for_once_more(airflow: Airflow, pipeline: Pipeline) -> None:
    airflow.runs = [dag_run(1, state="running", end_date=None)]

    read_account(airflow_source(airflow.server))

    assert airflow.paths("scheduled__1") == []


def test_a_running_run_that_airflow_has_forgotten_stays_and_stops_nobody(airflow: Airflow, pipeline: Pipeline) -> None:
    record_runs(records=[make_record(pipeline, external_run_id="gone", status=RunStatus.RUNNING)])

    account = read_account(airflow_source(airflow.server))

    assert (find_run(pipeline.id, "gone").status, account.ended) == (RunStatus.RUNNING, 1)


def recent(run: dict[str, Any], **values: Any) -> dict[str, Any]:
    """A run that has failed just now: old failures are not asked about."""
    now = datetime.now(UTC)
    times = {
        "start_date": (now - timedelta(minutes=2)).isoformat(),
        "end_date": (now - timedelta(minutes=1)).isoformat(),
    }
    return {**run, **times, **values}


@pytest.mark.parametrize(
    ("version", "text"),
    [("3.3.2", "extract: ValueError: vendor file missing: orders_20261123.csv"), ("2.11.2", "extract failed")],
)
def test_a_failed_run_gets_the_error_of_the_task_that_failed(
    airflow: Airflow, pipeline: Pipeline, version: str, text: str
) -> None:
    airflow.version = version
    airflow.runs = [recent(dag_run(1))]
    source, account = airflow_source(airflow.server), AccountAccount()

    read_account(source, account)
    airflow.asked.clear()
    read_account(source, account)

    assert find_run(pipeline.id, "scheduled__1").error_message == text
    # Once told, it is not asked for again.
    assert airflow.paths("taskInstances") == []


def test_a_note_is_text_enough(airflow: Airflow, pipeline: Pipeline) -> None:
    airflow.runs = [recent(dag_run(1, note="vendor outage"))]

    read_account(airflow_source(airflow.server))

    assert find_run(pipeline.id, "scheduled__1").error_message == "vendor outage"
    assert airflow.paths("taskInstances") == []


@pytest.mark.parametrize(("part", "text"), [("/logs/", "extract failed"), ("taskInstances", NO_TEXT)])
def test_what_airflow_does_not_tell_of_a_failure_is_not_asked_for_for_ever(
    airflow: Airflow, pipeline: Pipeline, part: str, text: str
) -> None:
    airflow.runs = [recent(dag_run(1))]
    airflow.before = lambda request: Response("{}", 404) if part in request.path else None

    read_account(airflow_source(airflow.server))

    assert find_run(pipeline.id, "scheduled__1").error_message == text


def test_a_failed_run_whose_id_no_path_can_hold_costs_its_own_text_alone(airflow: Airflow, pipeline: Pipeline) -> None:
    airflow.runs = [recent(dag_run(1, dag_run_id="..")), recent(dag_run(2))]

    account = read_account(airflow_source(airflow.server))

    assert find_run(pipeline.id, "..").error_message == NO_TEXT
    assert find_run(pipeline.id, "scheduled__2").error_message is not None
    assert (account.ended, FEED in account.marks) == (1, True)


def test_texts_are_asked_for_within_a_budget(
    airflow: Airflow, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chm_web.ingestion.account.MAX_TEXTS", 2)
    airflow.runs = [recent(dag_run(n)) for n in range(5)]

    read_account(airflow_source(airflow.server))

    assert len(airflow.paths("/logs/")) == 2
