"""What Airflow says of DAG runs, as run records."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from chm_web.ingestion.mapper import Unmappable
from chm_web.ingestion.platforms.airflow_mapper import (
    STATES,
    external_id_of,
    first_failure,
    logged_error,
    map_run,
    run_id_of,
)
from chm_web.models import RunStatus
from tests.ingestion.airflows import DAG, recorded

PIPELINE = uuid4()
RUN = "manual__2026-11-23T01:58:38.517682+00:00"


def failed(**values: Any) -> dict[str, Any]:
    """The recorded failed run, but for these values."""
    return {**recorded("dagrun_get_failed"), **values}


ENDED = "2026-11-23T01:59:13.861863Z"
EVERY_STATE: dict[str, tuple[str | None, RunStatus, str | None]] = {
    "queued": (None, RunStatus.RUNNING, "queued"),
    "running": (None, RunStatus.RUNNING, None),
    "success": (ENDED, RunStatus.SUCCESS, None),
    "failed": (ENDED, RunStatus.FAILED, None),
    "exploded": (ENDED, RunStatus.FAILED, "exploded"),
    "pondering": (None, RunStatus.RUNNING, "pondering"),
}


@pytest.mark.parametrize("state", EVERY_STATE)
def test_every_state_has_its_status_and_an_unknown_one_is_kept_as_the_reason(state: str) -> None:
    ended, status, reason = EVERY_STATE[state]
    record = map_run(PIPELINE, failed(state=state, end_date=ended))
    assert (record.status, record.status_reason) == (status, reason)
    assert record.finished_at == (datetime.fromisoformat(ENDED) if ended else None)


def test_no_state_of_airflow_is_missing_here() -> None:
    assert set(STATES) < set(EVERY_STATE)


def test_a_recorded_run_of_airflow_3_is_mapped_whole() -> None:
    record = map_run(PIPELINE, failed())

    assert (record.pipeline_id, record.external_run_id) == (PIPELINE, RUN)
    assert record.started_at == record.attempt_at == datetime(2026, 11, 23, 1, 58, 40, 203141, UTC)
    assert record.finished_at == datetime(2026, 11, 23, 1, 59, 13, 861863, UTC)
    assert record.duration_seconds == 33.658722
    assert record.error_message is None
    assert record.payload == {
        "dag_id": DAG,
        "run_type": "manual",
        "run_after": "2026-11-23T01:58:38.517682Z",
        "conf": {"mode": "fail"},
        "triggered_by": "rest_api",
        "triggering_user_name": "admin",
    }


def test_a_recorded_run_of_airflow_2_is_mapped_whole() -> None:
    record = map_run(PIPELINE, recorded("dagrun_get_failed", 2))

    assert record.external_run_id == "manual__2026-11-23T02:16:32.510610+00:00"
    assert record.started_at == record.attempt_at == datetime(2026, 11, 23, 2, 16, 34, 42638, UTC)
    assert record.finished_at == datetime(2026, 11, 23, 2, 17, 15, 571812, UTC)
    assert (record.status, record.duration_seconds) == (RunStatus.FAILED, None)


@pytest.mark.parametrize("version", [2, 3])
def test_every_recorded_run_is_understood(version: int) -> None:
    lists = ["dagruns_list", "dagruns_list_early"] if version == 2 else ["dagruns_list_final", "dagruns_cursor_page1"]
    runs = [run for name in lists for run in recorded(name, version)["dag_runs"]]
    records = [map_run(PIPELINE, run) for run in runs]
    assert [record.external_run_id for record in records] == [run_id_of(run) for run in runs]
    assert {external_id_of(run) for run in runs} == {DAG}


def test_a_cleared_run_that_waits_is_an_attempt_from_its_new_time_in_the_queue() -> None:
    record = map_run(PIPELINE, recorded("dagrun_after_clear_requeued"))
    assert (record.external_run_id, record.status, record.started_at) == (RUN, RunStatus.RUNNING, None)
    assert record.attempt_at == datetime(2026, 11, 23, 2, 0, 0, 665312, UTC)


def test_a_running_run_has_no_end_whatever_airflow_still_shows() -> None:
    assert map_run(PIPELINE, failed(state="running")).finished_at is None


@pytest.mark.parametrize(("state", "text"), [("failed", "vendor outage"), ("success", None)])
def test_the_note_of_a_failed_run_is_its_error_text(state: str, text: str | None) -> None:
    record = map_run(PIPELINE, failed(state=state, note="vendor outage"))
    assert record.error_message == text
    assert record.payload is not None and record.payload["note"] == "vendor outage"


def test_a_look_of_the_scheduler_alone_changes_nothing() -> None:
    assert map_run(PIPELINE, failed(last_scheduling_decision="2026-11-23T09:00:00Z")) == map_run(PIPELINE, failed())


@pytest.mark.parametrize("raw", [None, [], "run", failed(dag_run_id=None), failed(state=None), failed(start_date="x")])
def test_what_cannot_be_understood_is_unmappable(raw: Any) -> None:
    with pytest.raises(Unmappable):
        map_run(PIPELINE, raw)


def test_the_task_that_failed_first_is_the_reason_and_not_one_that_failed_with_it() -> None:
    found = first_failure(recorded("taskinstances_of_failed_run"))
    assert found is not None and (found["task_id"], found["try_number"]) == ("extract", 1)


def test_a_recorded_log_tells_the_exception() -> None:
    assert logged_error(recorded("task_log_failed_json")) == "ValueError: vendor file missing: orders_20261123.csv"


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (
            {"content": [{"level": "error", "event": "No space left"}, {"level": "info", "event": "bye"}]},
            "No space left",
        ),
        ({"content": [{"level": "info", "event": "fine"}]}, None),
        ({"content": "plain text"}, None),
        ({"content": [None, {"level": "error", "error_detail": [None, {}], "event": None}]}, None),
        ([], None),
    ],
)
def test_a_log_without_an_exception_tells_its_last_error_if_any(log: Any, said: str | None) -> None:
    assert logged_error(log) == said


@pytest.mark.parametrize(
    "answer", [None, {}, {"task_instances": None}, {"task_instances": [None, {"state": "failed"}]}]
)
def test_strange_task_instances_tell_of_no_failure(answer: Any) -> None:
    assert first_failure(answer) is None
