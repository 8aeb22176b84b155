"""The write rule as a table of named cases; bad values; several writers."""

from __future__ import annotations

import json
import math
import random
import threading
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session, scoped_session

from chm_web.extensions import db
from chm_web.models import Run
from chm_web.services.exceptions import Conflict, Invalid, NotFound
from chm_web.services.runs import RunRecord, create_run
from tests.factories import NOW, find_run, make_pipeline, make_record
from tests.services.recording import CANCELED, FAILED, RUNNING, SKIPPED, SUCCESS, at, counts, record

# -- named cases --------------------------------------------------------------------------------------------------

Values = dict[str, Any]

# Each case: what is reported of one run, one report after the other, and what the row says in the end.
CASES: dict[str, tuple[list[Values], Values]] = {
    "running then success": (
        [
            {"status": RUNNING, "started_at": at(0)},
            {"status": SUCCESS, "started_at": at(0), "finished_at": at(5), "rows_processed": 10},
        ],
        {"status": SUCCESS, "started_at": at(0), "finished_at": at(5), "duration_seconds": 300, "rows_processed": 10},
    ),
    "late START never regresses but fills the start in": (
        [{"status": SUCCESS, "finished_at": at(5)}, {"status": RUNNING, "started_at": at(0)}],
        {"status": SUCCESS, "started_at": at(0), "finished_at": at(5), "duration_seconds": 300},
    ),
    "nulls never erase": (
        [
            {"status": FAILED, "finished_at": at(5), "error_message": "boom", "rows_processed": 3, "payload": {"a": 1}},
            {"status": FAILED, "finished_at": at(5)},
        ],
        {"status": FAILED, "error_message": "boom", "rows_processed": 3, "payload": {"a": 1}},
    ),
    "the later finish wins with its status": (
        [{"status": FAILED, "finished_at": at(5)}, {"status": SUCCESS, "finished_at": at(6)}],
        {"status": SUCCESS, "finished_at": at(6)},
    ),
    "at one finish the later change of the source wins": (
        [
            {"status": FAILED, "finished_at": at(5), "source_updated_at": at(7)},
            {"status": SUCCESS, "finished_at": at(5), "source_updated_at": at(8)},
        ],
        {"status": SUCCESS, "finished_at": at(5), "source_updated_at": at(8)},
    ),
    "a full tie goes to the graver status": (
        [{"status": FAILED, "finished_at": at(5)}, {"status": SUCCESS, "finished_at": at(5)}],
        {"status": FAILED, "finished_at": at(5)},
    ),
    "canceled outranks skipped in a tie": (
        [{"status": CANCELED, "finished_at": at(5)}, {"status": SKIPPED, "finished_at": at(5)}],
        {"status": CANCELED},
    ),
    "a terminal status without any time is not reopened by a push": (
        [{"status": SUCCESS}, {"status": RUNNING, "started_at": at(0)}],
        {"status": SUCCESS, "started_at": at(0), "finished_at": None},
    ),
    "the longer error text stays": (
        [
            {"status": FAILED, "finished_at": at(5), "error_message": "ValueError: column x is missing"},
            {"status": FAILED, "finished_at": at(5), "error_message": "task failed"},
        ],
        {"error_message": "ValueError: column x is missing"},
    ),
    "a given duration counts until both times are known": (
        [
            {"status": SUCCESS, "finished_at": at(5), "duration_seconds": 9999.0},
            {"status": RUNNING, "started_at": at(4)},
        ],
        {"duration_seconds": 60},
    ),
    "reports that disagree about the order of start and finish give no negative duration": (
        [{"status": RUNNING, "started_at": at(5)}, {"status": SUCCESS, "finished_at": at(4)}],
        {"status": SUCCESS, "duration_seconds": 0},
    ),
    "a re-run (Airflow's clear) replaces the row whole": (
        [
            {
                "status": FAILED,
                "attempt_at": at(0),
                "started_at": at(0),
                "finished_at": at(5),
                "error_message": "boom",
                "rows_processed": 7,
                "payload": {"try": 1},
            },
            {"status": RUNNING, "attempt_at": at(10)},
        ],
        {
            "status": RUNNING,
            "attempt_at": at(10),
            "started_at": None,
            "finished_at": None,
            "duration_seconds": None,
            "error_message": None,
            "rows_processed": None,
            "payload": None,
        },
    ),
    "a clear, then its success": (
        [
            {"status": FAILED, "attempt_at": at(0), "started_at": at(0), "finished_at": at(5), "error_message": "boom"},
            {"status": RUNNING, "attempt_at": at(10)},
            {"status": RUNNING, "attempt_at": at(11), "started_at": at(11)},
            {"status": SUCCESS, "attempt_at": at(11), "started_at": at(11), "finished_at": at(12)},
        ],
        {"status": SUCCESS, "started_at": at(11), "duration_seconds": 60, "error_message": None},
    ),
    "a stale report of the attempt before changes nothing": (
        [
            {"status": RUNNING, "attempt_at": at(10), "started_at": at(10)},
            {
                "status": FAILED,
                "attempt_at": at(0),
                "started_at": at(0),
                "finished_at": at(5),
                "error_message": "boom",
                "source_updated_at": at(99),
            },
        ],
        {"status": RUNNING, "started_at": at(10), "finished_at": None, "error_message": None},
    ),
    "a pushed START never reopens": (
        [
            {"status": FAILED, "attempt_at": at(0), "started_at": at(0), "finished_at": at(5)},
            {"status": RUNNING, "started_at": at(10)},
        ],
        {"status": FAILED, "started_at": at(0), "finished_at": at(5)},
    ),
    "times without a zone are UTC, others are converted": (
        [
            {
                "status": SUCCESS,
                "started_at": datetime(2026, 1, 1, 12, 0),  # noqa: DTZ001 - without a zone on purpose
                "finished_at": datetime(2026, 1, 1, 14, 0, tzinfo=timezone(timedelta(hours=1))),
            }
        ],
        {"duration_seconds": 3600},
    ),
    "a lower row count of the same attempt is not taken": (
        [{"status": SUCCESS, "rows_processed": 10}, {"status": SUCCESS, "rows_processed": 5}],
        {"rows_processed": 10},
    ),
}


