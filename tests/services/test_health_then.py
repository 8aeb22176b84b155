"""Health at a moment that is past: judged by what had happened by then. All times are hours before the present."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session, scoped_session

from chm_web.models import Pipeline, RunStatus
from chm_web.services.health import Health, PipelineHealth, get_pipeline_health, list_fleet_health, tally_fleet_health
from chm_web.services.runs import RunRecord, record_runs
from tests.factories import make_client, make_pipeline, make_record

RUNNING, SKIPPED, CANCELED, SUCCESS, FAILED = RunStatus
FAILING, LATE, RUNS, HEALTHY, NO_DATA = Health

# The present is the real one: what is past is so by the database's clock.
PRESENT = datetime.now(UTC)
WEEK = 24.0 * 7


def ago(hours: float) -> datetime:
    """A moment, in hours before the present."""
    return PRESENT - timedelta(hours=hours)


THEN = ago(24)


def ran(status: RunStatus, finished: float, *, started: float | None = None, **values: Any) -> dict[str, Any]:
    """A run that finished so many hours ago; it started a minute before unless told."""
    begun = ago(finished) - timedelta(minutes=1) if started is None else ago(started)
    return {"status": status, "started_at": begun, "finished_at": ago(finished), **values}


def make_pipeline_with(runs: Sequence[dict[str, Any]], *, session: scoped_session[Session], **values: Any) -> Pipeline:
    """A pipeline that is as old as any run, and its runs, recorded in this order."""
    pipeline = make_pipeline(**values)
    pipeline.created_at = ago(24 * 100)
    session.commit()
    assert not record_runs(records=[make_record(pipeline, **run) for run in runs]).rejected
    return pipeline


@dataclass(frozen=True)
class Case:
    """What ran, and what the health was a day ago."""

    runs: Sequence[dict[str, Any]]
    health: Health
    expected: dict[str, Any] = field(default_factory=dict)
    every: int | None = None


CASES: dict[str, Case] = {
    "it failed since": Case(
        [ran(SUCCESS, 30), ran(FAILED, 10)], HEALTHY, {"since": None, "last_success_at": ago(30), "last_error": None}
    ),
    "it healed since": Case(
        [ran(SUCCESS, 40), ran(FAILED, 30), ran(FAILED, 26, error_message="then"), ran(SUCCESS, 2)],
        FAILING,
        {"since": ago(30), "failures_in_row": 2, "last_success_at": ago(40), "last_error": "then"},
    ),
    "it went on failing": Case(
        [ran(FAILED, 30, error_message="then"), ran(FAILED, 20), ran(FAILED, 10, error_message="now")],
        FAILING,
        {"since": ago(30), "failures_in_row": 1, "last_finished_at": ago(30), "last_error": "then"},
    ),
    "it healed and failed anew since": Case(
        [ran(FAILED, 30), ran(SUCCESS, 20), ran(FAILED, 10)], FAILING, {"since": ago(30), "last_success_at": None}
    ),
    "nothing had run": Case([ran(SUCCESS, 10)], NO_DATA, {"last_finished_at": None, "last_success_at": None}),
    "a run that ended at that moment had ended": Case([ran(SUCCESS, 24)], HEALTHY, {"running_since": None}),
    # -- running
    "the first run was under way": Case(
        [ran(SUCCESS, 23, started=25)], RUNS, {"running_since": ago(25), "last_finished_at": None}
    ),
    "what was canceled later ran then": Case([ran(CANCELED, 23, started=25)], RUNS, {"running_since": ago(25)}),
    "what still runs ran then": Case([{"status": RUNNING, "started_at": ago(25)}], RUNS, {"running_since": ago(25)}),
    "what runs since did not run then": Case(
        [{"status": RUNNING, "started_at": ago(5)}], NO_DATA, {"running_since": None}
    ),
    "what began at that moment ran": Case([ran(SUCCESS, 23, started=24)], RUNS, {"running_since": ago(24)}),
    "what began and ended since did not run": Case([ran(SUCCESS, 22, started=23.9)], NO_DATA, {"running_since": None}),
    "a run under way does not decide": Case(
        [ran(SUCCESS, 30), ran(FAILED, 23.5, started=24.5)], HEALTHY, {"running_since": ago(24.5)}
    ),
    "the newest of those under way": Case(
        [ran(SUCCESS, 10, started=40), ran(SUCCESS, 20, started=30), ran(SUCCESS, 25, started=26)],
        HEALTHY,
        {"running_since": ago(30), "last_success_at": ago(25)},
    ),
    "whose start nobody told is not seen running": Case(
        [{"status": SUCCESS, "started_at": None, "finished_at": ago(23)}], NO_DATA, {"running_since": None}
    ),
    "what had run for less than a week is seen": Case(
        [ran(SUCCESS, 23, started=23 + WEEK)], RUNS, {"running_since": ago(23 + WEEK)}
    ),
    "what had run for longer than a week is not": Case([ran(SUCCESS, 23, started=25 + WEEK)], NO_DATA),
    # -- late
    "it was late": Case([ran(SUCCESS, 26), ran(SUCCESS, 1)], LATE, {"since": ago(24.75)}, every=60),
    "it is late since": Case([ran(SUCCESS, 24.5)], HEALTHY, {"late_at": ago(23.25)}, every=60),
}


def health_of(pipeline: Pipeline, at: datetime = THEN) -> PipelineHealth:
    """Its health a day ago."""
    return get_pipeline_health(pipeline_id=pipeline.id, now=at)


@pytest.mark.parametrize("name", CASES)
def test_health_of_a_pipeline_a_day_ago(session: scoped_session[Session], name: str) -> None:
    case = CASES[name]
    pipeline = make_pipeline_with(case.runs, session=session, expected_every_minutes=case.every)

    found = health_of(pipeline)

    assert found.health is case.health
    assert {key: getattr(found, key) for key in case.expected} == case.expected
    assert list_fleet_health(now=THEN) == [found]
    assert tally_fleet_health(now=THEN).counts[case.health] == 1
    assert tally_fleet_health(now=THEN).running_now == (found.running_since is not None)


def test_what_a_clock_that_is_ahead_reports_counts_at_once(session: scoped_session[Session]) -> None:
    pipeline = make_pipeline_with([ran(SUCCESS, 1), ran(FAILED, -2)], session=session)

    assert health_of(pipeline, datetime.now(UTC)).health is FAILING
    assert health_of(pipeline, datetime.now(UTC) - timedelta(minutes=10)).health is HEALTHY


def test_what_runs_by_a_clock_that_is_ahead_runs_now(session: scoped_session[Session]) -> None:
    pipeline = make_pipeline_with([{"status": RUNNING, "started_at": ago(-2)}], session=session)

    assert health_of(pipeline, datetime.now(UTC)).health is RUNS
    assert health_of(pipeline, datetime.now(UTC) - timedelta(minutes=10)).health is NO_DATA


# -- histories of chance ------------------------------------------------------------------------------------------


def _record(pipeline: Pipeline, chance: random.Random) -> RunRecord:
    # Few moments, so that many runs share one, and the cutoff is one of them.
    finished = ago(chance.randint(12, 36))
    status = chance.choices(list(RunStatus), weights=(2, 1, 1, 3, 3))[0]
    started = chance.choice((None, finished - timedelta(hours=chance.randint(0, 12))))
    ended = None if status is RUNNING or chance.random() < 0.1 else finished
    return make_record(pipeline, status=status, started_at=started, finished_at=ended)


def _known_then(record: RunRecord) -> RunRecord | None:
    """What its source could have reported by then."""
    if record.started_at is None:
        return record if record.finished_at and record.finished_at <= THEN else None
    if record.started_at > THEN:
        return None
    if record.finished_at and record.finished_at > THEN:
        return replace(record, status=RUNNING, finished_at=None, duration_seconds=None)
    return record


@pytest.mark.parametrize("seed", range(4))
def test_the_past_is_judged_as_if_nothing_had_happened_since(session: scoped_session[Session], seed: int) -> None:
    chance = random.Random(seed)
    client = make_client()
    pairs = []
    for _ in range(60):
        every = chance.choice((None, 60, 600))
        whole, known = (
            make_pipeline_with([], session=session, client=client, expected_every_minutes=every) for _ in range(2)
        )
        records = [_record(whole, chance) for _ in range(chance.choice((0, 1, 2, 6, 12)))]
        by_then = [replace(each, pipeline_id=known.id) for each in map(_known_then, records) if each]
        assert not record_runs(records=[*records, *by_then]).rejected
        pairs.append((health_of(whole), health_of(known)))

    assert {judged.health for judged, _ in pairs} == set(Health)
    for judged, as_if in pairs:
        for name in (
            "health",
            "since",
            "failures_in_row",
            "last_success_at",
            "last_finished_at",
            "late_at",
            "running_since",
        ):
            assert getattr(judged, name) == getattr(as_if, name)
