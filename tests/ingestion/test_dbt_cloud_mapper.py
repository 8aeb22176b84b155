"""What dbt Cloud says of runs, as run records."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from chm_web.ingestion.mapper import CLOCK_SKEW, Unmappable
from chm_web.ingestion.platforms.dbt_cloud_mapper import (
    STATUSES,
    WORDS,
    external_id_of,
    failed_step,
    map_run,
    run_id_of,
)
from chm_web.models import RunStatus
from tests.ingestion.dbt_clouds import JOB, dbt_run

PIPELINE = uuid4()

ENDED = "2024-05-27 10:43:16.179903+00:00"
EVERY_STATUS: dict[int, tuple[str | None, RunStatus, str | None]] = {
    1: (None, RunStatus.RUNNING, "queued"),
    2: (None, RunStatus.RUNNING, None),
    3: (None, RunStatus.RUNNING, None),
    10: (ENDED, RunStatus.SUCCESS, None),
    20: (ENDED, RunStatus.FAILED, None),
    30: (ENDED, RunStatus.CANCELED, None),
    40: (ENDED, RunStatus.FAILED, "40"),
    4: (None, RunStatus.RUNNING, "4"),
}


@pytest.mark.parametrize("number", EVERY_STATUS)
def test_every_status_has_its_meaning_and_an_unknown_one_is_kept_as_the_reason(number: int) -> None:
    ended, status, reason = EVERY_STATUS[number]
    record = map_run(PIPELINE, dbt_run(1, status=number, finished_at=ended))
    assert (record.status, record.status_reason) == (status, reason)
    assert record.finished_at == (datetime.fromisoformat(ENDED) if ended else None)


def test_no_status_of_dbt_cloud_is_missing_here() -> None:
    assert set(WORDS) < set(EVERY_STATUS)
    assert set(WORDS.values()) == set(STATUSES)


def test_a_run_is_mapped_whole() -> None:
    record = map_run(PIPELINE, dbt_run(1))

    assert (record.pipeline_id, record.external_run_id) == (PIPELINE, "70403103900001")
    assert record.started_at == record.attempt_at == datetime(2024, 5, 27, 10, 42, 16, 179903, UTC)
    assert record.finished_at == datetime(2024, 5, 27, 10, 43, 16, 179903, UTC)
    assert record.source_updated_at == datetime(2024, 5, 27, 10, 43, 20, 500000, UTC)
    assert (record.error_message, record.status_reason) == (None, None)
    assert record.payload == {
        "job_definition_id": JOB,
        "project_id": 11,
        "environment_id": 22,
        "git_branch": "main",
        "git_sha": "9f1c0de",
        "dbt_version": "1.9.0-latest",
        "href": "https://dbt.example/deploy/4711/projects/11/runs/1/",
    }


def test_a_run_that_waits_is_an_attempt_from_when_it_was_made() -> None:
    record = map_run(PIPELINE, dbt_run(1, status=1, started_at=None, finished_at=None))
    assert (record.started_at, record.attempt_at) == (None, datetime(2024, 5, 27, 10, 42, 10, 1, UTC))


def test_a_run_that_took_too_long_is_canceled_for_that_reason() -> None:
    said = "This run timed out after running for 24 hours."
    record = map_run(PIPELINE, dbt_run(1, status=30, status_message=said))
    assert (record.status, record.status_reason, record.error_message) == (RunStatus.CANCELED, "timeout", said)


@pytest.mark.parametrize(("status", "text"), [(20, "timed out: no"), (10, None)])
def test_the_message_of_a_failed_run_is_its_error_text(status: int, text: str | None) -> None:
    record = map_run(PIPELINE, dbt_run(1, status=status, status_message="timed out: no"))
    assert (record.error_message, record.status_reason) == (text, None)


def test_an_end_before_the_start_is_the_start() -> None:
    record = map_run(PIPELINE, dbt_run(1, finished_at="2024-05-27 09:00:00+00:00"))
    assert (record.finished_at, record.status_reason) == (record.started_at, CLOCK_SKEW)


@pytest.mark.parametrize(
    "raw",
    [None, [], "run", *(dbt_run(1, **one) for one in ({"id": None}, {"status": None}, {"status": "10"}))],
)
def test_what_cannot_be_understood_is_unmappable(raw: Any) -> None:
    with pytest.raises(Unmappable):
        map_run(PIPELINE, raw)


def test_a_status_that_is_true_or_false_is_no_number() -> None:
    with pytest.raises(Unmappable, match="status: must be a number"):
        map_run(PIPELINE, dbt_run(1, status=True))


@pytest.mark.parametrize("raw", [None, [], {}, {"id": None, "job_definition_id": []}, {"job_definition_id": True}])
def test_ids_of_what_is_no_run_are_none(raw: Any) -> None:
    assert (run_id_of(raw), external_id_of(raw)) == (None, None)


def test_ids_are_text() -> None:
    assert (run_id_of(dbt_run(1)), external_id_of(dbt_run(1))) == ("70403103900001", "815")


def step(index: int, **values: Any) -> dict[str, Any]:
    """A step that failed."""
    return {"index": index, "name": f"Invoke dbt with `dbt step{index}`", "status": 20, "logs": "", **values}


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ({"run_steps": [step(2), step(1, logs="Database Error\n"), step(0, status=10)]}, "step1`: Database Error"),
        ({"run_steps": [step(4, logs="\x1b[31mred\x1b[0m")]}, "step4`: red"),
        ({"run_steps": [step(4, logs=None)]}, "step4` failed"),
        ({"run_steps": [step(4, name=None, logs="why")]}, "A step: why"),
    ],
)
def test_the_step_that_failed_first_is_told_with_its_log(run: Any, said: str) -> None:
    told = failed_step(run)
    assert told is not None and told.endswith(said)


@pytest.mark.parametrize("run", [None, {}, {"run_steps": None}, {"run_steps": [None, step(1, status=10)]}])
def test_a_run_that_shows_no_failed_step_tells_nothing(run: Any) -> None:
    assert failed_step(run) is None


def test_of_a_long_log_the_last_whole_lines_are_told() -> None:
    log = "\n".join(f"{number:05} {'x' * 90}" for number in range(1000))
    told = failed_step({"run_steps": [step(1, name="s", logs=log)]})
    assert told is not None
    assert told.startswith("s: 00959 x")
    assert told.endswith(log[-97:])


def test_of_one_endless_line_the_end_is_told() -> None:
    assert failed_step({"run_steps": [step(1, name="s", logs="x" * 9000)]}) == f"s: {'x' * 4000}"
