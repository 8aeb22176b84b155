"""The ways of a page into the table: copied where all is new, merged where something changed; and writers that meet."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection

from chm_web.extensions import db
from chm_web.models import Run
from chm_web.queries.run_upsert import STAGE, STAGE_BYTES
from chm_web.services.exceptions import Conflict
from chm_web.services.runs import RecordResult, RunRecord, create_run, record_runs
from tests.factories import find_run, make_pipeline, make_record
from tests.ingestion.conftest import wait_until
from tests.services.recording import FAILED, RUNNING, SUCCESS, at, counts, forget_hashes, record

STORED = [column.name for column in sa.inspect(Run).columns if column.name not in ("id", "external_run_id")]


def used_the_stage(*records: RunRecord, updated_by: str | None = None) -> bool:
    """Record these in a session without a stage, and tell whether it made one."""
    db.session.execute(sa.text(f"DROP TABLE IF EXISTS pg_temp.{STAGE}"))
    record_runs(records=records, updated_by=updated_by)
    return db.session.scalar(sa.text(f"SELECT to_regclass('pg_temp.{STAGE}')")) is not None


def test_only_a_page_with_a_run_that_changed_takes_the_stage(app: Flask) -> None:
    pipeline = make_pipeline()
    page = [make_record(pipeline) for _ in range(20)]
    new = [make_record(pipeline, external_run_id=f"0-{n}") for n in range(20)]
    assert not used_the_stage(*page)
    assert not used_the_stage(*page)
    assert not used_the_stage(*page, *new)
    assert used_the_stage(*page[1:], replace(page[0], rows_processed=1), make_record(pipeline))


def test_a_run_that_comes_again_in_a_page_of_new_ones_is_merged(app: Flask) -> None:
    pipeline = make_pipeline()
    first = make_record(pipeline, status=RUNNING)
    page = [first, make_record(pipeline), replace(first, status=SUCCESS, finished_at=at(1))]
    assert used_the_stage(*page)
    assert find_run(pipeline.id, first.external_run_id).status is SUCCESS


REPORTS: dict[str, dict[str, Any]] = {
    "bare": {"started_at": None, "finished_at": None},
    "running": {"status": RUNNING, "attempt_at": at(-60), "source_updated_at": at(-1)},
    "with a duration that its times contradict": {"duration_seconds": 9999.0},
    "with a duration alone": {"finished_at": None, "duration_seconds": 1.5},
    "with everything": {
        "status": FAILED,
        "rows_processed": 2**63 - 1,
        "error_message": "boom\n\twith \\ and \N{SNOWMAN}",
        "status_reason": "why",
        "payload": {"a": 1.0, "b": [None, True, "\N{SNOWMAN}"], "c": 1e16},
        "attempt_at": at(-61),
        "source_updated_at": at(3),
    },
}


@pytest.mark.parametrize("name", REPORTS)
def test_a_new_run_is_the_same_row_by_either_way(app: Flask, name: str) -> None:
    known, pipeline = make_record(make_pipeline()), make_pipeline()
    record(known)
    copied, merged = (make_record(pipeline, **REPORTS[name]) for _ in range(2))
    record_runs(records=[copied], updated_by="somebody")
    assert used_the_stage(replace(known, rows_processed=1), merged, updated_by="somebody")
    query = sa.text(f"SELECT {', '.join(STORED)} FROM runs WHERE external_run_id = :id")
    rows = [db.session.execute(query, {"id": one.external_run_id}).one() for one in (copied, merged)]
    assert rows[0] == rows[1]
    assert rows[0].updated_by == "somebody"


@pytest.mark.parametrize("pipelines", [1, 3])
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_runs_are_known_again_whatever_their_ids(app: Flask, pipelines: int, ids: list[str]) -> None:
    owners = [make_pipeline() for _ in range(pipelines)]
    all_ids = dict.fromkeys(["NULL", 'a"b\\', "{,}", " ", *ids])
    page = [make_record(owners[n % pipelines], external_run_id=one) for n, one in enumerate(all_ids)]
    assert counts(record(*page)) == (len(page), 0, 0, 0)
    assert counts(record(*page)) == (0, 0, len(page), 0)
    changed = replace(page[-1], rows_processed=77)
    new = make_record(owners[0], external_run_id="new to this page")
    assert counts(record(*page[:-1], changed, new)) == (1, 1, len(page) - 1, 0)
    assert find_run(changed.pipeline_id, changed.external_run_id).rows_processed == 77


def test_the_stage_is_emptied_when_it_has_grown(app: Flask) -> None:
    pipeline = make_pipeline()
    page = [make_record(pipeline, error_message=random.randbytes(2500).hex()) for _ in range(100)]
    record(*page)
    forget_hashes(pipeline.id)
    assert used_the_stage(*page)
    size = sa.text(f"SELECT pg_table_size('pg_temp.{STAGE}'::regclass)")
    one_page = db.session.scalar(size)
    sizes: list[int] = []
    for _ in range(20):
        assert counts(record(*page)) == (0, 0, 100, 0)
        sizes.append(db.session.scalar(size))
    assert max(sizes) <= STAGE_BYTES + 2 * one_page
    assert sizes != sorted(sizes)


# -- writers that meet --------------------------------------------------------------------------------------------


@contextmanager
def another_writer() -> Iterator[Connection]:
    """A session beside the test's own, whose transaction is open."""
    with db.engine.connect() as connection:
        yield connection


