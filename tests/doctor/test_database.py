"""``chm doctor`` on databases that are really broken, each in one way."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

import flask_migrate
import psycopg
import pytest
import sqlalchemy as sa

from chm_web.config import Config
from chm_web.extensions import db
from chm_web.services.diagnosis import Level, judge_clock
from tests.configured import app_of
from tests.conftest import new_database
from tests.doctor.conftest import Environ, trouble, troubles


def test_a_database_that_is_away(environ: Environ) -> None:
    environ["CHM_DATABASE_URL"] = "postgresql://chm:hunter2@127.0.0.1:9/chm"
    check, level, message = trouble(environ)
    assert (check, level) == ("database", Level.FAIL)
    assert message.startswith("The database cannot be used: ")
    assert message.endswith('connection to server at "127.0.0.1", port 9 failed: Connection refused')
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
        with app_of(Config.from_env(own)):
            flask_migrate.upgrade()
            with db.engine.connect() as connection:
                yield own, connection


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


def let_in(stranger: str, own: Environ, connection: sa.Connection) -> Environ:
    """Give the stranger the rights to the tables of an own database, and give the environment that names both."""
    role, database = sa.make_url(stranger).username, sa.make_url(own["CHM_DATABASE_URL"]).database
    connection.execute(sa.text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"))
    connection.commit()
    url = sa.make_url(stranger).set(database=database)
    return {**own, "CHM_DATABASE_URL": url.render_as_string(hide_password=False)}


def test_a_role_that_may_make_no_temporary_tables(environ: Environ, stranger: str) -> None:
    with migrated(environ) as (own, connection):
        database = sa.make_url(own["CHM_DATABASE_URL"]).database
        connection.execute(sa.text(f"REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC"))
        check, level, message = trouble(let_in(stranger, own, connection))
    assert (check, level) == ("rights", Level.FAIL)
    assert message.endswith("may make no temporary tables, which taking runs in needs.")


def test_a_role_that_may_not_upgrade_is_a_warning(environ: Environ, stranger: str) -> None:
    with migrated(environ) as (own, connection):
        check, level, message = trouble(let_in(stranger, own, connection))
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
