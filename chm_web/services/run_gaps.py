"""What is missing of runs that are recorded: their ends, and why they failed. For whoever may ask the source again."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Uuid, any_, literal, select
from sqlalchemy.dialects.postgresql import ARRAY

from chm_web.extensions import db
from chm_web.models import Pipeline, Platform, Run, RunStatus


@dataclass(frozen=True, slots=True)
class UntoldFailure:
    """A run that failed, of whose failure no text is known."""

    pipeline_id: UUID
    external_run_id: str
    started_at: datetime | None
    finished_at: datetime | None
    attempt_at: datetime | None


def list_running(*, platforms: Collection[Platform]) -> list[tuple[UUID, str]]:
    """List the runs of pipelines on these platforms that are held as running: the pipeline's id and the run's own."""
    query = (
        select(Run.pipeline_id, Run.external_run_id)
        .join(Pipeline, Pipeline.id == Run.pipeline_id)
        .where(Run.status == RunStatus.RUNNING, Pipeline.platform.in_(platforms))
    )
    found = [(row.pipeline_id, row.external_run_id) for row in db.session.execute(query)]
    # The caller asks a platform next: no transaction may stay open meanwhile.
    db.session.commit()
    return found


def failed_without_text(*, pipeline_ids: Collection[UUID], since: datetime, limit: int) -> list[UntoldFailure]:
    """List runs of these pipelines that failed since then and do not say why, the newest first.

    Only runs whose platform has told when they began. Any other one was reported, and has its text from whoever
    reports.
    """
    query = (
        select(Run.pipeline_id, Run.external_run_id, Run.started_at, Run.finished_at, Run.attempt_at)
        .where(
            Run.status == RunStatus.FAILED,
            Run.event_at >= since,
            Run.error_message.is_(None),
            Run.attempt_at.is_not(None),
            Run.pipeline_id == any_(literal(list(pipeline_ids), ARRAY(Uuid))),
        )
        .order_by(Run.event_at.desc(), Run.id.desc())
        .limit(limit)
    )
    found = [UntoldFailure(*row) for row in db.session.execute(query)]
    db.session.commit()
    return found
