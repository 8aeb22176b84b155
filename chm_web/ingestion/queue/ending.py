"""How the reading of a part ends: in the words of whoever read it or, where nobody is left to say any, in ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from redis import Redis
from rq.exceptions import AbandonedJobError
from rq.job import Job
from rq.timeouts import JobTimeoutException

from chm_web.ingestion.progress import SyncScope
from chm_web.ingestion.queue.connection import KEEP
from chm_web.ingestion.queue.rhythm import in_words
from chm_web.ingestion.queue.scopes import scope_of
from chm_web.ingestion.queue.signs import note_read

# How often a part is begun whose worker dies or fails in a way that nobody expects.
TRIES = 4
_GO_ON = "What was read is kept, and the next cycle goes on with the rest."


def end_part(redis: Redis, *, part_id: str, source: str, scope: SyncScope, error: str | None, answer: str = "") -> None:
    """Close the account of a part, and that of its source as well where this was its last part.

    ``answer``: whether the platform answered. Where nothing is told, what went wrong was not its doing: the error is
    shown, and the source is read as often as before.
    """
    key = f"chm:part:{part_id}"
    with redis.pipeline() as pipe:
        ended_at = datetime.now(UTC).isoformat()
        pipe.hset(key, mapping={"ended_at": ended_at, "error": error or "", "answer": answer})
        pipe.delete(f"{key}:done")
        pipe.expire(key, KEEP)
        pipe.execute()
    note_read(redis, source=source, part_id=part_id, scope=scope, error=error)


def note_broken_off(job: Job, error: type[BaseException] = AbandonedJobError, *details: Any) -> None:
    """Tell of a part that was broken off, if RQ does not try it again: nobody else would. An exception handler of RQ's.

    ``error``: what broke it off, its worker's death if nothing is told. One that had told its end keeps it.
    """
    part = job.kwargs
    if job.should_retry or "part_id" not in part or job.connection.hexists(f"chm:part:{part['part_id']}", "ended_at"):
        return
    end_part(
        job.connection,
        part_id=part["part_id"],
        source=part["source"],
        scope=scope_of(part["scope"]),
        error=_words(job, error),
    )


def _words(job: Job, error: type[BaseException]) -> str:
    last = f"the last of {TRIES} tries to read this source"
    if issubclass(error, AbandonedJobError):
        what = (
            f"The worker died in {last}: out of memory, killed, or its machine went down. Its log or the machine's "
            "says which."
        )
    elif issubclass(error, JobTimeoutException):
        longest = in_words(timedelta(seconds=int(job.timeout or 0)))
        what = f"In {last} it was broken off after {longest}, the longest it may take."
    else:
        what = f"An error that CHM did not expect ({error.__name__}) ended {last}. The worker's log has all of it."
    return f"{what} {_GO_ON}"
