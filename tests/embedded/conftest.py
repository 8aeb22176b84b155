"""Data directories of the embedded servers, and what is kept in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from chm_web.embedded import Services, accounts, embedded_services
from chm_web.embedded.processes import find_servers, read_pid

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="about running as root")


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory that PostgreSQL's account can enter, which pytest's own is not, with a space in its name."""
    directory = Path(tempfile.mkdtemp(prefix="embedded test "))
    directory.chmod(0o755)
    monkeypatch.setattr(accounts, "SYSTEM_DIR", directory / "system")
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def data_dir(base: Path) -> Path:
    return base / "data"


@pytest.fixture(scope="session")
def template() -> Iterator[Path]:
    """A data directory with both servers' data, made once: the first start is the slow one."""
    directory = Path(tempfile.mkdtemp(prefix="embedded template "))
    directory.chmod(0o755)
    with embedded_services(directory / "data", durable=False) as services:
        write(services, "template")
    yield directory / "data"
    shutil.rmtree(directory)


@pytest.fixture
def used_dir(template: Path, data_dir: Path) -> Path:
    """A data directory of its own in which there was a run before."""
    subprocess.run(["/bin/cp", "-a", str(template), str(data_dir)], check=True)
    return data_dir


def servers(data_dir: Path) -> list[int]:
    cluster = (data_dir / "postgres").resolve()
    postgres_pid, redis_pid = read_pid(cluster / "postmaster.pid"), read_pid(data_dir / "redis" / "redis.pid")
    return [
        *find_servers("postgres", cluster, pid=postgres_pid, marker=str(cluster)),
        *find_servers("redis-server", data_dir / "redis", pid=redis_pid, marker="redis-server"),
    ]


def cache(services: Services) -> redis.Redis:
    return redis.Redis.from_url(services.redis_url)


def write(services: Services, value: str) -> None:
    with psycopg.connect(services.database_url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value text)")
        connection.execute("DELETE FROM kept")
        connection.execute("INSERT INTO kept VALUES (%s)", (value,))
    with cache(services) as store:
        store.set("kept", value)


def read(services: Services) -> tuple[object, object]:
    with psycopg.connect(services.database_url) as connection, cache(services) as store:
        return connection.execute("SELECT value FROM kept").fetchone(), store.get("kept")