@pytest.mark.parametrize("in_one_batch", [False, True], ids=["one by one", "in one batch"])
@pytest.mark.parametrize("name", CASES)
def test_write_rule(app: Flask, name: str, in_one_batch: bool) -> None:
    reports, expected = CASES[name]
    pipeline_id = make_pipeline().id
    records = [RunRecord(pipeline_id=pipeline_id, external_run_id="r", **values) for values in reports]
    for batch in [records] if in_one_batch else [[one] for one in records]:
        assert not record(*batch).rejected
    run = find_run(pipeline_id, "r")
    assert {key: getattr(run, key) for key in expected} == expected


def test_counts_created_updated_unchanged_and_rejected(app: Flask) -> None:
    pipeline = make_pipeline()
    stands = make_record(pipeline)
    grows = make_record(pipeline, status=RUNNING)
    record(stands, grows)
    result = record(
        stands,
        replace(grows, status=SUCCESS, finished_at=NOW),
        make_record(pipeline),
        make_record(pipeline, external_run_id=""),
    )
    assert counts(result) == (1, 1, 1, 1)


@pytest.mark.parametrize("size", [1, 49, 50, 51, 199, 200, 201, 1000])
def test_a_batch_of_any_size_is_counted_whole(app: Flask, size: int) -> None:
    pipelines = [make_pipeline() for _ in range(3)]
    batch = [make_record(random.choice(pipelines)) for _ in range(size)]
    assert counts(record(*batch)) == (size, 0, 0, 0)
    assert counts(record(*batch, *batch[: size // 2])) == (0, 0, size + size // 2, 0)


def test_one_run_many_times_in_a_large_batch_ends_in_one_row(app: Flask) -> None:
    pipeline = make_pipeline()
    same = make_record(pipeline, status=RUNNING)
    batch = [make_record(pipeline) for _ in range(300)]
    for place in range(0, 300, 30):
        batch.insert(place, replace(same, rows_processed=place))
    assert counts(record(*batch)) == (301, 9, 0, 0)
    assert find_run(pipeline.id, same.external_run_id).rows_processed == 270


def test_two_records_of_one_run_in_a_batch_end_in_one_row(app: Flask) -> None:
    pipeline = make_pipeline()
    running = make_record(pipeline, status=RUNNING)
    done = replace(running, status=SUCCESS, finished_at=NOW)
    assert counts(record(done, running, done)) == (1, 0, 2, 0)
    assert find_run(pipeline.id, running.external_run_id).status is SUCCESS


def test_a_rerun_keeps_id_and_creation_time(app: Flask) -> None:
    pipeline = make_pipeline()
    first = make_record(pipeline, attempt_at=NOW - timedelta(hours=1))
    record(first)
    before = find_run(pipeline.id, first.external_run_id)
    identity = before.id, before.created_at
    record(replace(first, attempt_at=at(1), started_at=at(1), finished_at=at(2)))
    after = find_run(pipeline.id, first.external_run_id)
    assert (after.id, after.created_at) == identity
    assert after.started_at == at(1)


def test_a_replay_writes_no_row_version(session: scoped_session[Session]) -> None:
    pipeline = make_pipeline()
    batch = [make_record(pipeline, payload={"n": n, "x": 1.0}, error_message="e") for n in range(50)]
    record(*batch)
    versions = session.execute(sa.text("SELECT id, xmin, ctid, ingested_at FROM runs ORDER BY id")).all()
    for _ in range(3):
        assert counts(record(*random.sample(batch, len(batch)))) == (0, 0, 50, 0)
    assert session.execute(sa.text("SELECT id, xmin, ctid, ingested_at FROM runs ORDER BY id")).all() == versions


def test_an_empty_batch_is_fine(app: Flask) -> None:
    assert counts(record()) == (0, 0, 0, 0)


# -- bad values ---------------------------------------------------------------------------------------------------

REJECTED: dict[str, tuple[Values, str]] = {
    "no id": ({"external_run_id": None}, "external_run_id: is missing"),
    "empty id": ({"external_run_id": ""}, "external_run_id: must have 1 to 512 characters, not 0"),
    "9 kB id": ({"external_run_id": "x" * 9000}, "external_run_id: must have 1 to 512 characters, not 9,000"),
    "id that is no text": ({"external_run_id": 7}, "external_run_id: must be text, not int"),
    "2^70 rows": ({"rows_processed": 2**70}, "rows_processed: must be between 0 and 9,223,372,036,854,775,807"),
    "negative rows": ({"rows_processed": -1}, "rows_processed: must be between 0"),
    "negative duration": ({"duration_seconds": -1.0}, "duration_seconds: must not be negative"),
    "year 20": ({"started_at": datetime(20, 1, 1)}, "started_at: the year 20 is out of range"),  # noqa: DTZ001
    "finish before start": ({"started_at": at(1), "finished_at": at(0)}, "finished_at: is before started_at"),
    "running with a finish": ({"status": RUNNING, "finished_at": NOW}, "finished_at: a running run has none"),
    "status of nobody": ({"status": "perhaps"}, "status: must be one of"),
    "status of an odd type": ({"status": ["failed"]}, "record: cannot be read (TypeError)"),
    "unknown pipeline": ({"pipeline_id": uuid4()}, "pipeline_id: there is no such pipeline"),
    "payload that is a list": ({"payload": [1]}, "payload: must be an object, not list"),
}


@pytest.mark.parametrize("name", REJECTED)
def test_one_bad_record_never_costs_its_page(app: Flask, name: str) -> None:
    values, reason = REJECTED[name]
    pipeline = make_pipeline()
    page = [make_record(pipeline) for _ in range(500)]
    page[250] = replace(page[250], **values)
    result = record(*page)
    assert counts(result) == (499, 0, 0, 1)
    assert result.rejected[0].index == 250
    assert result.rejected[0].reason.startswith(reason)


MENDED: dict[str, tuple[Values, Values]] = {
    "NUL": ({"error_message": "a\0b"}, {"error_message": "a\ufffdb"}),
    "NUL in an id": ({"external_run_id": "r\0"}, {"external_run_id": "r\ufffd"}),
    "lone surrogate": ({"status_reason": "a\ud800"}, {"status_reason": "a\ufffd"}),
    "NaN duration": ({"duration_seconds": math.nan, "finished_at": None}, {"duration_seconds": None}),
    "infinite duration": ({"duration_seconds": math.inf, "finished_at": None}, {"duration_seconds": None}),
    "NaN in a payload": ({"payload": {"a": math.nan, "b": [math.inf]}}, {"payload": {"a": None, "b": [None]}}),
    "NUL in a payload": ({"payload": {"k\0": "v\0"}}, {"payload": {"k\ufffd": "v\ufffd"}}),
    "lone surrogate in a payload": ({"payload": {"a": "\udfff"}}, {"payload": {"a": "\ufffd"}}),
    "a number nobody can read": ({"payload": {"a": 10**4400, "b": 1}}, {"payload": {"a": None, "b": 1}}),
    "empty error": ({"error_message": ""}, {"error_message": None}),
    "secrets in a payload": (
        {"payload": {"api_key": "abc", "nested": {"password": {"x": 1}}, "log": "Bearer abcdefgh1234"}},
        {"payload": {"api_key": "[redacted]", "nested": {"password": "[redacted]"}, "log": "Bearer [redacted]"}},
    ),
    "secret in an error": (
        {"error_message": "cannot connect to postgresql://etl:hunter2@db/x"},
        {"error_message": "cannot connect to postgresql://etl:[redacted]@db/x"},
    ),
}


@pytest.mark.parametrize("name", MENDED)
def test_what_can_be_mended_is_taken(app: Flask, name: str) -> None:
    values, expected = MENDED[name]
    pipeline = make_pipeline()
    result = record(make_record(pipeline, **values))
    assert counts(result) == (1, 0, 0, 0)
    run = db.session.scalars(sa.select(Run)).one()
    assert {key: getattr(run, key) for key in expected} == expected


PAYLOADS: dict[str, dict[Any, Any]] = {
    "floats": {"a": 1.0, "b": 1e16, "c": -0.0, "d": 5e-324, "e": 1e300, "f": 0.1, "g": 1e-7},
    "large numbers": {"a": 2**63 - 1, "b": -(2**63), "c": 2**63, "d": 2**64, "e": 10**299},
    "names that are no text": {1: "a", False: "b", None: "c", 1.5: "d"},
    "texts": {"a": '\N{SNOWMAN}\x7f\x1f\t\\"/', "b": "\N{GRINNING FACE}", "": ""},
    "a backslash that looks like NUL": {"a": "\\u0000"},
    "lists and nothing": {"a": [1, (2, [])], "b": None, "c": {}, "d": False},
    "an enumeration of texts": {"a": SUCCESS, "b": [FAILED]},
    "deep nesting": {"a": {"b": {"c": {"d": [[[[{"e": 1}]]]]}}}},
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_payload_is_kept_as_json_has_it(app: Flask, name: str) -> None:
    record(make_record(make_pipeline(), payload=PAYLOADS[name]))
    kept = db.session.scalar(sa.text("SELECT payload::text FROM runs"))
    query = sa.text("SELECT CAST(:encoded AS jsonb)::text")
    assert kept == db.session.scalar(query, {"encoded": json.dumps(PAYLOADS[name])})


def test_what_json_has_no_word_for_is_kept_as_its_text(app: Flask) -> None:
    pipeline = make_pipeline()
    payload = {"a": NOW, "b": NOW.date(), "c": pipeline.id, "d": b"x"}
    record(make_record(pipeline, external_run_id="r", payload=payload))
    assert find_run(pipeline.id, "r").payload == {name: str(value) for name, value in payload.items()}


def test_a_large_payload_is_cut_and_says_so(app: Flask) -> None:
    pipeline = make_pipeline()
    record(make_record(pipeline, external_run_id="r", payload={"log": "x" * 5_000_000, "attempt": 2}))
    payload = find_run(pipeline.id, "r").payload
    assert payload == {"_cut": "The payload had 5,000,022 bytes; at most 65,536 are kept.", "attempt": 2}


def test_a_payload_nested_beyond_reason_is_taken(app: Flask) -> None:
    nested: dict[str, Any] = {}
    for _ in range(3000):
        nested = {"x": nested}
    assert counts(record(make_record(make_pipeline(), payload=nested))) == (1, 0, 0, 0)


def test_a_value_that_only_the_database_refuses_costs_its_record_alone(
    app: Flask, session: scoped_session[Session]
) -> None:
    session.execute(sa.text("ALTER TABLE runs ADD CONSTRAINT t CHECK (error_message <> 'forbidden')"))
    pipeline = make_pipeline()
    page = [make_record(pipeline) for _ in range(20)]
    page[7] = replace(page[7], error_message="forbidden")
    result = record(*page)
    assert counts(result) == (19, 0, 0, 1)
    assert (result.rejected[0].index, result.rejected[0].field) == (7, "record")


# -- writing one run ----------------------------------------------------------------------------------------------


def test_create_run_refuses_an_existing_key(app: Flask) -> None:
    stands = make_record(make_pipeline(), status=RUNNING)
    create_run(record=stands)
    with pytest.raises(Conflict):
        create_run(record=replace(stands, status=SUCCESS, finished_at=NOW))
    assert find_run(stands.pipeline_id, stands.external_run_id).status is RUNNING


def test_create_run_says_what_is_wrong_with_a_value(app: Flask) -> None:
    with pytest.raises(Invalid) as refused:
        create_run(record=make_record(make_pipeline(), rows_processed=-1))
    assert refused.value.details[0].field == "rows_processed"


def test_create_run_needs_a_pipeline(app: Flask) -> None:
    with pytest.raises(NotFound):
        create_run(record=make_record(uuid4()))


# -- several writers ----------------------------------------------------------------------------------------------


def test_writers_with_overlapping_keys_neither_deadlock_nor_lose_a_run(committed_app: Flask) -> None:
    pipeline = make_pipeline()
    db.session.remove()
    keys = [f"run-{n}" for n in range(300)]
    problems: list[BaseException] = []
    start = threading.Barrier(4)

    def write(seed: int) -> None:
        order = random.Random(seed)
        try:
            with committed_app.app_context():
                start.wait()
                for round_number in range(6):
                    done = round_number % 2
                    batch = [
                        RunRecord(
                            pipeline_id=pipeline.id,
                            external_run_id=key,
                            status=SUCCESS if done else RUNNING,
                            started_at=at(0),
                            finished_at=at(seed + round_number) if done else None,
                        )
                        for key in order.sample(keys, 200)
                    ]
                    assert not record(*batch).rejected
                record(*(_finish(pipeline.id, key) for key in order.sample(keys, len(keys))))
        except BaseException as err:  # noqa: BLE001 - told to the test's own thread
            problems.append(err)

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    rows = db.session.execute(sa.text("SELECT status, count(*) FROM runs GROUP BY status")).all()
    assert [tuple(row) for row in rows] == [("success", 300)]


def _finish(pipeline_id: UUID, key: str) -> RunRecord:
    return RunRecord(pipeline_id=pipeline_id, external_run_id=key, status=SUCCESS, started_at=at(0), finished_at=at(99))
