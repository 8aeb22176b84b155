"""What arrives as JSON becomes the values of a run record."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest

from chm_web.ingestion.mapper import STATUS_MAP, Unmappable, map_status, parse_count, parse_number, parse_time
from chm_web.ingestion.platforms.partner import map_run
from chm_web.models import RunStatus
from chm_web.services.runs import RunRecord

PIPELINE = uuid4()
START, END = "2026-11-01T10:00:00Z", "2026-11-01T10:05:00+00:00"


def mapped(**raw: Any) -> RunRecord:
    """Map a run of the generic partner."""
    return map_run(PIPELINE, {"id": "r", "status": "success", **raw})


@pytest.mark.parametrize(("word", "status"), STATUS_MAP.items())
@pytest.mark.parametrize(
    "spell", [str, str.upper, lambda word: f" {word.replace('_', '-')} "], ids=["", "upper", "dashes"]
)
def test_known_words_are_mapped_however_they_are_spelled(word: str, status: RunStatus, spell: Any) -> None:
    assert map_status(spell(word), is_finished=False)[0] is status


def test_an_unknown_word_of_a_finished_run_is_a_failure_with_the_word_as_reason() -> None:
    record = mapped(status="Exploded!", finished_at=END)
    assert (record.status, record.status_reason) == (RunStatus.FAILED, "Exploded!")


def test_an_unknown_word_of_an_unfinished_run_is_running_with_the_word_as_reason() -> None:
    record = mapped(status="warming up", started_at=START)
    assert (record.status, record.status_reason) == (RunStatus.RUNNING, "warming up")


def test_a_word_that_says_more_than_its_status_is_kept() -> None:
    assert mapped(status="timed-out", finished_at=END).status_reason == "timed_out"


def test_a_reason_given_wins_over_the_word() -> None:
    assert mapped(status="timeout", status_reason="after 30 min").status_reason == "after 30 min"


@pytest.mark.parametrize("word", [None, "", "  ", 7, ["failed"]])
def test_no_word_at_all_cannot_be_mapped(word: Any) -> None:
    with pytest.raises(Unmappable, match="status"):
        mapped(status=word)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-23T01:58:40.203141Z", datetime(2026, 11, 23, 1, 58, 40, 203141, UTC)),
        ("2026-11-23T01:58:40+00:00", datetime(2026, 11, 23, 1, 58, 40, 0, UTC)),
        ("2024-05-27 10:42:16.179903+00:00", datetime(2024, 5, 27, 10, 42, 16, 179903, UTC)),
        ("2026-11-23T03:58:40+02:00", datetime(2026, 11, 23, 3, 58, 40, tzinfo=timezone(timedelta(hours=2)))),
        ("2026-11-23T01:58:40", datetime(2026, 11, 23, 1, 58, 40, 0, UTC)),
        ("2026-11-23", datetime(2026, 11, 23, tzinfo=UTC)),
        (1_700_000_000, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        (1_700_000_000.5, datetime(2023, 11, 14, 22, 13, 20, 500_000, UTC)),
        (1_700_000_000_000, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", None),
        (None, None),
        ("", None),
        (math.nan, None),
    ],
)
def test_times(value: Any, expected: datetime | None) -> None:
    assert parse_time(value, "started_at") == expected


@pytest.mark.parametrize("value", ["yesterday", "2026-13-01", [], {}, True, 1e300, "2026-11-23T25:00:00Z"])
def test_what_is_no_time_names_the_field(value: Any) -> None:
    with pytest.raises(Unmappable, match=r"^started_at: .* is not a time$"):
        parse_time(value, "started_at")


@pytest.mark.parametrize(
    ("value", "expected"), [(5, 5), ("5", 5), (5.0, 5), (2**70, 2**70), (None, None), ("", None), (math.nan, None)]
)
def test_counts(value: Any, expected: int | None) -> None:
    assert parse_count(value, "rows_processed") == expected


@pytest.mark.parametrize("value", ["many", 5.5, True, [], {}])
def test_what_is_no_count_names_the_field(value: Any) -> None:
    with pytest.raises(Unmappable, match=r"^rows_processed: "):
        parse_count(value, "rows_processed")


@pytest.mark.parametrize(("value", "expected"), [(1, 1.0), ("1.5", 1.5), (math.inf, None), ("nan", None), (None, None)])
def test_numbers(value: Any, expected: float | None) -> None:
    assert parse_number(value, "duration_seconds") == expected


@pytest.mark.parametrize("value", ["soon", True, [], 10**400])
def test_what_is_no_number_names_the_field(value: Any) -> None:
    with pytest.raises(Unmappable, match=r"^duration_seconds: "):
        parse_number(value, "duration_seconds")


def test_a_whole_run() -> None:
    record = map_run(
        PIPELINE,
        {
            "external_run_id": "a/b c+1",
            "status": "failed",
            "started_at": START,
            "finished_at": END,
            "rows_processed": 12,
            "error_message": "boom",
            "updated_at": END,
            "attempt": 3,
            "worker": {"host": "w1"},
        },
    )
    end = datetime(2026, 11, 1, 10, 5, tzinfo=UTC)
    assert record == RunRecord(
        pipeline_id=PIPELINE,
        external_run_id="a/b c+1",
        status=RunStatus.FAILED,
        started_at=datetime(2026, 11, 1, 10, 0, tzinfo=UTC),
        finished_at=end,
        rows_processed=12,
        error_message="boom",
        payload={"attempt": 3, "worker": {"host": "w1"}},
        attempt_at=datetime(2026, 11, 1, 10, 0, tzinfo=UTC),
        source_updated_at=end,
    )


def test_a_bare_run_is_enough() -> None:
    record = map_run(PIPELINE, {"id": 17, "status": "ok"})
    assert record == RunRecord(pipeline_id=PIPELINE, external_run_id="17", status=RunStatus.SUCCESS)


def test_the_queue_time_stands_in_for_a_start_that_has_not_come() -> None:
    record = mapped(status="queued", queued_at=START)
    assert (record.started_at, record.attempt_at) == (None, datetime(2026, 11, 1, 10, 0, tzinfo=UTC))


def test_a_finish_before_the_start_is_clamped_and_says_why() -> None:
    record = mapped(started_at=END, finished_at=START)
    assert (record.finished_at, record.status_reason) == (record.started_at, "clock_skew")


def test_an_error_that_is_no_text_becomes_its_json() -> None:
    assert mapped(status="failed", error_message={"code": 7}).error_message == '{"code": 7}'


@pytest.mark.parametrize("raw", [None, "run", 7, ["id"]])
def test_a_run_that_is_no_object_cannot_be_mapped(raw: Any) -> None:
    with pytest.raises(Unmappable, match="run: must be an object"):
        map_run(PIPELINE, raw)


@pytest.mark.parametrize("value", [None, "", True, {}, 1.5])
def test_a_run_needs_an_id(value: Any) -> None:
    with pytest.raises(Unmappable, match="external_run_id"):
        map_run(PIPELINE, {"external_run_id": value, "status": "ok"})
