"""The history of one pipeline: its days, how long its runs take, and what stands around one run."""

from __future__ import annotations

import enum
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from chm_web.extensions import db
from chm_web.models import Run, RunStatus
from chm_web.queries import pipeline_history as queries
from chm_web.services.health import TimedRun, success_seconds

DAYS = 90
RECENT = 100
"""How many of a pipeline's newest runs its usual duration is taken from."""


class DayState(enum.StrEnum):
    """How a day went, by the runs that succeeded or failed."""

    SUCCEEDED = "succeeded"
    MIXED = "mixed"
    FAILED = "failed"
    UNDECIDED = "undecided"
    EMPTY = "empty"


@dataclass(frozen=True)
class DayOfRuns:
    """The runs of a pipeline whose event time lies in one day of UTC."""

    day: date
    succeeded: int
    failed: int
    runs: int

    @property
    def others(self) -> int:
        """Runs that are running, canceled or skipped."""
        return self.runs - self.succeeded - self.failed

    @property
    def next_day(self) -> date:
        """The day on whose midnight this one ends."""
        return self.day + timedelta(days=1)

    @property
    def state(self) -> DayState:
        """What the day was: runs that neither succeeded nor failed do not count."""
        if self.failed:
            return DayState.MIXED if self.succeeded else DayState.FAILED
        if self.succeeded:
            return DayState.SUCCEEDED
        return DayState.UNDECIDED if self.runs else DayState.EMPTY


@dataclass(frozen=True)
class UsualDuration:
    """How long a pipeline's successes take, in seconds: of ``runs`` of them the median and the 95th percentile."""

    runs: int
    median: float
    p95: float


@dataclass(frozen=True)
class Neighbour:
    """A run that stands near another one of its pipeline."""

    id: UUID
    status: RunStatus
    event_at: datetime


@dataclass(frozen=True)
class Around:
    """The runs before and after a run by event time, and the last success before it; None where there is none."""

    previous: Neighbour | None = None
    next: Neighbour | None = None
    last_good: Neighbour | None = None


def list_days(*, pipeline_id: UUID, now: datetime, days: int = DAYS) -> list[DayOfRuns]:
    """Count a pipeline's runs of the last ``days`` days of UTC by outcome, today last; a day without runs has zeros."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    window = {"since": today - timedelta(days=days - 1), "until": today + timedelta(days=1)}
    rows = db.session.execute(queries.DAYS, {"pipeline_id": pipeline_id, **window})
    return [DayOfRuns(row.day, row.succeeded, row.failed, row.runs) for row in rows]


def usual_duration(runs: Sequence[TimedRun]) -> UsualDuration | None:
    """Tell how long the successes among ``runs`` took, as ``percentile_cont`` would; None when none has a duration."""
    took = success_seconds(runs)
    if not took:
        return None
    if len(took) == 1:
        return UsualDuration(1, took[0], took[0])
    # Inclusive: the interpolation between neighbours by which the dashboards' percentiles are made too.
    percentiles = statistics.quantiles(took, n=100, method="inclusive")
    return UsualDuration(len(took), statistics.median(took), percentiles[94])


def runs_around(run: Run) -> Around:
    """Find the neighbours of a run in its pipeline, in the order of event time."""
    parameters = {"pipeline_id": run.pipeline_id, "event_at": run.event_at, "run_id": run.id}
    rows = db.session.execute(queries.AROUND, parameters)
    return Around(**{row.place: Neighbour(row.id, RunStatus(row.status), row.event_at) for row in rows})
