"""Places at a host: how many requests may be under way there at once, of all sources, shards and workers together.

A place is one of redis-py's locks, ``chm:lock:host:<host>:<number>``, held for the length of a request. It ends by
itself: a worker that is killed gives its places back.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from redis import Redis
from redis.exceptions import RedisError
from redis.lock import Lock

from chm_web.config import Config
from chm_web.ingestion.client import SHORT_WAIT_SECONDS, SourceBusy
from chm_web.ingestion.sources import Source

log = logging.getLogger(__name__)

_LOOK_EVERY_SECONDS = 0.05


class HostPlaces:
    """The places at one host, as one process takes them; its threads share this object."""

    def __init__(self, redis: Redis, host: str, *, count: int, hold_seconds: float) -> None:
        self._redis = redis
        self._host = host
        self._names = [f"chm:lock:host:{host}:{number}" for number in range(count)]
        self._hold_seconds = hold_seconds
        self._guard = threading.Lock()
        self._held = 0
        self._given_back_at = 0.0

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold a place for as long as the block takes, once one is free.

        Raises:
            SourceBusy: none is, and nothing of this process has been under way there for some seconds. Whoever has a
                request under way waits on: it comes on with fewer at once, and no worker idles.
        """
        place = self._wait_for_one()
        try:
            yield
        finally:
            self._give_back(place)

    def _wait_for_one(self) -> Lock:
        began = time.monotonic()
        while True:
            with self._guard:
                idle_since = None if self._held else max(began, self._given_back_at)
            place = self._take_free_one()
            if place is not None:
                return place
            if idle_since is not None and time.monotonic() - idle_since > SHORT_WAIT_SECONDS:
                raise SourceBusy(
                    f"As many requests as may be ({len(self._names)}) are under way at {self._host}.",
                    SHORT_WAIT_SECONDS,
                )
            time.sleep(random.uniform(0.5, 1.5) * _LOOK_EVERY_SECONDS)

    def _take_free_one(self) -> Lock | None:
        taken = self._redis.mget(self._names)
        free = [name for name, holder in zip(self._names, taken, strict=True) if holder is None]
        # By chance: who looks at the same moment had better not want the same one.
        for name in random.sample(free, len(free)):
            place: Lock = self._redis.lock(name, timeout=self._hold_seconds, thread_local=False)
            if place.acquire(blocking=False):
                with self._guard:
                    self._held += 1
                return place
        return None

    def _give_back(self, place: Lock) -> None:
        with self._guard:
            self._held -= 1
            self._given_back_at = time.monotonic()
        try:
            place.release()
        except RedisError as err:
            # Its time was over, or Redis is away or was emptied. The answer that came meanwhile is good all the same.
            log.warning("a place at %s was lost before its end (%s)", self._host, type(err).__name__)


def places_of(source: Source, *, redis: Redis, config: Config) -> HostPlaces:
    """Give the places at a source's host: the same for all sources there, whatever their ports and paths.

    The host is what the address names, not what that name stands for: one may stand for several machines.
    """
    host = urlsplit(source.base_url).hostname or source.base_url
    return HostPlaces(
        redis,
        # With a dot at its end it is the same name, said in full.
        host.removesuffix("."),
        count=config.http_max_requests_per_host,
        # Nearly every request has ended by then. One that has not counts no more, which is better than that a dead
        # worker's places stay taken for as long as an answer may trickle in.
        hold_seconds=config.http_connect_timeout_seconds + 2 * config.http_timeout_seconds,
    )
