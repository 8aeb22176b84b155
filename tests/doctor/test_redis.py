"""``chm doctor`` on a Redis that is really broken, and on what stands in it."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

import pytest
from redis import Redis

from chm_web.ingestion.queue.signs import give_sign
from chm_web.services.diagnosis import Level
from tests.doctor.conftest import Environ, trouble
from tests.ingestion.conftest import wait_until


def test_a_redis_that_is_away(environ: Environ) -> None:
    environ["CHM_REDIS_URL"] = "redis://127.0.0.1:9"
    check, level, message = trouble(environ)
    assert (check, level) == ("redis", Level.FAIL)
    assert message.startswith("Redis cannot be used: ")


def test_a_redis_that_throws_things_away(environ: Environ, redis: Redis) -> None:
    redis.config_set("maxmemory-policy", "allkeys-lru")
    redis.config_set("maxmemory", "1gb")
    try:
        check, level, message = trouble(environ)
    finally:
        redis.config_set("maxmemory", "0")
        redis.config_set("maxmemory-policy", "noeviction")
    assert (check, level) == ("redis", Level.WARN)
    assert "allkeys-lru" in message


def test_a_redis_that_keeps_nothing(environ: Environ, redis: Redis) -> None:
    redis.config_set("save", "")
    assert trouble(environ)[2].startswith("Redis keeps nothing on disk")


def test_a_redis_that_is_a_replica(environ: Environ, redis: Redis) -> None:
    redis.slaveof("127.0.0.1", 9)
    try:
        check, level, message = trouble(environ)
    finally:
        redis.slaveof()
    assert (check, level, message) == ("redis", Level.FAIL, "This Redis is a replica.")


def test_a_redis_whose_password_is_another_one(environ: Environ, redis: Redis) -> None:
    redis.acl_setuser("chm", enabled=True, passwords=["+" + secrets.token_hex(8)], commands=["+@all"], keys=["*"])
    try:
        environ["CHM_REDIS_URL"] = _with_user(environ["CHM_REDIS_URL"], "chm", "not-this-one")
        check, level, message = trouble(environ)
    finally:
        redis.acl_deluser("chm")
    assert (check, level) == ("redis", Level.FAIL)
    assert message.startswith("Redis cannot be used: ")
    assert "not-this-one" not in message


def _with_user(url: str, name: str, password: str) -> str:
    if url.startswith("unix://"):
        return url.replace("unix://", f"unix://{name}:{password}@", 1)
    return url.replace("://", f"://{name}:{password}@", 1)


def test_a_redis_that_cannot_save(environ: Environ, redis: Redis) -> None:
    before = redis.config_get("dbfilename")["dbfilename"] or "dump.rdb"
    redis.set("chm:something", "to save")
    redis.config_set("dbfilename", "x" * 300)
    try:
        redis.bgsave()
        wait_until(lambda: redis.info("persistence")["rdb_last_bgsave_status"] != "ok")
        check, level, message = trouble(environ)
    finally:
        redis.config_set("dbfilename", before)
        redis.bgsave()
        wait_until(lambda: redis.info("persistence")["rdb_last_bgsave_status"] == "ok")
    assert (check, level, message) == ("redis", Level.FAIL, "Redis could not save its data.")


@pytest.mark.parametrize(
    ("silent", "said"), [("worker", "No worker is alive since "), ("schedule", "The schedule does not run since ")]
)
def test_somebody_who_fell_silent(environ: Environ, redis: Redis, silent: str, said: str) -> None:
    give_sign(redis, **{silent: datetime.now(UTC) - timedelta(minutes=10)})
    check, level, message = trouble(environ)
    assert (check, level) == ("ingestion", Level.FAIL)
    assert message.startswith(said)


def test_a_source_that_is_behind(environ: Environ, redis: Redis) -> None:
    read_at = datetime.now(UTC) - timedelta(hours=2)
    redis.hset("chm:source:partner", "last_success_at", read_at.isoformat())
    assert trouble(environ)[2].startswith("Ingestion of partner is behind since ")
