"""What is wrong with the Redis that the queue stands in."""

from __future__ import annotations

from typing import Any

from redis.exceptions import RedisError

from chm_web.ingestion.queue.connection import state
from chm_web.services.diagnosis import Finding, Level

OLDEST_REDIS = (6, 2)


def diagnose_redis() -> Finding:
    """Judge the configured Redis. Never raises: one that does not answer is a finding like the others."""
    try:
        facts: dict[str, Any] = state().redis.info()
    except RedisError as err:
        if str(err).startswith("MISCONF"):
            return _cannot_save()
        remedy = "Check that Redis runs and that CHM_REDIS_URL names its host, port and password."
        return _found(Level.FAIL, f"Redis cannot be used: {err}", remedy)
    version = facts["redis_version"]
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_REDIS:
        return _found(Level.FAIL, f"Redis {version} is too old.", "CHM needs Redis 6.2 or later.")
    if facts["role"] != "master":
        return _found(Level.FAIL, "This Redis is a replica.", "Point CHM_REDIS_URL at the primary server.")
    if facts["rdb_last_bgsave_status"] != "ok":
        return _cannot_save()
    return _judge_loss(facts)


def _cannot_save() -> Finding:
    remedy = "See its log; mostly its disk is full or not writable. Until then it may refuse writes."
    return _found(Level.FAIL, "Redis could not save its data.", remedy)


def _judge_loss(facts: dict[str, Any]) -> Finding:
    """What is lost costs a second reading, but nobody shall lose it without knowing."""
    policy = facts["maxmemory_policy"]
    if facts["maxmemory"] and policy != "noeviction":
        message = f"Redis throws things away when its memory is full ({policy}), jobs among them."
        return _found(Level.WARN, message, "Set maxmemory-policy noeviction, and let caches have a Redis of their own.")
    if not facts["aof_enabled"] and not _saves():
        message = "Redis keeps nothing on disk: after a restart all sources are read again from their beginning."
        return _found(Level.WARN, message, "Set appendonly yes.")
    return _found(Level.OK, f"Redis {facts['redis_version']}, {facts['used_memory_human']} in use.")


def _saves() -> bool:
    try:
        settings: dict[Any, Any] = state().redis.config_get("save")
    except RedisError:
        # Hosted servers let nobody ask, and keep what they are paid for.
        return True
    return bool(settings.get("save"))


def _found(level: Level, message: str, remedy: str = "") -> Finding:
    return Finding("redis", level, message, remedy)
