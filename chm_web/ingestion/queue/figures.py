"""Figures of the queue: how much waits, who works, and how long readings took.

``chm:durations`` counts, for each source and outcome, the readings that took no longer than each of some bounds, and
adds their seconds up. Redis may lose it: then counting begins anew.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from redis.client import Pipeline
from rq.registry import ScheduledJobRegistry, StartedJobRegistry

from chm_web.ingestion.queue.connection import needs_redis, rq_queue, state, text
from chm_web.ingestion.queue.looking import count_live_workers

_DURATIONS = "chm:durations"
_SUM, _BEYOND = "sum", "inf"
# Seconds: from a feed without news to a history of years.
BOUNDS = (1, 2, 5, 15, 30, 60, 300, 900, 3600, 21600)


@dataclass(frozen=True, kw_only=True)
class Durations:
    """How long the readings of a source took that ended in the same way.

    ``within``: how many took no longer than each of ``BOUNDS``, and in the end how many there were.
    """

    source: str
    outcome: str
    within: tuple[int, ...]
    total_seconds: float


@dataclass(frozen=True, kw_only=True)
class QueueFigures:
    """Parts of jobs that wait, that are worked on and that wait for a time; workers that are alive; durations."""

    queued: int
    started: int
    scheduled: int
    workers: int
    durations: tuple[Durations, ...]


def note_duration(connection: Pipeline, *, source: str, outcome: str, seconds: float) -> None:
    """Count a reading of a source that has ended."""
    bound = next((str(bound) for bound in BOUNDS if seconds <= bound), _BEYOND)
    connection.hincrby(_DURATIONS, f"{source}:{outcome}:{bound}", 1)
    connection.hincrbyfloat(_DURATIONS, f"{source}:{outcome}:{_SUM}", seconds)


@needs_redis
def read_queue_figures() -> QueueFigures:
    """Read all figures, in a few round trips.

    Raises:
        Unavailable: Redis does not answer.
    """
    queue = rq_queue()
    return QueueFigures(
        queued=queue.count,
        # Not to be tidied up on the way, which is one process's business at a time.
        started=StartedJobRegistry(queue=queue).get_job_count(cleanup=False),
        scheduled=ScheduledJobRegistry(queue=queue).get_job_count(cleanup=False),  # type: ignore[no-untyped-call]
        workers=count_live_workers(),
        durations=_read_durations(),
    )


def _read_durations() -> tuple[Durations, ...]:
    found: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for key, value in state().redis.hgetall(_DURATIONS).items():
        source, outcome, name = text(key).split(":")
        # Of a source that is configured no longer nothing is told.
        if source in state().sources:
            found[source, outcome][name] = float(value)
    return tuple(
        Durations(source=source, outcome=outcome, within=_cumulated(values), total_seconds=values.get(_SUM, 0.0))
        for (source, outcome), values in sorted(found.items())
    )


def _cumulated(values: dict[str, float]) -> tuple[int, ...]:
    within = []
    count = 0
    for bound in (*map(str, BOUNDS), _BEYOND):
        count += int(values.get(bound, 0))
        within.append(count)
    return tuple(within)
