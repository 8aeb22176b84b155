"""The embedded servers while they run: what they give, and to whom."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text

from chm_web.embedded import EmbeddedError, Services, embedded_services
from tests.embedded.conftest import cache, read, write


@pytest.fixture(scope="module")
def running(template: Path) -> Iterator[tuple[Path, Services]]:
    """A data directory and the servers that run on it, for tests that change nothing."""
    directory = template.with_name("running")
    subprocess.run(["/bin/cp", "-a", str(template), str(directory)], check=True)
    with embedded_services(directory, durable=False) as services:
        yield directory, services


def test_both_urls_answer_from_a_path_with_a_space(running: tuple[Path, Services]) -> None:
    directory, services = running
    assert " " in str(directory)
    url = make_url(services.database_url)
    assert str(url.password) not in repr(services)
    engine = create_engine(url.set(drivername="postgresql+psycopg"))
    with engine.connect() as connection, cache(services) as store:
        assert connection.scalar(text("SELECT lower('Ü')")) == "ü"
        assert connection.scalar(text("SHOW server_encoding")) == "UTF8"
        assert connection.scalar(text("SHOW timezone")) == "UTC"
        assert connection.scalar(text("SHOW fsync")) == "off"
        assert store.ping()
    engine.dispose()


def test_the_database_role_may_make_databases_and_roles_and_is_no_superuser(
    running: tuple[Path, Services],
) -> None:
    with psycopg.connect(running[1].database_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE other")
        connection.execute("CREATE ROLE reader")
        connection.execute("CREATE TABLE in_public (id int)")
        row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
        assert row == (False,)


def test_nothing_listens_on_tcp_and_the_sockets_are_private(running: tuple[Path, Services]) -> None:
    directory, services = running
    with psycopg.connect(services.database_url) as connection, cache(services) as store:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        assert store.config_get("port") == {"port": "0"}
    run_dir = (directory / "run").resolve()
    assert [path.stat().st_mode & 0o777 for path in (run_dir / "postgres", run_dir / "redis")] == [0o700] * 2
    assert run_dir.stat().st_mode & 0o007 == 0
    assert (directory / "secrets").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("user", ["chm", "postgres"])
def test_nobody_signs_in_without_the_password(running: tuple[Path, Services], user: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        psycopg.connect(running[1].database_url, user=user, password="wrong")


def test_the_url_holds_whatever_port_the_shell_names(
    running: tuple[Path, Services], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "9999")
    with psycopg.connect(running[1].database_url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_second_launcher_is_refused_by_name(running: tuple[Path, Services]) -> None:
    directory, services = running
    refusal = f"in use by process {os.getpid()}: "
    with pytest.raises(EmbeddedError, match=refusal), embedded_services(directory):
        pass
    with cache(services) as store:
        assert store.ping()


def test_two_instances_run_side_by_side(running: tuple[Path, Services], used_dir: Path) -> None:
    first = running[1]
    with embedded_services(used_dir, durable=False) as second:
        write(second, "second")
        assert read(second) == (("second",), b"second")
        with psycopg.connect(first.database_url) as connection, cache(first) as store:
            assert connection.execute("SELECT value FROM kept").fetchone() == ("template",)
            assert store.get("kept") is None
