"""The schedule: asks for an ingestion of everything every so often, by RQ's cron.

RQ's cron knows no leader: two schedulers ask twice. That does no harm, since a live ingestion is given back instead of
a second one. The sources of a cycle do not begin together, but each in its turn (``rhythm.turns_of``).
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta

from rq.cron import CronScheduler

from chm_web.extensions import db
from chm_web.ingestion.progress import SyncScope
from chm_web.ingestion.queue.asking import request_sync
from chm_web.ingestion.queue.connection import QUEUE_NAME, REDIS_AWAY, state
from chm_web.ingestion.queue.rhythm import is_early
from chm_web.ingestion.queue.signs import Signs, give_sign, read_signs
from chm_web.services.exceptions import ServiceError

log = logging.getLogger(__name__)

_CYCLE_TIMEOUT_SECONDS = 120


def request_cycle() -> None:
    """Ask for an ingestion of everything. Run by RQ in a forked work horse."""
    # Connections must not be shared across the fork.
    db.engine.dispose(close=False)
    try:
        scopes = due_scopes(read_signs(), now=datetime.now(UTC), every=_every())
    except ServiceError as err:
        # Nothing is lost: the next cycle reads all that this one would have.
        log.warning("no ingestion was started: %s", err)
        return
    for scope in scopes:
        _ask_for(scope)


def _ask_for(scope: SyncScope) -> None:
    try:
        job, is_new = request_sync(scope=scope)
    except ServiceError as err:
        # A source that cannot be asked for must not keep the others waiting.
        log.warning("no ingestion of %s was started: %s", scope.source or "everything", err)
    else:
        log.info("ingestion %s is %s", job.id, "asked for" if is_new else "still under way")


def due_scopes(signs: Signs, *, now: datetime, every: timedelta) -> list[SyncScope]:
    """Tell what a cycle asks for: everything, or, where a source is not due, each of the others.

    One job covers everything only if it does: whoever presses "Ingest now" meanwhile must not be given one that
    leaves a source out.
    """
    early = {one.source.name for one in signs.sources if is_early(one, now=now, every=every)}
    if not early:
        return [SyncScope()]
    return [
        SyncScope(source=one.source.name)
        for one in signs.sources
        if one.source.name not in early and not one.source.paused
    ]


def _every() -> timedelta:
    return timedelta(seconds=state().config.ingest_every_seconds)


class _Scheduler(CronScheduler):
    """RQ's scheduler, which tells the pages that it is there and when it asks next."""

    def heartbeat(self) -> None:
        """Give a sign of life."""
        super().heartbeat()
        [cycle] = self.get_jobs()
        now = datetime.now(UTC)
        give_sign(self.connection, schedule=now, next_cycle=cycle.next_enqueue_time or now)


def run_schedule() -> None:
    """Keep the schedule until SIGTERM or SIGINT. Needs the app's context. A Redis that goes away is waited for."""
    here = state()
    every = here.config.ingest_every_seconds
    while True:
        scheduler = _Scheduler(connection=here.redis)
        # A cycle that nobody took up by the time of the next one is not worth doing any more.
        scheduler.register(
            request_cycle, QUEUE_NAME, interval=every, ttl=every, job_timeout=_CYCLE_TIMEOUT_SECONDS, name="ingestion"
        )
        try:
            scheduler.start()  # type: ignore[no-untyped-call]
        except REDIS_AWAY as err:
            log.warning("Redis does not answer: %s", err)
            time.sleep(1)
        else:
            return
