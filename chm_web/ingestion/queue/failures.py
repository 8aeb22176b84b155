"""Brings a run's failure and the error text of its failed task together, whichever is reported first.

An orchestrator reports that a run has failed in one event and why in another, perhaps to another process. What came
first waits here for a day. Losing it costs the better text and nothing else.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from datetime import datetime, timedelta
from uuid import UUID

from redis.exceptions import RedisError

from chm_web.ingestion.queue.connection import state, text

log = logging.getLogger(__name__)

KEEP_FAILURES = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class RunKey:
    """A run as it is known here. ``finished_at``: when the attempt that failed did; the next one may have its id."""

    pipeline_id: UUID
    external_run_id: str
    finished_at: datetime | None = None


def match_failures(*, failed: Mapping[str, RunKey], texts: Iterable[tuple[str, str]]) -> list[tuple[RunKey, str]]:
    """Note failed runs and error texts, and give the pairs that have found each other.

    Args:
        failed: runs that have failed and are recorded so, by the producer's id.
        texts: pairs of a producer's id of a run, and the error text of a task in it; without secrets.

    Returns:
        Runs and the texts to add to them: of several texts of one run the longest, then the greatest, as the write
        rule has it. A pair may be given again. Nothing when Redis is away: that is no error for whoever reports.
    """
    texts = list(texts)
    waiting = dict.fromkeys([*failed, *(run_id for run_id, _ in texts)])
    if not waiting:
        return []
    try:
        # All in one transaction: of two processes that hold one half each, the later one sees both.
        with state().redis.pipeline() as pipe:
            for run_id, key in failed.items():
                pipe.set(_failed(run_id), json.dumps(astuple(key), default=str), ex=KEEP_FAILURES)
            for run_id, words in texts:
                # Members of one score are ordered bytewise: the last one is the one that the write rule would keep.
                pipe.zadd(_texts(run_id), {words: len(words)})
                pipe.zremrangebyrank(_texts(run_id), 0, -2)
                pipe.expire(_texts(run_id), KEEP_FAILURES)
            for run_id in waiting:
                pipe.get(_failed(run_id))
                pipe.zrange(_texts(run_id), -1, -1)
            found = pipe.execute()[-2 * len(waiting) :]
    except RedisError as err:
        log.warning("error texts of tasks are not kept, Redis does not answer: %s", type(err).__name__)
        return []
    return [
        (_run_key(key), text(words[0])) for key, words in zip(found[::2], found[1::2], strict=True) if key and words
    ]


def _failed(run_id: str) -> str:
    return f"chm:failed-run:{run_id}"


def _texts(run_id: str) -> str:
    return f"chm:failure-text:{run_id}"


def _run_key(value: bytes) -> RunKey:
    pipeline_id, external_run_id, finished_at = json.loads(value)
    return RunKey(UUID(pipeline_id), external_run_id, datetime.fromisoformat(finished_at) if finished_at else None)
