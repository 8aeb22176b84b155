"""Signs that ingestion goes on: of workers, of the schedule, and of each source.

``chm:signs`` holds when each last gave one; ``chm:source:<name>`` when all of a source was last asked for and last read
without an error, since when that is waited for, and the last error. All of it is read in one round trip, since every
page tells of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from redis import Redis
from redis.client import Pipeline

from chm_web.ingestion.progress import SyncScope
from chm_web.ingestion.queue.connection import needs_redis, state, text
from chm_web.ingestion.sources import Source

_SIGNS = "chm:signs"
WORKER, SCHEDULE, NEXT_CYCLE = "worker", "schedule", "next_cycle"
# A source that is configured no longer is forgotten after this.
_KEEP_SOURCE = timedelta(days=90)


@dataclass(frozen=True, kw_only=True)
class SourceSigns:
    """What is known of one source.

    ``asked_at``: when all of it was last asked for; ``last_success_at``: when all of it was last read without an error;
    ``awaited_since``: when that was first asked for after the last time. ``last_error`` may be of any reading of it,
    and older than the last success.
    """

    source: Source
    asked_at: datetime | None = None
    last_success_at: datetime | None = None
    awaited_since: datetime | None = None
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


def note_asked(connection: Redis | Pipeline, *, sources: Iterable[str]) -> None:
    """Note that all of these sources is now to be read."""
    for name in sources:
        connection.hsetnx(_source_key(name), "awaited_since", _now_text())
        connection.hset(_source_key(name), "asked_at", _now_text())
        connection.expire(_source_key(name), _KEEP_SOURCE)


def forget_source(connection: Redis | Pipeline, *, source: str) -> None:
    """Forget a source of which there is nothing to read: nothing is late that nobody waits for."""
    connection.delete(_source_key(source))


def note_error(redis: Redis, *, source: str, error: str) -> None:
    """Note why a source, or a part of it, could not be read."""
    redis.hset(_source_key(source), mapping={"last_error": error, "last_error_at": _now_text()})
    redis.expire(_source_key(source), _KEEP_SOURCE)


def note_read(redis: Redis, *, source: str, part_id: str, scope: SyncScope, error: str | None) -> None:
    """Note how the reading of a part has ended; with the last part of all of a source, that it was read."""
    key = _source_key(source)
    if error is not None:
        note_error(redis, source=source, error=error)
    elif not scope.is_narrowed and _has_read_all(redis, source, part_id):
        with redis.pipeline() as pipe:
            pipe.hset(key, "last_success_at", _now_text())
            pipe.hdel(key, "awaited_since")
            pipe.expire(key, _KEEP_SOURCE)
            pipe.execute()


def _has_read_all(redis: Redis, source: str, part_id: str) -> bool:
    """Whether all parts of the job that are this source's have ended without an error, and read something.

    Single pipelines that could not be read are no trouble of the source, unless all are. Each part's own end
    is written before it looks, so of parts that end at once the last one sees them all.
    """
    parts = json.loads(text(redis.hget(f"chm:job:{part_id.rpartition('-')[0]}", "parts")) or "[]")
    with redis.pipeline(transaction=False) as pipe:
        for part in parts:
            if part["source"] == source:
                pipe.hmget(f"chm:part:{part['id']}", "ended_at", "error", "pipelines_total", "pipelines_unread")
        ends = pipe.execute()
    if not all(ended_at and not error for ended_at, error, *_ in ends):
        return False
    pipelines, unread = (sum(int(end[place] or 0) for end in ends) for place in (2, 3))
    return bool(ends) and (unread < pipelines or not pipelines)


def _source_key(name: str) -> str:
    return f"chm:source:{name}"


def _source_signs(source: Source, raw: dict[bytes, bytes]) -> SourceSigns:
    return SourceSigns(
        source=source,
        asked_at=_moment(raw, "asked_at"),
        last_success_at=_moment(raw, "last_success_at"),
        awaited_since=_moment(raw, "awaited_since"),
        last_error=text(raw.get(b"last_error")) or None,
        last_error_at=_moment(raw, "last_error_at"),
    )


def _moment(raw: dict[bytes, bytes], name: str) -> datetime | None:
    value = text(raw.get(name.encode()))
    return datetime.fromisoformat(value) if value else None


def _now_text() -> str:
    return datetime.now(UTC).isoformat()
