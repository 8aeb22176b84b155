"""``chm doctor`` on an installation that is well, and on others that are really broken, each in one way."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from flask import Flask
from redis import Redis

from chm_web.access.permissions import Role
from chm_web.access.users import UserFile
from chm_web.commands.doctor import doctor, examine
from chm_web.commands.doctor_files import FREE_MUST, FREE_SHOULD, judge_space
from chm_web.ingestion.queue.signs import give_sign
from chm_web.services.diagnosis import Finding, Level, judge_clock
from tests.conftest import new_database

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


def test_where_all_is_well_every_check_says_so(environ: Environ) -> None:
    checks = [found.check for found in examine(environ)]

    assert troubles(environ) == []
    told = ["configuration", "database", "rights", "clock", "migrations", "redis", "ingestion"]
    assert checks == [*told, "users", "tokens", "secrets", "disk"]


# -- configuration ------------------------------------------------------------------------------------------------


def test_a_variable_that_is_missing(environ: Environ) -> None:
    del environ["CHM_SECRET_KEY"]
    check, level, message = trouble(environ)
    assert (check, level) == ("configuration", Level.FAIL)
    assert message.startswith("CHM_SECRET_KEY is not set.")


def test_a_platform_that_there_is_not(environ: Environ) -> None:
    environ["CHM_PARTNER_API_PLATFORMS"] = "abacus"
    assert trouble(environ)[2].startswith("CHM_PARTNER_API_PLATFORMS: 'abacus'")


def test_passwords_that_travel_openly(environ: Environ) -> None:
    environ["CHM_ALLOWED_HOSTS"] = "chm.example"
    check, level, message = trouble(environ)
    assert (check, level) == ("configuration", Level.WARN)
    assert message.startswith("CHM is reached as chm.example without TLS")


def test_no_source(environ: Environ) -> None:
    del environ["CHM_PARTNER_API_BASE_URL"]
    assert trouble(environ)[:2] == ("ingestion", Level.WARN)


# -- the database -------------------------------------------------------------------------------------------------


def test_a_database_that_is_away(environ: Environ) -> None:
    environ["CHM_DATABASE_URL"] = "postgresql://chm:hunter2@127.0.0.1:9/chm"
    check, level, message = trouble(environ)
    assert (check, level) == ("database", Level.FAIL)
    assert message.startswith("The database cannot be used: ")
    assert "hunter2" not in message


def test_a_wrong_password_of_the_database(environ: Environ) -> None:
    url = sa.make_url(environ["CHM_DATABASE_URL"]).set(password="not-this-one")
    environ["CHM_DATABASE_URL"] = url.render_as_string(hide_password=False)
    with suppress(psycopg.OperationalError):
        psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False)).close()
        pytest.skip("this server asks for no password")

    assert "password authentication failed" in trouble(environ)[2]


def test_a_database_that_is_not_there(environ: Environ) -> None:
    url = sa.make_url(environ["CHM_DATABASE_URL"]).set(database="nowhere")
    environ["CHM_DATABASE_URL"] = url.render_as_string(hide_password=False)
    assert 'database "nowhere" does not exist' in trouble(environ)[2]


@contextmanager
def server(environ: Environ) -> Iterator[sa.Connection]:
    """A connection on which databases and roles can be made."""
    engine = sa.create_engine(environ["CHM_DATABASE_URL"], isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        yield connection


def test_a_database_in_no_encoding(environ: Environ) -> None:
    name = f"chm_test_{secrets.token_hex(4)}"
    with server(environ) as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'"))
        try:
            url = sa.make_url(environ["CHM_DATABASE_URL"]).set(database=name)
            check, level, message = trouble({**environ, "CHM_DATABASE_URL": url.render_as_string(hide_password=False)})
        finally:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    assert (check, level) == ("database", Level.FAIL)
    assert message == f"The database {name} is in SQL_ASCII, which cannot hold every name."


def test_a_database_that_takes_no_writes(environ: Environ) -> None:
    with new_database(environ["CHM_DATABASE_URL"]) as url, server(environ) as connection:
        name = sa.make_url(url).database
        connection.execute(sa.text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
        found = troubles({**environ, "CHM_DATABASE_URL": url})
    assert [(one.check, one.level) for one in found] == [("database", Level.FAIL)]
    assert "takes no writes" in found[0].message


def test_a_database_that_was_never_migrated(environ: Environ) -> None:
    with new_database(environ["CHM_DATABASE_URL"]) as url:
        check, level, message = trouble({**environ, "CHM_DATABASE_URL": url})
    assert (check, level) == ("migrations", Level.FAIL)
    assert message.startswith("The schema is at nothing, not at ")


@pytest.fixture
def stranger(environ: Environ) -> Iterator[str]:
    """The URL of CHM's database for a role that may enter and no more."""
    role, password = f"stranger_{secrets.token_hex(4)}", secrets.token_hex(12)
    url = sa.make_url(environ["CHM_DATABASE_URL"])
    with server(environ) as connection:
        connection.execute(sa.text(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'"))
        yield url.set(username=role, password=password).render_as_string(hide_password=False)
        connection.execute(sa.text(f"DROP ROLE {role}"))


def test_a_role_without_rights_to_the_tables(environ: Environ, stranger: str) -> None:
    check, level, message = trouble({**environ, "CHM_DATABASE_URL": stranger})
    assert (check, level) == ("rights", Level.FAIL)
    assert message.endswith("may not read and write alert_rules, clients, pipelines, runs.")


@pytest.mark.parametrize(
    ("seconds", "level"), [(0, Level.OK), (-9, Level.OK), (60, Level.WARN), (-60, Level.WARN), (-600, Level.FAIL)]
)
def test_clocks_that_differ(seconds: int, level: Level) -> None:
    now = datetime(2026, 11, 1, 12, tzinfo=UTC)
    found = judge_clock(now + timedelta(seconds=seconds), now=now)
    assert found.level is level
    assert (level is Level.OK) or f"{abs(seconds)} s {'ahead of' if seconds > 0 else 'behind'}" in found.message


# -- Redis and what stands in it ----------------------------------------------------------------------------------


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


# -- files --------------------------------------------------------------------------------------------------------


def test_users_that_others_may_read(environ: Environ) -> None:
    Path(environ["CHM_USERS_FILE"]).chmod(0o644)
    assert trouble(environ)[:2] == ("users", Level.WARN)


@pytest.mark.parametrize("variable", ["CHM_USERS_FILE", "CHM_TOKENS_FILE"])
def test_a_damaged_file_of_credentials(environ: Environ, variable: str) -> None:
    Path(environ[variable]).write_text('{"entries": {"mi')
    _, level, message = trouble(environ)
    assert level is Level.FAIL
    assert message.endswith("is damaged.")


def test_nobody_who_could_sign_in(environ: Environ) -> None:
    Path(environ["CHM_USERS_FILE"]).unlink()
    assert trouble(environ) == ("users", Level.WARN, "Nobody can sign in yet.")


def test_a_secret_that_everybody_may_read(environ: Environ, tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text(environ.pop("CHM_SECRET_KEY"))
    secret.chmod(0o644)
    environ["CHM_SECRET_KEY_FILE"] = str(secret)
    check, level, message = trouble(environ)
    assert (check, level) == ("secrets", Level.WARN)
    assert message == f"Everybody on this machine may read CHM_SECRET_KEY_FILE ({secret})."


def test_the_space_is_that_of_the_disk_where_chm_writes(environ: Environ, tmp_path: Path) -> None:
    told = next(found for found in examine(environ) if found.check == "disk")
    assert told.message.endswith(f"GiB are free at {tmp_path}.")
    assert shutil.disk_usage(tmp_path).free > 0


@pytest.mark.parametrize(
    ("free", "level"),
    [(FREE_SHOULD, Level.OK), (FREE_SHOULD - 1, Level.WARN), (FREE_MUST, Level.WARN), (FREE_MUST - 1, Level.FAIL)],
)
def test_a_disk_that_fills(tmp_path: Path, free: int, level: Level) -> None:
    assert judge_space(tmp_path, free=free).level is level


# -- the command --------------------------------------------------------------------------------------------------


def run(environ: Environ, *arguments: str) -> Result:
    """Run ``chm doctor`` in this environment alone."""
    nothing: dict[str, str | None] = {name: None for name in os.environ if name.startswith("CHM_")}
    return CliRunner().invoke(doctor, arguments, env={**nothing, **environ})


def test_warnings_alone_end_with_0(environ: Environ) -> None:
    environ["CHM_ALLOWED_HOSTS"] = "chm.example"
    result = run(environ)
    assert result.exit_code == 0
    assert result.stdout.startswith("warn  configuration  CHM is reached as chm.example")


def test_a_failure_ends_with_1_and_says_what_to_do(environ: Environ) -> None:
    environ["CHM_REDIS_URL"] = "redis://127.0.0.1:9"
    result = run(environ)
    assert result.exit_code == 1
    assert "\nfail  redis          Redis cannot be used: " in result.stdout
    assert "Check that Redis runs" in result.stdout


def test_programs_get_json(environ: Environ) -> None:
    well = json.loads(run(environ, "--json").stdout)
    assert well["ok"] is True
    assert well["checks"][0] == {
        "check": "configuration",
        "level": "ok",
        "message": "All CHM_* variables can be read.",
        "remedy": "",
    }
    del environ["CHM_SECRET_KEY"]
    assert json.loads(run(environ, "--json").stdout)["ok"] is False
