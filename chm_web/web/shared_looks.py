"""Looks at the whole fleet, shared by all who look within some seconds: each costs the database a tenth of a second.

Staff keep the first page open all day, and each of them sees the same fleet. A look is taken anew after
``CHM_SHARED_LOOK_SECONDS``, at once after a change of clients, pipelines or rules, and when a page asks for it because
an ingestion has just ended. Whoever comes while a look is being taken waits for that one. Each process has its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Condition
from typing import Any, TypeVar

from cachetools import TTLCache, cached
from flask import Flask, current_app, request

from chm_web.config import Config
from chm_web.services.versions import inventory_version

T = TypeVar("T")

FRESH_HEADER = "X-CHM-Fresh"
_EXTENSION = "chm_shared_looks"
# Of more kinds of looks (moments of people's own) the ones asked for least lately are forgotten.
_MAX_LOOKS = 64


class Looks:
    """The looks of one app in this process."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._kept: TTLCache[Any, Any] = TTLCache(_MAX_LOOKS, seconds)
        self._changed = Condition()

        @cached(self._kept, key=lambda key, take: key, condition=self._changed)
        def look(key: Hashable, take: Callable[[], Any]) -> Any:
            return take()

        self.look = look

    def forget(self, key: Hashable) -> None:
        """Have the next one who asks for it take a look."""
        with self._changed:
            self._kept.pop(key, None)


def init_app(app: Flask) -> None:
    """Give ``app`` a place for its looks."""
    config: Config = app.config["CHM"]
    app.extensions[_EXTENSION] = Looks(config.shared_look_seconds)


def shared_look(key: tuple[Hashable, ...], take: Callable[[], T]) -> T:
    """Give what ``take`` gives, or gave some seconds ago for the same ``key``.

    What is given is shared: nobody may change it, and it holds nothing that belongs to a request or a session.
    """
    looks: Looks = current_app.extensions[_EXTENSION]
    if not looks.seconds:
        return take()
    whole_key = (key, inventory_version())
    if FRESH_HEADER in request.headers:
        looks.forget(whole_key)
    found: T = looks.look(whole_key, take)
    return found
