"""How far feeds have been read, in Redis: losing it costs a second reading, nothing else."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from uuid import UUID

from redis import Redis

from chm_web.ingestion.job import Position
from chm_web.ingestion.queue.connection import text

# A cursor is trusted for as long as platforms ask for pauses, with room; after that it is safer to start over.
KEEP_POSITION = timedelta(hours=2)


class RedisWatermarks:
    """A source's watermarks, open positions and times of reading further back. What cannot be read counts as none."""

    def __init__(self, redis: Redis, source: str) -> None:
        self._redis = redis
        self._key = f"chm:watermark:{source}"
        self._positions = f"chm:position:{source}"
        self._deep = f"chm:deep:{source}"
        self._known = f"chm:known:{source}"

    def get(self, pipeline_id: UUID) -> datetime | None:
        """The time to ask from."""
        return self._moment(self._key, pipeline_id)

    def deep_at(self, pipeline_id: UUID) -> datetime | None:
        """When it was last read further back."""
        return self._moment(self._deep, pipeline_id)

    def set_deep(self, pipeline_id: UUID, moment: datetime) -> None:
        """Remember that it was."""
        self._redis.hset(self._deep, str(pipeline_id), moment.isoformat())

    def _moment(self, key: str, pipeline_id: UUID) -> datetime | None:
        value = text(self._redis.hget(key, str(pipeline_id)))
        try:
            return datetime.fromisoformat(value) if value else None
        except ValueError:
            return None

    def set(self, pipeline_id: UUID, moment: datetime) -> None:
        """Remember the time to ask from; the position is done with."""
        with self._redis.pipeline() as pipe:
            pipe.hset(self._key, str(pipeline_id), moment.isoformat())
            pipe.hdel(self._positions, str(pipeline_id))
            pipe.execute()

    def position(self, pipeline_id: UUID) -> Position | None:
        """Where a reading was broken off, unless it began so long ago that its cursor will be worth nothing."""
        value = text(self._redis.hget(self._positions, str(pipeline_id)))
        try:
            since, cursor, asked_at = json.loads(value or "[]")
            position = Position(
                datetime.fromisoformat(since) if since else None, cursor, datetime.fromisoformat(asked_at)
            )
        except (ValueError, TypeError):
            return None
        return position if datetime.now(UTC) - position.asked_at < KEEP_POSITION else None

    def keep_position(self, pipeline_id: UUID, position: Position | None) -> None:
        """Remember or forget where to go on."""
        if position is None:
            self._redis.hdel(self._positions, str(pipeline_id))
            return
        since = position.since.isoformat() if position.since else None
        value = json.dumps([since, position.cursor, position.asked_at.isoformat()])
        self._redis.hset(self._positions, str(pipeline_id), value)

    def known(self) -> frozenset[UUID]:
        """The pipelines that the feed was read for."""
        return frozenset(UUID(text(raw)) for raw in self._redis.smembers(self._known))

    def add_known(self, pipeline_id: UUID) -> None:
        """Remember this one as well."""
        self._redis.sadd(self._known, str(pipeline_id))

    def set_known(self, pipeline_ids: Collection[UUID]) -> None:
        """Remember these, in place of those before."""
        with self._redis.pipeline() as pipe:
            pipe.delete(self._known)
            if pipeline_ids:
                pipe.sadd(self._known, *map(str, pipeline_ids))
            pipe.execute()
