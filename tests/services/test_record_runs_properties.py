"""The write rule as properties: whatever the order and the repetition, the same row, and no row version for nothing."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chm_web.extensions import db
from chm_web.models import RunStatus
from chm_web.queries.run_upsert import FACTS
from chm_web.services.runs import RunRecord
from tests.factories import make_pipeline
from tests.services.recording import RUNNING, at, counts, record

Values = dict[str, Any]

TEXTS = st.sampled_from([None, "", "a", "b", "ab", "ü", "z" * 5, "A"])
# 1 and 1.0 are equal to jsonb, but not the same text.
PAYLOADS = st.sampled_from([None, {}, {"a": 1}, {"a": 1.0}, {"a": 2}, {"b": "x"}, {"a": 1, "b": None}])
ROWS = st.sampled_from([None, 0, 1, 5])
DURATIONS = st.sampled_from([None, 0.0, 1.5, 60.0])
MINUTES = st.sampled_from([0, 1, 2, 3])
OPTIONAL_MINUTES = st.sampled_from([None, 0, 1, 2, 3])


@st.composite
def reports(draw: st.DrawFn, *, base: int, span: int, pulled: bool) -> Values:
    """One report of an attempt that lies between ``base`` and ``base + span`` minutes."""

    def moment(minutes: int | None) -> datetime | None:
        return None if minutes is None else at(base + min(minutes, span))

    status = draw(st.sampled_from(RunStatus))
    queued = draw(MINUTES)
    started = draw(st.one_of(st.none(), st.just(queued)) if pulled else OPTIONAL_MINUTES)
    finished = None if status is RUNNING else draw(OPTIONAL_MINUTES)
    if None not in (started, finished) and finished < started:  # type: ignore[operator]
        finished = started
    if pulled and finished is not None:
        finished = max(finished, queued)
    return {
        "status": status,
        "started_at": moment(started),
        "finished_at": moment(finished),
        "attempt_at": moment(queued) if pulled else None,
        "source_updated_at": draw(st.sampled_from([None, at(500), at(501)])),
        "duration_seconds": draw(DURATIONS),
        "rows_processed": draw(ROWS),
        "error_message": draw(TEXTS),
        "status_reason": draw(TEXTS),
        "payload": draw(PAYLOADS),
    }


@st.composite
def pushed(draw: st.DrawFn) -> list[Values]:
    """Reports that a source pushes: no attempt times, any overlap, any contradiction."""
    return draw(st.lists(reports(base=0, span=3, pulled=False), min_size=1, max_size=5))


@st.composite
def pulled(draw: st.DrawFn) -> list[Values]:
    """Reports that a platform gives when asked, of one to three attempts under one id, one after the other.

    Within an attempt the queue time is its start's: what a platform says before the start is told by the cases above.
    """
    found: list[Values] = []
    for attempt in range(draw(st.integers(1, 3))):
        first = draw(reports(base=100 * attempt, span=3, pulled=True))
        more = draw(st.lists(reports(base=100 * attempt, span=3, pulled=True), max_size=2))
        # One attempt has one attempt time: a later one would be the next attempt.
        found += [_same_attempt_as(first, report) for report in [first, *more]]
    return found


def _same_attempt_as(first: Values, report: Values) -> Values:
    attempt_at = first["attempt_at"]
    started = None if report["started_at"] is None else attempt_at
    finished = report["finished_at"]
    return {
        **report,
        "attempt_at": attempt_at,
        "started_at": started,
        "finished_at": None if finished is None else max(finished, attempt_at),
    }


def _final_row(pipeline_id: UUID, batches: list[list[Values]]) -> tuple[Any, ...]:
    key = f"run-{uuid4()}"
    for batch in batches:
        result = record(*(RunRecord(pipeline_id=pipeline_id, external_run_id=key, **values) for values in batch))
        assert not result.rejected
    query = sa.text(f"SELECT {', '.join(FACTS)}, payload::text AS payload_text FROM runs WHERE external_run_id = :key")
    return tuple(db.session.execute(query, {"key": key}).one())


def _check_any_order_and_repetition(data: st.DataObject, pipeline_id: UUID, values: list[Values]) -> None:
    expected = _final_row(pipeline_id, [[one] for one in values])
    shuffled = data.draw(st.permutations(values), label="order")
    repeated = shuffled + data.draw(st.lists(st.sampled_from(values), max_size=3), label="repeated")
    assert _final_row(pipeline_id, [[one] for one in repeated]) == expected
    cut = data.draw(st.integers(0, len(repeated)), label="cut")
    assert _final_row(pipeline_id, [repeated[:cut], repeated[cut:]]) == expected


PROPERTY = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@PROPERTY
@given(data=st.data(), values=pushed())
def test_pushed_reports_end_in_one_row_whatever_their_order(app: Flask, data: st.DataObject, values: Any) -> None:
    _check_any_order_and_repetition(data, _pipeline_id(app), values)


@PROPERTY
@given(data=st.data(), values=pulled())
def test_pulled_reports_with_reruns_end_in_one_row_whatever_their_order(
    app: Flask, data: st.DataObject, values: Any
) -> None:
    _check_any_order_and_repetition(data, _pipeline_id(app), values)


@PROPERTY
@given(values=st.one_of(pushed(), pulled()))
def test_any_replay_is_unchanged(app: Flask, values: Any) -> None:
    key = f"run-{uuid4()}"
    batch = [RunRecord(pipeline_id=_pipeline_id(app), external_run_id=key, **one) for one in values]
    record(*batch)
    version = sa.text("SELECT xmin, ctid, ingested_at FROM runs WHERE external_run_id = :key")
    before = db.session.execute(version, {"key": key}).one()
    assert counts(record(*batch)) == (0, 0, len(batch), 0)
    assert db.session.execute(version, {"key": key}).one() == before


def _pipeline_id(app: Flask) -> UUID:
    """One pipeline for all examples of a test: they share its transaction."""
    found = db.session.scalar(sa.text("SELECT id FROM pipelines LIMIT 1"))
    return UUID(str(found)) if found else make_pipeline().id