def insert(connection: Connection, one: RunRecord) -> None:
    connection.execute(
        sa.text(
            "INSERT INTO runs (id, pipeline_id, external_run_id, status, started_at) "
            "VALUES (gen_random_uuid(), :pipeline, :id, 'running', :started)"
        ),
        {"pipeline": one.pipeline_id, "id": one.external_run_id, "started": one.started_at},
    )


def while_it_waits(app: Flask, write: Callable[[], Any], then: Callable[[], None]) -> Any:
    """Write in a thread; when its COPY waits for another writer's key, do ``then``; give what the write gave."""
    outcome: list[Any] = []

    def work() -> None:
        with app.app_context():
            try:
                outcome.append(write())
            except Exception as err:  # noqa: BLE001 - given to the test's own thread
                outcome.append(err)

    waiting = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND wait_event_type = 'Lock' AND query LIKE 'COPY runs %'"
    )
    thread = threading.Thread(target=work)
    thread.start()
    try:
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as watcher:
            wait_until(lambda: watcher.scalar(waiting))
    finally:
        then()
        thread.join()
    return outcome[0]


def test_a_run_that_another_writer_inserts_between_look_and_copy_is_merged(committed_app: Flask) -> None:
    pipeline = make_pipeline()
    page = [make_record(pipeline) for _ in range(50)]
    with another_writer() as other:
        insert(other, page[25])
        result: RecordResult = while_it_waits(committed_app, lambda: record(*page), other.commit)
    assert counts(result) == (49, 1, 0, 0)
    assert counts(record(*page)) == (0, 0, 50, 0)
    assert find_run(pipeline.id, page[25].external_run_id).status is SUCCESS


def test_a_bad_record_is_rejected_once_when_its_page_meets_another_writer(committed_app: Flask) -> None:
    pipeline = make_pipeline()
    page = [make_record(pipeline) for _ in range(50)]
    page[3] = replace(page[3], rows_processed=-1)
    page[4] = replace(page[4], external_run_id="")
    with another_writer() as other:
        insert(other, page[25])
        result: RecordResult = while_it_waits(committed_app, lambda: record(*page), other.commit)
    assert counts(result) == (47, 1, 0, 2)
    assert [rejection.index for rejection in result.rejected] == [3, 4]


def test_a_run_that_another_writer_takes_back_is_copied(committed_app: Flask) -> None:
    page = [make_record(make_pipeline()) for _ in range(50)]
    with another_writer() as other:
        insert(other, page[25])
        result: RecordResult = while_it_waits(committed_app, lambda: record(*page), other.rollback)
    assert counts(result) == (50, 0, 0, 0)


def test_create_run_refuses_a_run_that_another_writer_inserts_meanwhile(committed_app: Flask) -> None:
    one = make_record(make_pipeline())
    with another_writer() as other:
        insert(other, one)
        outcome = while_it_waits(committed_app, lambda: create_run(record=one), other.commit)
    assert isinstance(outcome, Conflict)
    assert find_run(one.pipeline_id, one.external_run_id).status is RUNNING


def test_writers_of_the_same_new_runs_in_opposite_orders_do_not_deadlock(committed_app: Flask) -> None:
    pipelines = [make_pipeline() for _ in range(5)]
    for _ in range(10):
        page = [make_record(pipelines[number % 5], payload={"log": "x" * 300}) for number in range(500)]
        outcomes: list[Any] = []

        def write(records: list[RunRecord], outcomes: list[Any] = outcomes) -> None:
            with committed_app.app_context():
                try:
                    outcomes.append(record(*records))
                except Exception as err:  # noqa: BLE001 - told to the test's own thread
                    outcomes.append(err)

        threads = [threading.Thread(target=write, args=(records,)) for records in (page, page[::-1])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(counts(outcome) for outcome in outcomes) == [(0, 0, 500, 0), (500, 0, 0, 0)]
