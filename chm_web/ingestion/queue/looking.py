"""Looking after the queue: does Redis answer, does anybody work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rq import Worker

from chm_web.ingestion.queue.connection import needs_redis, rq_queue, state
from chm_web.services.exceptions import Unavailable

# Twice what a living worker needs to give its next sign.
WORKER_SILENT_AFTER = timedelta(seconds=90)


@needs_redis
def ping(*, hastily: bool = False) -> None:
    """Check that Redis answers; ``hastily``: at once, for a page that can do without.

    Raises:
        Unavailable: it does not.
    """
    (state().hasty_redis if hastily else state().redis).ping()


@needs_redis
def count_live_workers() -> int:
    """Count the workers that gave a sign of life within the last minute and a half.

    Raises:
        Unavailable: Redis does not answer.
    """
    alive_since = datetime.now(UTC) - WORKER_SILENT_AFTER
    workers = Worker.all(queue=rq_queue())
    return sum(1 for worker in workers if worker.last_heartbeat and worker.last_heartbeat >= alive_since)


def check_workers() -> None:
    """Check that somebody works on the queue.

    Raises:
        Unavailable: no worker is alive, or Redis does not answer.
    """
    if not count_live_workers():
        raise Unavailable("No worker is alive. Start one: chm worker")
