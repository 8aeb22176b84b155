"""The health of pipelines: what is failing, late, running, healthy, or without data.

The definition stands once, in the schema ``reporting``; every function here takes one frozen ``now``.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from sqlalchemy import RowMapping, TextClause

from chm_web.extensions import db
from chm_web.models import RunStatus
from chm_web.queries import health as queries
from chm_web.services.exceptions import NotFound
from chm_web.services.plans import kept_plans


class Health(enum.StrEnum):
    """What support staff see of a pipeline, worst first."""

    FAILING = "failing"
    LATE = "late"
    RUNNING = "running"
    HEALTHY = "healthy"
    NO_DATA = "no_data"


@dataclass(frozen=True, kw_only=True)
class PipelineHealth:
    """One pipeline's health at one moment, with its circumstances. All times are UTC."""

    pipeline_id: UUID
    pipeline_name: str
    client_id: UUID
    client_name: str
    platform: str
    pipeline_type: str
    environment: str
    is_active: bool
    expected_every_minutes: int | None
    health: Health
    late_at: datetime | None
    last_finished_at: datetime | None
    running_since: datetime | None
    last_success_at: datetime | None
    last_success_id: UUID | None
    failures_in_row: int
    failing_since: datetime | None
    last_failed_run_id: UUID | None
    last_error: str | None
    latest_status: RunStatus | None
    latest_started_at: datetime | None

    @property
    def since(self) -> datetime | None:
        """Since when the pipeline has been in trouble: its first failure in a row, or when it became late."""
        if self.health is Health.FAILING:
            return self.failing_since
        return self.late_at if self.health is Health.LATE else None


@dataclass(frozen=True)
class HealthTally:
    """How many active pipelines are in each health, and how many are running something right now."""

    counts: Mapping[Health, int] = field(default_factory=dict)
    running_now: int = 0

    @property
    def total(self) -> int:
        """All active pipelines counted."""
        return sum(self.counts.values())

    @property
    def worst(self) -> Health:
        """The worst state of health that any of them is in."""
        return next((health for health in Health if self.counts.get(health)), Health.NO_DATA)

    def __add__(self, other: HealthTally) -> HealthTally:
        """Count two sets of pipelines as one."""
        counts = {health: self.counts.get(health, 0) + other.counts.get(health, 0) for health in Health}
        return HealthTally(counts, self.running_now + other.running_now)


@dataclass(frozen=True)
class ClientHealth:
    """A client's active pipelines at one moment: counted, and those in most trouble."""

    tally: HealthTally
    pipelines: list[PipelineHealth]


class TimedRun(Protocol):
    """What became of a run, and how long it took; None where that is not known."""

    @property
    def status(self) -> RunStatus:
        """Its state."""

    @property
    def duration_seconds(self) -> float | None:
        """How long it took."""


def success_seconds(runs: Iterable[TimedRun]) -> list[float]:
    """Give how long the successful ones of some runs took, of those whose duration is known."""
    return [
        run.duration_seconds for run in runs if run.status is RunStatus.SUCCESS and run.duration_seconds is not None
    ]


class StripRun(NamedTuple):
    """One bar of a pipeline's strip. A page has seven hundred of them."""

    status: RunStatus
    duration_seconds: float | None


class RecentRun(NamedTuple):
    """One of a pipeline's newest runs."""

    id: UUID
    status: RunStatus
    event_at: datetime
    duration_seconds: float | None


_STATUSES = {status.value: status for status in RunStatus}


def tally_fleet_health(*, now: datetime) -> HealthTally:
    """Count all active pipelines of active clients by health."""
    return _tally(db.session.execute(queries.HEALTH_TALLY, {"now": now}).mappings())


def count_health_by_client(
    *, now: datetime, client_ids: Collection[UUID] | None = None
) -> dict[UUID, dict[Health, int]]:
    """Count the active pipelines of each active client by health; a client without any is not named.

    Args:
        now: the moment to judge by.
        client_ids: only these clients', which are then judged one by one: for a few of them.
    """
    counts: dict[UUID, dict[Health, int]] = {}
    if client_ids is None:
        rows = db.session.execute(queries.HEALTH_BY_CLIENT, {"now": now})
    elif client_ids:
        rows = db.session.execute(queries.HEALTH_OF_CLIENTS, {"now": now, "client_ids": list(client_ids)})
    else:
        return counts
    for client_id, health, pipelines in rows:
        counts.setdefault(client_id, dict.fromkeys(Health, 0))[Health(health)] = pipelines
    return counts


