"""How stable pipelines are: what is flaky, which platforms fail, how long runs take, how long failures lasted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import TextClause, exists, select

from chm_web.extensions import db
from chm_web.models import Run
from chm_web.queries import stability as queries
from chm_web.services.clients import get_client
from chm_web.services.outcomes import ComparedRuns, OverTime, client_failures, compare_client_runs, share_change

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class FlakyPipeline:
    """A pipeline that changes between success and failure.

    ``flakiness``: changes by steps between its finished runs, 0 to 1. A pipeline that always fails has none.
    """

    pipeline_id: UUID
    pipeline_name: str
    client_id: UUID
    client_name: str
    platform: str
    runs: int
    failed: int
    changes: int
    flakiness: float


@dataclass(frozen=True, kw_only=True)
class PlatformOutcomes:
    """What became of a platform's runs, and its failure rate in the window before (None: nothing finished)."""

    platform: str
    runs: int
    succeeded: int
    failed: int
    failure_rate: float | None
    failure_rate_before: float | None

    @property
    def failure_change(self) -> float | None:
        """By how much the failure rate has changed; None where there is nothing to compare."""
        return share_change(self.failure_rate, self.failure_rate_before)


@dataclass(frozen=True, kw_only=True)
class ClientFailures:
    """A client's failures of the last 24 hours and 7 days."""

    client_id: UUID
    client_name: str
    failures_24h: int
    failures_7d: int


@dataclass(frozen=True, kw_only=True)
class DurationRange:
    """How many successful runs took from ``lower_seconds`` to less than ``upper_seconds`` (None: no upper bound)."""

    lower_seconds: int
    upper_seconds: int | None
    runs: int


@dataclass(frozen=True, kw_only=True)
class PlatformDurations:
    """Percentiles of how long a platform's successful runs took, in seconds."""

    platform: str
    runs: int
    p50_seconds: float
    p95_seconds: float
    p99_seconds: float
    max_seconds: float


@dataclass(frozen=True, kw_only=True)
class PipelineOutcomes:
    """What became of a pipeline's runs."""

    pipeline_id: UUID
    pipeline_name: str
    platform: str
    runs: int
    succeeded: int
    failed: int
    success_rate: float | None


@dataclass(frozen=True, kw_only=True)
class Outage:
    """A span from a first failure to the next success; ``ended_at`` is None where none came within the window."""

    pipeline_id: UUID
    pipeline_name: str
    began_at: datetime
    ended_at: datetime | None
    failures: int


@dataclass(frozen=True, kw_only=True)
class ClientReport:
    """A client's period: its runs beside those of the period before, and what stood out."""

    runs: ComparedRuns
    by_pipeline: list[PipelineOutcomes]
    failures: OverTime
    flaky: list[FlakyPipeline]
    outages: list[Outage]


def has_runs(*, since: datetime | None = None) -> bool:
    """Whether there is a run, or one with an event time of ``since`` or later: without any, nothing can be judged."""
    runs = select(Run.id) if since is None else select(Run.id).where(Run.event_at >= since)
    return bool(db.session.scalar(select(exists(runs))))


def list_flaky(
    *, since: datetime, until: datetime, client_id: UUID | None = None, limit: int = 50
) -> list[FlakyPipeline]:
    """List the flakiest pipelines of a window, of one client or of all. At least five finished runs tell."""
    return _rows(FlakyPipeline, queries.FLAKY, since=since, until=until, client_id=client_id, limit=limit)


def list_platforms(*, since: datetime, until: datetime) -> list[PlatformOutcomes]:
    """Compare the platforms' failure rates in a window with those in the window before, the highest first."""
    return _rows(PlatformOutcomes, queries.BY_PLATFORM, since=since, until=until, before=since - (until - since))


def list_failures_by_client(*, now: datetime, limit: int = 50) -> list[ClientFailures]:
    """List clients by their failures of the last 24 hours, then of the last 7 days; those without any are left out."""
    return _rows(ClientFailures, queries.FAILURES_BY_CLIENT, now=now, limit=limit)


def count_durations(*, since: datetime, until: datetime) -> list[DurationRange]:
    """Count the successful runs of a window by how long they took."""
    return _rows(DurationRange, queries.HISTOGRAM, since=since, until=until)


def list_durations(*, since: datetime, until: datetime) -> list[PlatformDurations]:
    """Give the percentiles of how long each platform's successful runs took."""
    return _rows(PlatformDurations, queries.DURATIONS, since=since, until=until)


def list_outages(*, client_id: UUID, since: datetime, until: datetime, limit: int = 10) -> list[Outage]:
    """List a client's longest spans of failure that touch a window, whole even where they began before it."""
    return _rows(Outage, queries.OUTAGES, client_id=client_id, since=since, until=until, limit=limit)


def report_client(*, client_id: UUID, since: datetime, until: datetime) -> ClientReport:
    """Sum up a client's period for the client itself.

    Raises:
        NotFound: there is no such client.
    """
    get_client(client_id=client_id)
    period = {"client_id": client_id, "since": since, "until": until}
    return ClientReport(
        runs=compare_client_runs(client_id=client_id, since=since, until=until),
        by_pipeline=_rows(PipelineOutcomes, queries.BY_PIPELINE, **period),
        failures=client_failures(client_id=client_id, since=since, until=until),
        flaky=list_flaky(since=since, until=until, client_id=client_id, limit=10),
        outages=list_outages(client_id=client_id, since=since, until=until),
    )


def _rows(kind: type[T], query: TextClause, **parameters: Any) -> list[T]:
    return [kind(**row) for row in db.session.execute(query, parameters).mappings()]
