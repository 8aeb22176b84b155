"""The hash by which a replay is told: what it covers, and that to leave a record out is as good as to write it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session, scoped_session

from chm_web.extensions import db
from chm_web.models import RunStatus
from chm_web.queries.run_upsert import FACTS
from chm_web.services.exceptions import Conflict
from chm_web.services.runs import RunRecord, create_run, record_runs
from tests.factories import NOW, find_run, make_pipeline, make_record
from tests.services.recording import CANCELED, FAILED, RUNNING, SUCCESS, at, counts, forget_hashes, record

PIPELINE = UUID(int=7)
BARE = RunRecord(pipeline_id=PIPELINE, external_run_id="r", status=SUCCESS)


def hash_of(one: RunRecord) -> int | None:
    """The hash that this record leaves on a new row."""
    own = replace(one, pipeline_id=make_pipeline().id, external_run_id=f"run-{uuid4()}")
    assert counts(record(own)) == (1, 0, 0, 0)
    return find_run(own.pipeline_id, own.external_run_id).content_hash


# -- what it covers -----------------------------------------------------------------------------------------------

OTHER_FACTS: dict[str, Any] = {
    "status": CANCELED,
    "started_at": at(0),
    "finished_at": at(0),
    "duration_seconds": 0.0,
    "rows_processed": 0,
    "error_message": "x",
    "status_reason": "x",
    "payload": {},
    "attempt_at": at(0),
    "source_updated_at": at(0),
}


def test_no_two_facts_give_the_same_hash(app: Flask) -> None:
    records = [BARE, *(replace(BARE, **{name: value}) for name, value in OTHER_FACTS.items())]
    assert set(OTHER_FACTS) == set(FACTS)
    assert len({hash_of(one) for one in records}) == len(records)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"error_message": "ab", "status_reason": "c"}, {"error_message": "a", "status_reason": "bc"}),
        ({"error_message": 'a","b'}, {"error_message": "a", "status_reason": "b"}),
        ({"error_message": "null"}, {}),
        ({"payload": {"a": 1}}, {"payload": {"a": 1.0}}),
        ({"payload": {"a": 1}}, {"payload": {"a": "1"}}),
        ({"started_at": NOW}, {"started_at": NOW + timedelta(microseconds=1)}),
        ({"duration_seconds": 0.1 + 0.2}, {"duration_seconds": 0.3}),
        ({"rows_processed": 2**63 - 1}, {"rows_processed": 2**63 - 2}),
    ],
)
def test_facts_that_are_nearly_the_same_give_other_hashes(
    app: Flask, one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert hash_of(replace(BARE, **one)) != hash_of(replace(BARE, **other))


def test_one_moment_is_one_hash_whatever_its_zone(app: Flask) -> None:
    class Moment(datetime):
        """A time as some libraries give it."""

    odd = timezone(timedelta(hours=5, seconds=17))
    moments = [NOW, NOW.astimezone(odd), NOW.replace(tzinfo=None), Moment.fromisoformat(NOW.isoformat())]
    assert len({hash_of(replace(BARE, started_at=moment)) for moment in moments}) == 1


def test_moments_whose_zones_differ_by_seconds_are_told_apart(app: Flask) -> None:
    # To the minute, in which time zones are usually written, these two would be one.
    first, second = (NOW.replace(tzinfo=timezone(offset)) for offset in (timedelta(seconds=90), timedelta(seconds=120)))
    assert hash_of(replace(BARE, started_at=first)) != hash_of(replace(BARE, started_at=second))


def test_the_hash_is_the_same_in_every_process_and_release(app: Flask) -> None:
    # When this changes, so that every run is compared value by value once more, HASH_SEED should change with it.
    everything = replace(BARE, **OTHER_FACTS)
    assert (hash_of(BARE), hash_of(everything)) == (2112601388877526941, -1236469365265112784)


def test_who_reports_is_no_part_of_it(app: Flask) -> None:
    one = make_record(make_pipeline())
    record_runs(records=[one], updated_by="somebody")
    assert counts(record_runs(records=[one], updated_by="somebody else")) == (0, 0, 1, 0)
    assert find_run(one.pipeline_id, one.external_run_id).updated_by == "somebody"


# -- that it is right ---------------------------------------------------------------------------------------------


def test_a_run_bears_the_hash_of_the_record_that_was_written_last(app: Flask) -> None:
    first = make_record(make_pipeline(), status=RUNNING)
    ended = replace(first, status=SUCCESS, finished_at=NOW)
    stale = replace(first, rows_processed=None)
    found = []
    for one in (first, ended, stale):
        record(one)
        found.append(find_run(first.pipeline_id, first.external_run_id).content_hash)
    assert found == [hash_of(first), hash_of(ended), hash_of(ended)]


def test_runs_of_a_page_that_the_database_refused_in_part_bear_hashes_too(
    app: Flask, session: scoped_session[Session]
) -> None:
    session.execute(sa.text("ALTER TABLE runs ADD CONSTRAINT t CHECK (error_message <> 'forbidden')"))
    pipeline = make_pipeline()
    stands, new = make_record(pipeline, status=RUNNING), make_record(pipeline)
    record(stands)
    ended = replace(stands, status=SUCCESS, finished_at=NOW)
    assert counts(record(new, ended, make_record(pipeline, error_message="forbidden"))) == (1, 1, 0, 1)
    found = [find_run(pipeline.id, one.external_run_id).content_hash for one in (new, ended)]
    assert found == [hash_of(new), hash_of(ended)]


def test_a_merge_that_its_own_record_would_replace_bears_none(app: Flask) -> None:
    # Asked for at minute 8 but started at minute 5: a re-run of the merged run, in which it started at minute 5.
    first = make_record(make_pipeline(), status=RUNNING, started_at=at(10))
    odd = replace(first, status=FAILED, started_at=at(5), attempt_at=at(8), rows_processed=1)
    record(replace(first, rows_processed=9), odd)
    assert find_run(first.pipeline_id, first.external_run_id).content_hash is None
    assert counts(record(odd)) == (0, 1, 0, 0)
    assert find_run(first.pipeline_id, first.external_run_id).rows_processed == 1


def test_a_row_without_a_hash_is_compared_value_by_value(app: Flask) -> None:
    pipeline = make_pipeline()
    page = [make_record(pipeline, payload={"n": n}) for n in range(20)]
    record(*page)
    forget_hashes(pipeline.id)
    assert counts(record(*page)) == (0, 0, 20, 0)
    assert counts(record(*page[:10], *(replace(one, rows_processed=1) for one in page[10:]))) == (0, 10, 10, 0)


def test_a_change_by_anybody_else_takes_the_hash_away(app: Flask) -> None:
    one = make_record(make_pipeline(), rows_processed=2)
    record(one)
    run = find_run(one.pipeline_id, one.external_run_id)
    run.rows_processed = 1
    db.session.commit()
    assert find_run(one.pipeline_id, one.external_run_id).content_hash is None
    assert counts(record(one)) == (0, 1, 0, 0)


def test_a_page_of_unchanged_changed_new_and_bad_records_is_counted_right(app: Flask) -> None:
    pipeline = make_pipeline()
    page = [make_record(pipeline) for _ in range(10)]
    record(*page)
    changed = [replace(one, rows_processed=5) for one in page[:3]]
    bad = [replace(page[3], rows_processed=-1), make_record(pipeline, rows_processed=-1)]
    new = [make_record(pipeline) for _ in range(4)]
    assert counts(record(*new, *page[4:], *bad, *changed)) == (4, 3, 6, 2)
    assert counts(record(*new, *page[3:], *changed)) == (0, 0, 14, 0)


def test_a_run_that_comes_several_times_in_a_page_is_told_each_time(app: Flask) -> None:
    first = make_record(make_pipeline(), status=RUNNING)
    ended = replace(first, status=SUCCESS, finished_at=NOW)
    assert counts(record(first, first, ended, first, ended)) == (1, 1, 3, 0)
    assert counts(record(ended, first, ended)) == (0, 0, 3, 0)


def test_a_replay_waits_for_nobody_who_changes_its_run(committed_app: Flask) -> None:
    one = make_record(make_pipeline(), rows_processed=1)
    record(one)
    with db.engine.connect() as other:
        update(other, one, rows_processed=7)
        assert counts(record(one)) == (0, 0, 1, 0)
        other.commit()
    assert find_run(one.pipeline_id, one.external_run_id).rows_processed == 7


def update(connection: Connection, one: RunRecord, *, rows_processed: int) -> None:
    connection.execute(
        sa.text("UPDATE runs SET rows_processed = :rows, content_hash = NULL WHERE external_run_id = :id"),
        {"rows": rows_processed, "id": one.external_run_id},
    )


def test_create_run_refuses_what_stands_already_word_for_word(session: scoped_session[Session]) -> None:
    one = make_record(make_pipeline())
    create_run(record=one)
    with pytest.raises(Conflict):
        create_run(record=one)


# -- that to leave out is as good as to write ----------------------------------------------------------------------

MOMENTS = st.sampled_from([None, *(at(minute) for minute in range(4))])


@st.composite
def any_report(draw: st.DrawFn) -> dict[str, Any]:
    """Any report whatever, those included that contradict themselves."""
    status = draw(st.sampled_from(RunStatus))
    started = draw(MOMENTS)
    finished = None if status is RUNNING else draw(MOMENTS)
    if started is not None and finished is not None:
        finished = max(started, finished)
    return {
        "status": status,
        "started_at": started,
        "finished_at": finished,
        "attempt_at": draw(MOMENTS),
        "source_updated_at": draw(MOMENTS),
        "duration_seconds": draw(st.sampled_from([None, 0.0, 60.0])),
        "rows_processed": draw(st.sampled_from([None, 0, 5])),
        "error_message": draw(st.sampled_from([None, "a", "b", "ab"])),
        "payload": draw(st.sampled_from([None, {"a": 1}, {"a": 1.0}])),
    }


@st.composite
def batches(draw: st.DrawFn) -> list[list[dict[str, Any]]]:
    """A few reports, each of which comes again and again, in batches."""
    reports = draw(st.lists(any_report(), min_size=1, max_size=3))
    return draw(st.lists(st.lists(st.sampled_from(reports), min_size=1, max_size=3), min_size=2, max_size=5))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=batches())
def test_rows_and_counts_are_those_of_a_house_without_hashes(app: Flask, batches: list[list[dict[str, Any]]]) -> None:
    told, not_told = _two_pipelines()
    external_id = f"run-{uuid4()}"
    for batch in batches:
        first, second = (
            [RunRecord(pipeline_id=pipeline_id, external_run_id=external_id, **one) for one in batch]
            for pipeline_id in (told, not_told)
        )
        result = counts(record(*first))
        # One by one: within a batch the first record would tell the second.
        parts = []
        for one in second:
            parts.append(counts(record(one)))
            forget_hashes(not_told)
        assert result == tuple(map(sum, zip(*parts, strict=True)))
        assert _row(told, external_id) == _row(not_told, external_id)


def _two_pipelines() -> tuple[UUID, UUID]:
    """The same two for all examples: they share the test's transaction."""
    found = list(db.session.scalars(sa.text("SELECT id FROM pipelines ORDER BY id")))
    first, second = found or (make_pipeline().id, make_pipeline().id)
    return first, second


def _row(pipeline_id: UUID, external_id: str) -> tuple[Any, ...]:
    columns = f"{', '.join(FACTS)}, payload::text AS text"
    query = sa.text(f"SELECT {columns} FROM runs WHERE pipeline_id = :pipeline AND external_run_id = :id")
    return tuple(db.session.execute(query, {"pipeline": pipeline_id, "id": external_id}).one())
