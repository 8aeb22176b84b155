"""What an ingestion job is and how far it has come: plain values, the same for pages, API and worker."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from chm_web.models import RunStatus

NO_PIPELINE = "No active pipeline has this external id."
SEVERAL_PIPELINES = "Several active pipelines have this external id."


class JobState(enum.StrEnum):
    """The state of an ingestion job, or of one source in it."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_live(self) -> bool:
        """Whether there is still something to wait for."""
        return self in (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True)
class SyncScope:
    """What one ingestion covers: everything, or only a client, a pipeline or a source."""

    client_id: UUID | None = None
    pipeline_id: UUID | None = None
    source: str | None = None

    @property
    def is_narrowed(self) -> bool:
        """Whether only some of the pipelines of its sources are read."""
        return self.client_id is not None or self.pipeline_id is not None

    def covers(self, other: SyncScope) -> bool:
        """Whether this scope takes in everything that ``other`` does."""
        return all(
            mine is None or mine == theirs
            for mine, theirs in (
                (self.client_id, other.client_id),
                (self.pipeline_id, other.pipeline_id),
                (self.source, other.source),
            )
        )


@dataclass(frozen=True)
class Counts:
    """What became of the runs that were read."""

    pages: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0

    @property
    def read(self) -> int:
        """All runs that were read."""
        return self.created + self.updated + self.unchanged + self.rejected

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.pages + other.pages,
            self.created + other.created,
            self.updated + other.updated,
            self.unchanged + other.unchanged,
            self.rejected + other.rejected,
        )


@dataclass(frozen=True, kw_only=True)
class SourceProgress:
    """How far one source of a job has come. ``pipelines_total`` is 0 until the source's pipelines are known.

    ``pipelines_unread``: how many of those done could not be read, while the others were; ``unread_example``: the first
    of them and why, in words.
    """

    name: str
    state: JobState = JobState.QUEUED
    counts: Counts = field(default_factory=Counts)
    pipelines_done: int = 0
    pipelines_total: int = 0
    pipelines_unread: int = 0
    unread_example: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: str | None = None
    waiting_for: str | None = None
    waiting_until: datetime | None = None

    @property
    def warning(self) -> str | None:
        """What is missing from a reading that went on all the same, in words; None: nothing, or what its error says."""
        told = self.error is not None and (self.unread_example or "").endswith(self.error)
        if told or not self.pipelines_unread:
            return None
        noun = "pipeline" if self.pipelines_total == 1 else "pipelines"
        return f"{self.pipelines_unread:,} of {self.pipelines_total:,} {noun} could not be read. {self.unread_example}"


def sum_up(name: str, parts: Sequence[SourceProgress]) -> SourceProgress:
    """Put parts of one thing together: live while one part is, failed if one failed, the counts added up."""
    state = _common_state({part.state for part in parts})
    ended = [part.ended_at for part in parts if part.ended_at]
    waiting = next((part for part in parts if part.state is JobState.QUEUED and part.waiting_for), None)
    return SourceProgress(
        name=name,
        state=state,
        counts=sum((part.counts for part in parts), Counts()),
        pipelines_done=sum(part.pipelines_done for part in parts),
        pipelines_total=sum(part.pipelines_total for part in parts),
        pipelines_unread=sum(part.pipelines_unread for part in parts),
        unread_example=next((part.unread_example for part in parts if part.unread_example), None),
        started_at=min((part.started_at for part in parts if part.started_at), default=None),
        ended_at=None if state.is_live else max(ended, default=None),
        error="\n".join(dict.fromkeys(part.error for part in parts if part.error)) or None,
        waiting_for=waiting.waiting_for if waiting else None,
        waiting_until=waiting.waiting_until if waiting else None,
    )


def _common_state(states: set[JobState]) -> JobState:
    if JobState.RUNNING in states or (JobState.QUEUED in states and len(states) > 1):
        return JobState.RUNNING
    for state in (JobState.QUEUED, JobState.FAILED, JobState.CANCELED):
        if state in states:
            return state
    return JobState.FINISHED


@dataclass(frozen=True, kw_only=True)
class IngestionJob:
    """One press of "Ingest now", one scheduled cycle: a scope and the progress of each source in it.

    ``requested_by``: who pressed; None for the schedule.
    """

    id: str
    scope: SyncScope
    requested_at: datetime
    requested_by: str | None = None
    sources: tuple[SourceProgress, ...]

    @property
    def total(self) -> SourceProgress:
        """All sources together."""
        return sum_up("all sources", self.sources)

    @property
    def state(self) -> JobState:
        """Derived from the sources: live while one is, then failed if one failed."""
        return self.total.state

    @property
    def counts(self) -> Counts:
        """The sum over all sources."""
        return self.total.counts

    @property
    def pipelines_done(self) -> int:
        """Pipelines read to their end, over all sources."""
        return self.total.pipelines_done

    @property
    def pipelines_total(self) -> int:
        """Pipelines to read, over all sources."""
        return self.total.pipelines_total

    @property
    def pipelines_unread(self) -> int:
        """Pipelines that could not be read while others were, over all sources."""
        return self.total.pipelines_unread

    @property
    def started_at(self) -> datetime | None:
        """When the first source began."""
        return self.total.started_at

    @property
    def ended_at(self) -> datetime | None:
        """When the last source ended; None while the job is live."""
        return self.total.ended_at

    @property
    def waiting_for(self) -> str | None:
        """What the job waits for other than a worker, in words."""
        return self.total.waiting_for

    @property
    def waiting_until(self) -> datetime | None:
        """When it is tried again."""
        return self.total.waiting_until

    @property
    def error(self) -> str | None:
        """The sources' errors in words, one a line."""
        return "\n".join(f"{source.name}: {source.error}" for source in self.sources if source.error) or None

    @property
    def warning(self) -> str | None:
        """What is missing from the sources' readings in words, one a line; None: nothing."""
        return "\n".join(f"{source.name}: {source.warning}" for source in self.sources if source.warning) or None


@dataclass(frozen=True, kw_only=True)
class RejectedRun:
    """A run that could not be taken in, and why."""

    source: str
    pipeline_id: UUID | None
    external_run_id: str | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class UnreadPipeline:
    """A pipeline that could not be read while others of its source were, and why."""

    source: str
    pipeline_id: UUID
    external_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmappedReport:
    """One report of a run of something that is no pipeline here, or may be several."""

    name: str
    reason: str
    status: RunStatus | None
    sample: dict[str, str] = field(default_factory=dict)
