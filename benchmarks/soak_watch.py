"""Looks at the whole stack every few seconds: memory of each part, connections to PostgreSQL and Redis."""

from __future__ import annotations

import statistics
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import psycopg
from redis import Redis
from redis.exceptions import RedisError

from benchmarks.memory import children_of, resident
from benchmarks.soak_parts import Part

_EVERY_SECONDS = 2.0
_SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


class Watch:
    """Takes figures for the length of the block; what cannot be asked just then is left out."""

    def __init__(self, parts: Sequence[Part], *, database_url: str, redis_url: str) -> None:
        self._looks: dict[str, Callable[[], float]] = {
            **{f"memory, {part.name}, largest process, MiB": self._memory_of(part) for part in parts},
            "sessions of PostgreSQL": lambda: _count_sessions(database_url),
            "connections to Redis": lambda: _count_connections(redis_url),
        }
        self._samples: dict[str, list[float]] = defaultdict(list)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()

    def quarters(self) -> dict[str, tuple[float, float, float]]:
        """Give each figure's median in the first quarter and in the last, and its peak."""
        found = {}
        for name, samples in self._samples.items():
            quarter = max(1, len(samples) // 4)
            first, last = statistics.median(samples[:quarter]), statistics.median(samples[-quarter:])
            found[name] = (first, last, max(samples))
        return found

    def _watch(self) -> None:
        while not self._done.wait(_EVERY_SECONDS):
            for name, look in self._looks.items():
                with suppress(psycopg.Error, RedisError):
                    if (figure := look()) > 0:
                        self._samples[name].append(figure)

    @staticmethod
    def _memory_of(part: Part) -> Callable[[], float]:
        # Without what is shared: PostgreSQL's buffers would count once a session, and fill up as they should.
        def look() -> float:
            tree, left = [], [part.pid] if part.pid else []
            while left:
                tree.append(pid := left.pop())
                left += children_of(pid)
            # The largest alone: how many there are depends on what is under way.
            return max((resident(pid, "RssAnon") for pid in tree), default=0.0)

        return look


def _count_sessions(database_url: str) -> float:
    with psycopg.connect(database_url, connect_timeout=2, autocommit=True) as connection:
        row = connection.execute(_SESSIONS).fetchone()
    return float(row[0]) if row else 0.0


def _count_connections(redis_url: str) -> float:
    with Redis.from_url(redis_url, socket_timeout=2) as redis:
        # Our own is one of them.
        return float(redis.info("clients")["connected_clients"] - 1)
