"""Signs that ingestion goes on: of workers, of the schedule, and of each source.

``chm:signs`` holds when each last gave one; ``chm:source:<name>`` when all of a source was last asked for, when its
turn was then and when it was last read without an error, since when that is waited for, what the last reading of it
brought, how often in a row it has failed, and the last error. All of it is read in one round trip, since every page
tells of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from redis import Redis
from redis.client import Pipeline

from chm_web.ingestion.progress import Counts, JobState, SyncScope
from chm_web.ingestion.queue.connection import KEEP, needs_redis, state, text
from chm_web.ingestion.queue.figures import note_duration
from chm_web.ingestion.sources import Source

_SIGNS = "chm:signs"
# Whether a platform answered a part: fully or not, or not at all. Of what was not its doing nothing is said.
ANSWERED, SILENT = "yes", "no"
_COUNTS = tuple(field.name.encode() for field in fields(Counts))
WORKER, SCHEDULE, NEXT_CYCLE = "worker", "schedule", "next_cycle"
# A source that is configured no longer is forgotten after this.
_KEEP_SOURCE = timedelta(days=90)


@dataclass(frozen=True, kw_only=True)
class SourceSigns:
    """What is known of one source.

    ``asked_at``: when all of it was last asked for; ``begins_at``: when its turn was then; ``last_success_at``: when
    all of it was last read without an error; ``awaited_since``: when that was first asked for after the last time.
    ``counts``: of the last reading of all of it. ``failures``: how many cycles of the schedule it has let down in a
    row. ``last_error`` may be of any reading of it, and older than the last success.
    """

    source: Source
    asked_at: datetime | None = None
    begins_at: datetime | None = None
    last_success_at: datetime | None = None
    awaited_since: datetime | None = None
    counts: Counts | None = None
    failures: int = 0
    last_error: str | None = None
    last_error_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Signs:
    """When a worker and the schedule last gave a sign of life, what the schedule does next, and each source."""

    worker_at: datetime | None = None
    schedule_at: datetime | None = None
    next_cycle_at: datetime | None = None
    sources: tuple[SourceSigns, ...] = ()


@needs_redis
def read_signs() -> Signs:
    """Read all signs in one round trip, with little patience: pages wait for it. Without a source there is nothing to.

    Raises:
        Unavailable: Redis does not answer at once.
    """
    here = state()
    sources = list(here.sources.values())
    if not sources:
        return Signs()
    with here.hasty_redis.pipeline(transaction=False) as pipe:
        pipe.hgetall(_SIGNS)
        for source in sources:
            pipe.hgetall(_source_key(source.name))
        signs, *found = pipe.execute()
    return Signs(
        worker_at=_moment(signs, WORKER),
        schedule_at=_moment(signs, SCHEDULE),
        next_cycle_at=_moment(signs, NEXT_CYCLE),
        sources=tuple(_source_signs(source, raw) for source, raw in zip(sources, found, strict=True)),
    )


def give_sign(connection: Redis | Pipeline, **moments: datetime) -> None:
    """Note that somebody is alive, or what they will do when; ``moments`` by name."""
    connection.hset(_SIGNS, mapping={name: moment.isoformat() for name, moment in moments.items()})


def note_asked(connection: Redis | Pipeline, *, begins_at: Mapping[str, datetime]) -> None:
    """Note that all of these sources is asked for now, and when its turn is."""
    for name, moment in begins_at.items():
        connection.hsetnx(_source_key(name), "awaited_since", _now_text())
        connection.hset(_source_key(name), "asked_at", _now_text())
        note_turn(connection, source=name, begins_at=moment)
        connection.expire(_source_key(name), _KEEP_SOURCE)


def note_turn(connection: Redis | Pipeline, *, source: str, begins_at: datetime) -> None:
    """Note when the turn of a source is that was asked for."""
    connection.hset(_source_key(source), "begins_at", begins_at.isoformat())


def forget_source(connection: Redis | Pipeline, *, source: str) -> None:
    """Forget a source of which there is nothing to read: nothing is late that nobody waits for."""
    connection.delete(_source_key(source))


def note_error(redis: Redis, *, source: str, error: str) -> None:
    """Note why a source, or a part of it, could not be read."""
    redis.hset(_source_key(source), mapping={"last_error": error, "last_error_at": _now_text()})
    redis.expire(_source_key(source), _KEEP_SOURCE)


def note_read(redis: Redis, *, source: str, part_id: str, scope: SyncScope, error: str | None) -> None:
    """Note how the reading of a part has ended; with the last part of all of a source, how that of the source has."""
    if error is not None:
        note_error(redis, source=source, error=error)
    job_id = part_id.rpartition("-")[0]
    parts, requested_by = redis.hmget(f"chm:job:{job_id}", "parts", "requested_by")
    ends = _ends_of(redis, source, json.loads(text(parts) or "[]"))
    if not ends or not all(end.get(b"ended_at") for end in ends):
        return
    # Once a job, though several parts may see its end.
    is_first = bool(redis.set(f"chm:ended:{job_id}:{source}", "1", nx=True, ex=KEEP))
    with redis.pipeline() as pipe:
        if is_first:
            _count_duration(pipe, source, ends)
        if not scope.is_narrowed:
            _note_whole(pipe, source, ends, counts_failure=is_first and not requested_by)
        pipe.execute()


def _note_whole(pipe: Pipeline, source: str, ends: Sequence[dict[bytes, bytes]], *, counts_failure: bool) -> None:
    """Note how all of a source was read. Whoever presses a button does not make it slower."""
    key = _source_key(source)
    pipe.hset(key, "counts", json.dumps([sum(int(end.get(name, 0)) for end in ends) for name in _COUNTS]))
    if not any(end.get(b"error") for end in ends) and _read_something(ends):
        pipe.hset(key, "last_success_at", _now_text())
        pipe.hdel(key, "awaited_since")
    answers = {text(end.get(b"answer")) for end in ends}
    if answers == {ANSWERED}:
        pipe.hdel(key, "failures")
    elif SILENT in answers and counts_failure:
        pipe.hincrby(key, "failures", 1)
    pipe.expire(key, _KEEP_SOURCE)


def _read_something(ends: Sequence[dict[bytes, bytes]]) -> bool:
    """Whether something was read, or nothing was to be: that single pipelines are not is no trouble of a source."""
    pipelines, unread = (
        sum(int(end.get(name, 0)) for end in ends) for name in (b"pipelines_total", b"pipelines_unread")
    )
    return unread < pipelines or not pipelines


def _count_duration(pipe: Pipeline, source: str, ends: Sequence[dict[bytes, bytes]]) -> None:
    began = [moment for end in ends if (moment := _moment(end, "started_at"))]
    ended = [moment for end in ends if (moment := _moment(end, "ended_at"))]
    has_failed = any(end.get(b"error") for end in ends) or not _read_something(ends)
    outcome = JobState.FAILED if has_failed else JobState.FINISHED
    if began:
        seconds = (max(ended) - min(began)).total_seconds()
        note_duration(pipe, source=source, outcome=outcome, seconds=max(0.0, seconds))


def _ends_of(redis: Redis, source: str, parts: Iterable[dict[str, Any]]) -> list[dict[bytes, bytes]]:
    """Give what is written of the parts of a job that are this source's.

    Each part's own end is written before it looks, so of parts that end at once the last one sees them all.
    """
    with redis.pipeline(transaction=False) as pipe:
        for part in parts:
            if part["source"] == source:
                pipe.hgetall(f"chm:part:{part['id']}")
        return list(pipe.execute())


def _source_key(name: str) -> str:
    return f"chm:source:{name}"


def _source_signs(source: Source, raw: dict[bytes, bytes]) -> SourceSigns:
    return SourceSigns(
        source=source,
        asked_at=_moment(raw, "asked_at"),
        begins_at=_moment(raw, "begins_at"),
        last_success_at=_moment(raw, "last_success_at"),
        awaited_since=_moment(raw, "awaited_since"),
        counts=Counts(*json.loads(raw[b"counts"])) if b"counts" in raw else None,
        failures=int(raw.get(b"failures", 0)),
        last_error=text(raw.get(b"last_error")) or None,
        last_error_at=_moment(raw, "last_error_at"),
    )


def _moment(raw: dict[bytes, bytes], name: str) -> datetime | None:
    value = text(raw.get(name.encode()))
    return datetime.fromisoformat(value) if value else None


def _now_text() -> str:
    return datetime.now(UTC).isoformat()
