"""The connection to Redis, and what an app's ingestion is configured with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from flask import Flask, current_app
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry as RedisRetry
from rq import Queue

from chm_web.config import Config
from chm_web.ingestion.sources import Source
from chm_web.ingestion.sources_config import sources_of
from chm_web.services.exceptions import Unavailable
from chm_web.services.redaction import remember_secret

P = ParamSpec("P")
R = TypeVar("R")

QUEUE_NAME = "chm-ingestion"
KEEP = timedelta(days=7)
# How long a page waits for what it can do without.
HASTE_SECONDS = 0.25
REDIS_AWAY = (RedisConnectionError, RedisTimeoutError)


@dataclass(frozen=True)
class State:
    """What ``init_app`` leaves with the app. ``hasty_redis``: the same server, for what pages ask by the way."""

    redis: Redis
    hasty_redis: Redis
    config: Config
    sources: dict[str, Source]


def init_app(app: Flask) -> None:
    """Bind the app to the configured Redis and sources. No connection is opened yet: workers fork.

    Raises:
        ConfigError: the sources' configuration cannot work.
    """
    config: Config = app.config["CHM"]
    redis = Redis.from_url(
        config.redis_url,
        socket_connect_timeout=2,
        socket_timeout=5,
        # Whoever waits for a page shall be told at once that Redis is away.
        retry=RedisRetry(NoBackoff(), 1),
        health_check_interval=30,
    )
    hasty_redis = Redis.from_url(
        config.redis_url,
        socket_connect_timeout=HASTE_SECONDS,
        socket_timeout=HASTE_SECONDS,
        retry=RedisRetry(NoBackoff(), 0),
    )
    sources = {source.name: source for source in sources_of(config)}
    for source in sources.values():
        for secret in source.secrets:
            remember_secret(secret)
    app.extensions["chm_queue"] = State(redis, hasty_redis, config, sources)


def state() -> State:
    """Give the current app's connection and configuration."""
    found: State = current_app.extensions["chm_queue"]
    return found


def list_sources() -> list[Source]:
    """List the configured sources, paused ones included."""
    return list(state().sources.values())


def rq_queue() -> Queue:
    """Give the RQ queue of ingestion jobs."""
    return Queue(QUEUE_NAME, connection=state().redis)


def needs_redis(function: Callable[P, R]) -> Callable[P, R]:
    """Say in the domain's words that Redis does not answer."""

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except REDIS_AWAY as err:
            raise Unavailable("The job queue (Redis) does not answer. Try again in a moment.") from err

    return wrapped


def text(value: Any) -> str:
    """Give what Redis answered as text; nothing is the empty text."""
    return value.decode() if isinstance(value, bytes) else ""