def list_fleet_health(
    *, now: datetime, health: Collection[Health] | None = None, running_now: bool = False, limit: int = 50
) -> list[PipelineHealth]:
    """List active pipelines of active clients, worst first.

    Args:
        now: the moment to judge by.
        health: only those in these states of health.
        running_now: only those with a run under way, whatever their health.
        limit: at most so many of each state of health.
    """
    query = queries.pipeline_health(where=queries.FLEET_RUNNING if running_now else queries.FLEET)
    return _list(query, now=now, health=health, limit=limit)


def look_at_client(*, client_id: UUID, now: datetime, limit: int = 50) -> ClientHealth:
    """Count a client's active pipelines by health, and list the ``limit`` in most trouble, worst first.

    A disabled client's are counted and listed too: its page still shows them.
    """
    query = queries.pipeline_health(where=queries.OF_CLIENT)
    with kept_plans():
        rows = _read(query, now=now, health=None, limit=limit, client_id=client_id)
    # So many of each state are read, each with what there is of its state.
    tally = _tally({row["health"]: row for row in rows}.values())
    return ClientHealth(tally, [_pipeline_health(row) for row in rows[:limit]])


def list_health_of(*, pipeline_ids: Collection[UUID], now: datetime, limit: int = 50) -> list[PipelineHealth]:
    """List these pipelines, worst first, at most ``limit`` of each state of health."""
    query = queries.pipeline_health(where=queries.OF_PIPELINES)
    with kept_plans():
        return _list(query, now=now, health=None, limit=limit, pipeline_ids=list(pipeline_ids))


def get_pipeline_health(*, pipeline_id: UUID, now: datetime) -> PipelineHealth:
    """Give one pipeline's health, active or not.

    Raises:
        NotFound: there is no such pipeline.
    """
    query = queries.pipeline_health(where=queries.OF_PIPELINE)
    with kept_plans():
        found = _list(query, now=now, health=None, limit=1, pipeline_id=pipeline_id)
    if not found:
        raise NotFound(f"There is no pipeline {pipeline_id}.")
    return found[0]


def run_strips(*, pipeline_ids: Iterable[UUID], length: int = 14) -> dict[UUID, list[StripRun]]:
    """Give the last ``length`` runs by event time of each pipeline, oldest first; a pipeline without runs has []."""
    strips: dict[UUID, list[StripRun]] = {pipeline_id: [] for pipeline_id in pipeline_ids}
    if not strips:
        return strips
    parameters = {"pipeline_ids": list(strips), "length": length}
    with kept_plans():
        rows = db.session.execute(queries.STRIPS, parameters).all()
    for pipeline_id, statuses, seconds in rows:
        if statuses is not None:
            strips[pipeline_id] = list(map(StripRun, map(_STATUSES.__getitem__, statuses), seconds))
    return strips


def list_recent_runs(*, pipeline_id: UUID, limit: int) -> list[RecentRun]:
    """List the newest runs of a pipeline by event time, oldest first."""
    rows = db.session.execute(queries.RECENT, {"pipeline_id": pipeline_id, "limit": limit}).all()
    return [RecentRun(row.id, _STATUSES[row.status], row.event_at, row.duration_seconds) for row in reversed(rows)]


def _list(
    query: TextClause, *, now: datetime, health: Collection[Health] | None, limit: int, **scope: Any
) -> list[PipelineHealth]:
    return [_pipeline_health(row) for row in _read(query, now=now, health=health, limit=limit, **scope)]


def _read(
    query: TextClause, *, now: datetime, health: Collection[Health] | None, limit: int, **scope: Any
) -> Sequence[RowMapping]:
    parameters = {"now": now, "health": None if health is None else list(health), "limit": limit, **scope}
    return db.session.execute(query, parameters).mappings().all()


def _pipeline_health(row: RowMapping) -> PipelineHealth:
    latest = row["latest_status"]
    # Its place among those of its health served the limit, what there is of that health the tally.
    values = {**row, "health": Health(row["health"]), "latest_status": RunStatus(latest) if latest else None}
    for name in ("place", "pipelines", "running"):
        del values[name]
    return PipelineHealth(**values)


def _tally(rows: Iterable[RowMapping]) -> HealthTally:
    rows = list(rows)
    counts = dict.fromkeys(Health, 0) | {Health(row["health"]): row["pipelines"] for row in rows}
    return HealthTally(counts, sum(row["running"] for row in rows))
