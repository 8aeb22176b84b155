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

import flask_migrate
import psycopg
import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from flask import Flask
from redis import Redis

from chm_web import create_app
from chm_web.access.permissions import Role, Scope
from chm_web.access.tokens import TokenFile
from chm_web.access.users import UserFile
from chm_web.commands.doctor import doctor, examine
from chm_web.commands.doctor_files import FREE_MUST, FREE_SHOULD, judge_space
from chm_web.config import Config
from chm_web.extensions import db
from chm_web.ingestion.queue.signs import give_sign
from chm_web.services.diagnosis import Finding, Level, judge_clock
from tests.conftest import new_database
from tests.ingestion.conftest import wait_until

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


@pytest.fixture
def sources(environ: Environ, tmp_path: Path) -> Path:
    """A file of sources in place of the one partner."""
    del environ["CHM_PARTNER_API_BASE_URL"]
    environ["CHM_SOURCES_FILE"] = str(tmp_path / "sources.toml")
    return tmp_path / "sources.toml"


def test_sources_of_a_file_are_sources(environ: Environ, sources: Path) -> None:
    sources.write_text('[sources.vendor]\nkind = "partner"\nbase_url = "http://127.0.0.1:9"\n')
    assert troubles(environ) == []


def test_a_sources_secret_that_everybody_may_read(environ: Environ, sources: Path) -> None:
    sources.write_text('[sources.v]\nkind = "partner"\nbase_url = "http://127.0.0.1:9"\ntoken = "file:token"\n')
    token = sources.with_name("token")
    token.write_text(secrets.token_hex(16))
    token.chmod(0o604)
    assert trouble(environ) == ("secrets", Level.WARN, f"Everybody on this machine may read {token}.")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "CHM_SOURCES_FILE: cannot read "),
        ("[sources.vendor", "sources.toml is not TOML: "),
        ('[sources.vendor]\nkind = "partnr"\nbase_url = "http://x"', "sources.vendor.kind: must be one of: "),
        (
            '[sources.vendor]\nkind = "partner"\nbase_url = "http://x"\ntoken = "env:NO_SUCH_TOKEN"',
            "sources.vendor.token: the environment variable NO_SUCH_TOKEN is empty.",
        ),
        (
            '[sources.vendor]\nkind = "partner"\nbase_url = "http://x"\ntoken = "file:gone"',
            "sources.vendor.token: cannot read ",
        ),
    ],
)
def test_a_file_of_sources_that_cannot_work(environ: Environ, sources: Path, text: str | None, said: str) -> None:
    if text is not None:
        sources.write_text(text)
    check, level, message = trouble(environ)
    assert (check, level) == ("configuration", Level.FAIL)
    assert said in message


def test_destinations_that_nobody_can_have_meant(environ: Environ) -> None:
    environ["CHM_DESTINATION_PORTS"] = "https"
    assert trouble(environ)[2].startswith("CHM_DESTINATION_PORTS must list ports")


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


@contextmanager
def migrated(environ: Environ) -> Iterator[tuple[Environ, sa.Connection]]:
    """A database of its own with the newest schema: the environment that names it, and a connection."""
    with new_database(environ["CHM_DATABASE_URL"]) as url:
        own = {**environ, "CHM_DATABASE_URL": url}
        app = create_app(Config.from_env(own))
        with app.app_context():
            flask_migrate.upgrade()
            with db.engine.connect() as connection:
                yield own, connection
            db.engine.dispose()


def test_a_schema_that_is_older_than_the_code(environ: Environ) -> None:
    with migrated(environ) as (own, _):
        flask_migrate.downgrade(revision="0003")
        check, level, message = trouble(own)
    assert (check, level) == ("migrations", Level.FAIL)
    assert message.startswith("The schema is at 0003, not at ")
    assert message.endswith("Run: chm db upgrade")


def test_a_schema_that_is_newer_than_the_code(environ: Environ) -> None:
    with migrated(environ) as (own, connection):
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        connection.commit()
        check, level, message = trouble(own)
    assert (check, level) == ("migrations", Level.FAIL)
    assert "9999, which this version of CHM does not know" in message
    assert "chm db upgrade" not in message


def test_a_database_with_no_connection_left_for_us(environ: Environ, stranger: str) -> None:
    with server(environ) as connection:
        connection.execute(sa.text(f"ALTER ROLE {sa.make_url(stranger).username} CONNECTION LIMIT 0"))
    check, level, message = trouble({**environ, "CHM_DATABASE_URL": stranger})
    assert (check, level) == ("database", Level.FAIL)
    assert "too many connections" in message


def test_a_role_that_may_make_no_temporary_tables(environ: Environ, stranger: str) -> None:
    with migrated(environ) as (own, connection):
        url = sa.make_url(own["CHM_DATABASE_URL"])
        role = sa.make_url(stranger).username
        connection.execute(sa.text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"))
        connection.execute(sa.text(f"REVOKE TEMPORARY ON DATABASE {url.database} FROM PUBLIC"))
        connection.commit()
        as_stranger = sa.make_url(stranger).set(database=url.database).render_as_string(hide_password=False)
        check, level, message = trouble({**own, "CHM_DATABASE_URL": as_stranger})
    assert (check, level) == ("rights", Level.FAIL)
    assert message.endswith("may make no temporary tables, which taking runs in needs.")


def test_a_role_that_may_not_upgrade_is_a_warning(environ: Environ, stranger: str) -> None:
    with migrated(environ) as (own, connection):
        url = sa.make_url(own["CHM_DATABASE_URL"])
        role = sa.make_url(stranger).username
        connection.execute(sa.text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"))
        connection.commit()
        as_stranger = sa.make_url(stranger).set(database=url.database).render_as_string(hide_password=False)
        check, level, message = trouble({**own, "CHM_DATABASE_URL": as_stranger})
    assert (check, level) == ("rights", Level.WARN)
    assert "upgrades of the schema will fail" in message


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


# -- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("variable", "what"), [("CHM_USERS_FILE", "users"), ("CHM_TOKENS_FILE", "tokens")])
def test_credentials_that_others_may_read(environ: Environ, variable: str, what: str) -> None:
    file = Path(environ[variable])
    if what == "tokens":
        TokenFile(file).create(name="loader", scope=Scope.INGEST)
    file.chmod(0o644)
    assert trouble(environ) == (what, Level.WARN, f"Others than its owner have rights to {file}.")


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
