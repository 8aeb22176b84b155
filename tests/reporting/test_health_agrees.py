"""The health of pages and API and that of dashboards are one and the same, whatever ran and whenever asked for."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, scoped_session

from chm_web.models import Pipeline, RunStatus
from chm_web.queries import changes
from chm_web.queries import health as queries
from chm_web.services.health import Health, get_pipeline_health, tally_fleet_health
from chm_web.services.runs import RunRecord, record_runs
from tests.factories import NOW, make_client, make_pipeline, make_record

PIPELINES = 150
FIELDS = (
    "pipeline_name",
    "client_name",
    "platform",
    "pipeline_type",
    "environment",
    "is_active",
    "expected_every_minutes",
    "health",
    "since",
    "failures_in_row",
    "last_success_at",
    "last_success_id",
    "last_finished_at",
    "late_at",
    "running_since",
)
QUERY = sa.text("SELECT *, last_success_run_id AS last_success_id FROM reporting.pipeline_health_at(:now)")


NEWEST = PIPELINES * 3 // 2


def _moment(age: str) -> datetime:
    # What is past is so by the database's clock: only in the present do runs count that lie after the moment.
    return {"past": NOW, "present": datetime.now(UTC).replace(microsecond=0)}[age]


def _record(pipeline: Pipeline, chance: random.Random, now: datetime) -> RunRecord:
    # Few moments, so that many runs share one and ids decide; some lie after `now`, as with a clock that is ahead.
    finished = now - timedelta(minutes=10 * chance.randint(-2, 12))
    status = chance.choices(list(RunStatus), weights=(3, 1, 1, 3, 3))[0]
    started = chance.choice((None, finished - timedelta(minutes=chance.randint(0, 30))))
    ended = None if status is RunStatus.RUNNING or chance.random() < 0.1 else finished
    return make_record(pipeline, status=status, started_at=started, finished_at=ended)


def _build(session: scoped_session[Session], seed: int, now: datetime = NOW) -> list[UUID]:
    chance = random.Random(seed)
    clients = [make_client(), make_client(), make_client(is_active=False)]
    pipelines = []
    for _ in range(PIPELINES):
        every = chance.choice((None, 1, 30, 60, 10_000))
        pipeline = make_pipeline(chance.choice(clients), expected_every_minutes=every, is_active=chance.random() < 0.9)
        pipeline.created_at = now - timedelta(minutes=chance.choice((5, 50, 5000)))
        pipelines.append(pipeline)
    session.commit()
    records = [_record(pipeline, chance, now) for pipeline in pipelines for _ in range(chance.choice((0, 1, 2, 5, 12)))]
    assert not record_runs(records=records).rejected
    return [pipeline.id for pipeline in pipelines]


def _add_a_busy_one(now: datetime) -> None:
    """One whose runs are the newest of all, more than a look at the fleet reads."""
    busy = make_pipeline()
    runs = [{"started_at": now - timedelta(seconds=9), "finished_at": now - timedelta(seconds=9)}] * (NEWEST + 1)
    assert not record_runs(records=[make_record(busy, **run) for run in runs]).rejected


@pytest.mark.parametrize("age", ["past", "present"])
@pytest.mark.parametrize("minutes", [0, 60])
@pytest.mark.parametrize("seed", range(2))
def test_view_and_service_agree_on_histories_of_chance(
    session: scoped_session[Session], seed: int, minutes: float, age: str
) -> None:
    now = _moment(age)
    ids = _build(session, seed, now)
    at = now - timedelta(minutes=minutes)

    found = {row["pipeline_id"]: row for row in session.execute(QUERY, {"now": at}).mappings()}

    services = {pipeline_id: get_pipeline_health(pipeline_id=pipeline_id, now=at) for pipeline_id in ids}
    # Chance must have met every state, or the agreement would say little.
    assert {health.health for health in services.values()} == set(Health)
    assert {key: {name: row[name] for name in FIELDS} for key, row in found.items()} == {
        key: {name: getattr(health, name) for name in FIELDS} for key, health in services.items()
    }


@pytest.mark.parametrize("seed", range(2))
def test_view_and_service_count_the_same_fleet(session: scoped_session[Session], seed: int) -> None:
    _build(session, seed)
    query = """
        SELECT health, count(*), count(running_since)
        FROM reporting.pipeline_health_at(:now) WHERE in_service GROUP BY health
    """

    rows = session.execute(sa.text(query), {"now": NOW}).all()

    tally = tally_fleet_health(now=NOW)
    assert dict.fromkeys(Health, 0) | {Health(row[0]): row[1] for row in rows} == tally.counts
    assert sum(row[2] for row in rows) == tally.running_now


@pytest.mark.parametrize("age", ["past", "present"])
@pytest.mark.parametrize("is_one_busy", [False, True], ids=["even", "busy"])
@pytest.mark.parametrize("minutes", [0, 60])
@pytest.mark.parametrize("seed", range(2))
def test_a_look_at_the_fleet_agrees_with_one_at_each_pipeline(
    session: scoped_session[Session], seed: int, minutes: float, is_one_busy: bool, age: str
) -> None:
    now = _moment(age)
    _build(session, seed, now)
    at = now - timedelta(minutes=minutes)
    if is_one_busy:
        _add_a_busy_one(at)
    each = """
        SELECT h.pipeline_id, h.client_id, h.in_service, h.health, h.since, h.late_at,
            h.running_since, c.change
        FROM reporting.pipeline_health_at(:at) h
        LEFT JOIN reporting.health_changes(:since, :at) c ON c.pipeline_id = h.pipeline_id
        ORDER BY h.pipeline_id
    """
    fleet = "SELECT * FROM reporting.fleet_health(:since, :at) ORDER BY pipeline_id"

    for hours_before in (0, 0.5, 1.5, 100):
        moments = {"at": at, "since": at - timedelta(hours=hours_before)}

        found = session.execute(sa.text(fleet), moments).all()

        assert found == session.execute(sa.text(each), moments).all()
        assert {row.health for row in found} == set(Health)


@pytest.mark.parametrize(("age", "counts_what_is_ahead"), [("past", False), ("present", True)])
def test_histories_of_chance_meet_every_way_to_look_at_the_fleet(
    session: scoped_session[Session], age: str, counts_what_is_ahead: bool
) -> None:
    # Some pipelines are judged by the newest runs of all, others have none among these, or two at one moment.
    now = _moment(age)
    _build(session, 0, now)
    newest = """
        SELECT pipeline_id, max(event_at) AS newest_at,
            bool_or(is_success) AND bool_or(is_failed) AND count(DISTINCT event_at) = 1 AS at_one_moment
        FROM (
            SELECT * FROM reporting.runs
            WHERE (is_success OR is_failed) AND event_at <= reporting.known_until(:at)
            ORDER BY event_at DESC, run_id DESC LIMIT :limit
        ) newest
        GROUP BY pipeline_id
    """

    rows = session.execute(sa.text(newest), {"at": now, "limit": NEWEST}).all()

    assert 10 < len(rows) < PIPELINES - 10
    assert any(row.at_one_moment for row in rows)
    assert any(row.newest_at > now for row in rows) == counts_what_is_ahead


@pytest.mark.parametrize(
    "query",
    [
        queries.HEALTH_TALLY,
        changes.FLEET,
        queries.pipeline_health(where=queries.FLEET),
        sa.select(sa.func.count())
        .select_from(sa.table("pipelines").alias("p"))
        .join(queries.verdict(now=NOW), sa.true()),
    ],
    ids=["tally", "fleet", "list", "verdict"],
)
def test_the_planner_sees_through_the_functions_that_services_call(
    session: scoped_session[Session], query: sa.TextClause | sa.Select[int]
) -> None:
    compiled = query.compile(session.get_bind())
    values = dict.fromkeys(compiled.params, NOW) | {"health": None, "limit": 50}

    plan = session.connection().exec_driver_sql(f"EXPLAIN {compiled}", values).scalars().all()

    assert any(" on runs" in line for line in plan)
    assert not any("Function Scan" in line for line in plan)
