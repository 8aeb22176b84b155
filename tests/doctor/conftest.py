"""An installation that is well, for tests to break in one way each."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import Flask
from redis import Redis

from chm_web.access.permissions import Role
from chm_web.access.users import UserFile
from chm_web.commands.doctor import examine
from chm_web.ingestion.queue.signs import give_sign
from chm_web.services.diagnosis import Finding, Level

Environ = dict[str, str]


@pytest.fixture
def redis(base_app: Flask) -> Iterator[Redis]:
    """A Redis that keeps its data on disk, with a living worker and schedule; as it was afterwards."""
    redis = Redis.from_url(base_app.config["CHM"].redis_url)
    redis.flushdb()
    before = redis.config_get("save")["save"] or ""
    redis.config_set("save", "3600 1")
    give_sign(redis, worker=datetime.now(UTC), schedule=datetime.now(UTC))
    yield redis
    redis.flushdb()
    redis.config_set("save", before)


@pytest.fixture
def environ(base_app: Flask, redis: Redis, tmp_path: Path) -> Environ:
    """The environment of an installation in which all is well."""
    users = UserFile(tmp_path / "users.json")
    users.add(name="mira", role=Role.ADMIN, password=secrets.token_hex(12))
    config = base_app.config["CHM"]
    return {
        "CHM_DATABASE_URL": config.database_url,
        "CHM_REDIS_URL": config.redis_url,
        "CHM_SECRET_KEY": secrets.token_hex(32),
        "CHM_USERS_FILE": str(users.path),
        "CHM_TOKENS_FILE": str(tmp_path / "tokens.json"),
        "CHM_PARTNER_API_BASE_URL": "http://127.0.0.1:9/api",
    }


def troubles(environ: Environ) -> list[Finding]:
    """What is not well, but for the space on the disk of whoever runs the tests."""
    return [found for found in examine(environ) if found.level is not Level.OK and found.check != "disk"]


def trouble(environ: Environ) -> tuple[str, Level, str]:
    """The one thing that is not well: check, level, message. It says what to do as well."""
    [found] = troubles(environ)
    assert found.remedy
    return found.check, found.level, found.message
