"""Forgetting how far sources have been read."""

from __future__ import annotations

from chm_web.ingestion.queue.connection import needs_redis, state


@needs_redis
def forget_reading() -> None:
    """Let every source be read from its beginning, for a database that does not hold all that was read.

    Raises:
        Unavailable: Redis does not answer.
    """
    redis = state().redis
    for pattern in ("chm:watermark:*", "chm:position:*"):
        for key in redis.scan_iter(match=pattern, count=1000):
            redis.delete(key)
