"""The "Ingest now" panel that several pages carry: a button, then the progress of what it started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from chm_web.ingestion import queue
from chm_web.ingestion.progress import IngestionJob, RejectedRun, SyncScope, UnreadPipeline
from chm_web.services import naming
from chm_web.services.exceptions import NotFound, Unavailable

REJECTED_SHOWN = 100
UNREAD_SHOWN = 100


@dataclass(frozen=True, kw_only=True)
class IngestPanel:
    """What the panel shows.

    ``job`` is shown with its progress or its result; without one the panel is a button and a line about the
    ``last`` ingestion that took in this scope. ``problem`` says in words why something cannot be shown or done;
    ``refused``: it was asked for, and nothing was started. ``unread``: pipelines that could not be read while others
    were. ``pipeline_names``: of these, and of the ``rejected`` runs' pipelines.
    ``job_id`` is set while there is something to wait for, even when its progress cannot be read just now.
    """

    scope: SyncScope
    job: IngestionJob | None = None
    last: IngestionJob | None = None
    rejected: tuple[RejectedRun, ...] = ()
    unread: tuple[UnreadPipeline, ...] = ()
    pipeline_names: Mapping[UUID, str] = field(default_factory=dict)
    problem: str | None = None
    refused: bool = False
    job_id: str | None = None
    now: datetime = field(default_factory=lambda: datetime.now(UTC))


def panel_for_scope(scope: SyncScope) -> IngestPanel:
    """Read the panel of a page: the live ingestion that covers ``scope``, else the last one that did.

    The page shows without the queue too, so its absence is told in the panel and never raised.
    """
    try:
        # A Redis that hangs would keep the page for as long as a worker may wait for it.
        queue.ping(hastily=True)
        live = queue.find_live_job(scope=scope)
        if live is not None:
            return IngestPanel(scope=scope, job=live, job_id=live.id)
        return IngestPanel(scope=scope, last=queue.last_job(scope=scope))
    except Unavailable as err:
        return IngestPanel(scope=scope, problem=err.message)


def panel_for_job(job: IngestionJob) -> IngestPanel:
    """Read the panel of one ingestion, live or ended.

    Raises:
        Unavailable: the queue does not answer.
    """
    if job.state.is_live:
        return IngestPanel(scope=job.scope, job=job, job_id=job.id)
    try:
        rejected = queue.list_rejected(job_id=job.id, limit=REJECTED_SHOWN) if job.counts.rejected else []
        unread = queue.list_unread(job_id=job.id, limit=UNREAD_SHOWN) if job.pipelines_unread else []
    except NotFound:  # forgotten since it was read
        rejected, unread = [], []
    concerned = {run.pipeline_id for run in rejected if run.pipeline_id} | {one.pipeline_id for one in unread}
    names = naming.name_pipelines(pipeline_ids=concerned)
    return IngestPanel(scope=job.scope, job=job, rejected=tuple(rejected), unread=tuple(unread), pipeline_names=names)
