"""Counting how often somebody comes, in Redis for all processes together.

Without Redis each process counts by itself for a while: a limit that is less exact is better than no API.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, field

from limits import RateLimitItem
from limits.errors import StorageError
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter

log = logging.getLogger(__name__)

_WITHOUT_REDIS_SECONDS = 10.0


@dataclass
class Counter:
    """Counts hits by key against limits."""

    redis_url: str = field(repr=False)
    _shared: SlidingWindowCounterRateLimiter = field(init=False, repr=False)
    _alone: SlidingWindowCounterRateLimiter = field(init=False, repr=False)
    _alone_until: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        """Prepare both ways of counting; no connection is opened yet."""
        url = self.redis_url
        storage = storage_from_string(
            f"redis+{url}" if url.startswith("unix://") else url,
            key_prefix="chm:limit",
            wrap_exceptions=True,
            socket_connect_timeout=1,
            socket_timeout=1,
        )
        self._shared = SlidingWindowCounterRateLimiter(storage)
        self._alone = SlidingWindowCounterRateLimiter(MemoryStorage())

    def hit(self, limit: RateLimitItem, *key: str) -> int | None:
        """Count one hit. Gives None while ``limit`` allows it, else in how many seconds to come again."""
        if time.monotonic() >= self._alone_until:
            try:
                return _hit(self._shared, limit, key)
            except StorageError as err:
                log.warning("counting requests without Redis: %s", type(err.__cause__ or err).__name__)
                self._alone_until = time.monotonic() + _WITHOUT_REDIS_SECONDS
        return _hit(self._alone, limit, key)


def _hit(limiter: SlidingWindowCounterRateLimiter, limit: RateLimitItem, key: tuple[str, ...]) -> int | None:
    if limiter.hit(limit, *key):
        return None
    return max(1, math.ceil(limiter.get_window_stats(limit, *key).reset_time - time.time()))
