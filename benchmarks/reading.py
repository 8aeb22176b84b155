"""Who takes what a reading tells, where the reading alone is measured: in this process, and without Redis."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from chm_web.ingestion.job import Position
from chm_web.ingestion.progress import Counts, RejectedRun, UnreadPipeline


class Nowhere:
    """Takes progress and watermarks, and keeps only the number of pages."""

    pages = 0

    def page(self, counts: Counts, rejected: Sequence[RejectedRun]) -> None:
        """Count a page."""
        self.pages += 1

    def pipeline_done(self, pipeline_id: UUID) -> None:
        """Nothing to do."""

    def unread(self, pipeline: UnreadPipeline) -> None:
        """Give up: figures without a pipeline would flatter."""
        raise RuntimeError(f"{pipeline.external_id} could not be read: {pipeline.reason}")

    def is_done(self, pipeline_id: UUID) -> bool:
        """Nothing is."""
        return False

    def get(self, pipeline_id: UUID) -> datetime | None:
        """Read everything."""
        return None

    def set(self, pipeline_id: UUID, moment: datetime) -> None:
        """Remember nothing."""

    def position(self, pipeline_id: UUID) -> Position | None:
        """Begin at the beginning."""
        return None

    def keep_position(self, pipeline_id: UUID, position: Position | None) -> None:
        """Remember nothing."""

    def deep_at(self, pipeline_id: UUID) -> datetime | None:
        """Just now: no reading goes further back than it need."""
        return datetime.now(UTC)

    def set_deep(self, pipeline_id: UUID, moment: datetime) -> None:
        """Remember nothing."""
