"""What sources say of runs, and what becomes of it: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from chm_web.models import RunStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What a source says of one run. Times without a zone are UTC.

    ``attempt_at`` is the platform's own start of the run, else its time in the queue, and never the time of a report:
    it is what lets a re-run under the same id replace the attempt before. ``source_updated_at`` is the source's own
    change time, never our clock.
    """

    pipeline_id: UUID
    external_run_id: str
    status: RunStatus
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration_seconds: float | None = None
    rows_processed: int | None = None
    error_message: str | None = None
    status_reason: str | None = None
    payload: dict[str, Any] | None = None
    attempt_at: datetime | None = None
    source_updated_at: datetime | None = None


@dataclass(frozen=True)
class Rejection:
    """Why one record of a batch was not taken. ``index`` is its place in the batch, from 0."""

    index: int
    pipeline_id: UUID | None
    external_run_id: str | None
    field: str
    issue: str

    @property
    def reason(self) -> str:
        """The field and what is wrong with it, in one line."""
        return f"{self.field}: {self.issue}"


@dataclass(frozen=True)
class RecordResult:
    """What became of a batch."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: tuple[Rejection, ...] = ()
