"""``chm db grant-reader``, as an administrator runs it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from click.testing import Result
from flask import Flask
from psycopg.errors import InsufficientPrivilege

from chm_web.commands.reader import grant_reader
from chm_web.config import Config
from chm_web.extensions import db
from tests.configured import app_of
from tests.conftest import new_database
from tests.reporting.conftest import PASSWORD, Connect, new_role_name, plain

ERRORS = "SELECT count(*) FROM reporting.run_errors"
RUNS = "SELECT count(*) FROM reporting.runs"


def chm(app: Flask, *arguments: str, environ: dict[str, str] | None = None) -> Result:
    """Run the command."""
    return app.test_cli_runner().invoke(grant_reader, arguments, env=environ)


@pytest.fixture
def app(base_app: Flask) -> Iterator[Flask]:
    """The app with real commits."""
    with base_app.app_context():
        yield base_app
        db.session.remove()


def exists(role: str) -> bool:
    """Whether there is such a role."""
    with db.engine.connect() as connection:
        return bool(connection.scalar(sa.text("SELECT count(*) FROM pg_roles WHERE rolname = :role"), {"role": role}))


def test_a_made_up_password_stands_alone_on_standard_output_and_opens(
    app: Flask, role_name: str, connect: Connect
) -> None:
    done = chm(app, "--role", role_name)

    assert done.exit_code == 0, done.output
    [password] = done.stdout.splitlines()
    assert password not in done.stderr
    assert connect(role_name, password).execute(RUNS).fetchone() is not None


def test_a_second_time_keeps_the_password_and_prints_none(app: Flask, role_name: str, connect: Connect) -> None:
    password = chm(app, "--role", role_name).stdout.strip()

    again = chm(app, "--role", role_name)

    assert (again.exit_code, again.stdout) == (0, "")
    assert "is up to date" in again.stderr
    connect(role_name, password)


def test_a_new_password_is_made_up_when_asked_for(app: Flask, role_name: str, connect: Connect) -> None:
    before = chm(app, "--role", role_name).stdout.strip()

    after = chm(app, "--role", role_name, "--new-password").stdout.strip()

    assert after
    assert after != before
    connect(role_name, after)


def test_password_of_a_file_is_set_and_not_printed(
    app: Flask, role_name: str, connect: Connect, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text("pass'w\"ord of a file\n")

    done = chm(app, "--role", role_name, "--password-file", str(file))

    assert (done.exit_code, done.stdout) == (0, "")
    connect(role_name, "pass'w\"ord of a file")


def test_password_of_the_environment_is_set_and_not_printed(app: Flask, role_name: str, connect: Connect) -> None:
    done = chm(app, "--role", role_name, environ={"CHM_READER_PASSWORD": PASSWORD})

    assert (done.exit_code, done.stdout) == (0, "")
    assert PASSWORD not in done.stderr
    connect(role_name, PASSWORD)


def test_error_texts_are_readable_only_while_they_are_asked_for(app: Flask, role_name: str, connect: Connect) -> None:
    password = chm(app, "--role", role_name, "--with-error-texts").stdout.strip()
    reader = connect(role_name, password)
    assert reader.execute(ERRORS).fetchone() is not None

    chm(app, "--role", role_name)

    with pytest.raises(InsufficientPrivilege):
        reader.execute(ERRORS)
    assert reader.execute(RUNS).fetchone() is not None


def test_a_later_run_makes_readable_what_lost_its_grants(app: Flask, role_name: str, connect: Connect) -> None:
    password = chm(app, "--role", role_name).stdout.strip()
    reader = connect(role_name, password)
    with db.engine.begin() as connection:
        # As a migration does that has to drop a view and make it anew.
        connection.execute(sa.text(f"REVOKE ALL ON reporting.runs FROM {role_name}"))
    with pytest.raises(InsufficientPrivilege):
        reader.execute(RUNS)

    chm(app, "--role", role_name)

    assert reader.execute(RUNS).fetchone() is not None


def test_revoke_drops_the_role_and_its_open_sessions_read_nothing(app: Flask, role_name: str, connect: Connect) -> None:
    password = chm(app, "--role", role_name).stdout.strip()
    reader = connect(role_name, password)

    done = chm(app, "--role", role_name, "--revoke")

    assert done.exit_code == 0, done.output
    assert not exists(role_name)
    with pytest.raises(InsufficientPrivilege):
        reader.execute(RUNS)


def test_revoke_of_no_role_says_so(app: Flask, role_name: str) -> None:
    done = chm(app, "--role", role_name, "--revoke")

    assert done.exit_code == 1
    assert f"There is no role {role_name}." in done.stderr


def test_revoke_leaves_a_role_that_reads_another_database_too(
    app: Flask, role_name: str, connect: Connect, servers: tuple[str, str]
) -> None:
    password = chm(app, "--role", role_name).stdout.strip()
    reader = connect(role_name, password)
    with new_database(servers[0]) as other:
        with psycopg.connect(plain(other), autocommit=True) as connection:
            connection.execute(f"GRANT CREATE ON SCHEMA public TO {role_name}")

        done = chm(app, "--role", role_name, "--revoke")

        assert done.exit_code == 1
        assert "the role stays for its rights elsewhere" in done.stderr
        assert exists(role_name)
        with pytest.raises(InsufficientPrivilege):
            reader.execute(RUNS)


def test_printed_sql_changes_nothing_and_does_the_same_when_run(app: Flask, role_name: str, connect: Connect) -> None:
    environ = {"CHM_READER_PASSWORD": PASSWORD}

    script = chm(app, "--role", role_name, "--with-error-texts", "--print-sql", environ=environ).stdout

    assert not exists(role_name)
    assert PASSWORD not in script
    with psycopg.connect(plain(app.config["CHM"].database_url), autocommit=True) as connection:
        connection.execute(script.encode())
    assert connect(role_name, PASSWORD).execute(ERRORS).fetchone() is not None


def test_printed_sql_without_a_password_says_how_to_set_one(app: Flask, role_name: str) -> None:
    script = chm(app, "--role", role_name, "--print-sql").stdout

    assert "PASSWORD '" not in script
    assert script.endswith(f"\\password {role_name}\n")


def test_printed_sql_of_revoke_drops_the_role(app: Flask, role_name: str) -> None:
    chm(app, "--role", role_name)

    script = chm(app, "--role", role_name, "--revoke", "--print-sql").stdout

    assert exists(role_name)
    with psycopg.connect(plain(app.config["CHM"].database_url), autocommit=True) as connection:
        connection.execute(script.encode())
    assert not exists(role_name)


@pytest.mark.parametrize(
    ("arguments", "environ", "said"),
    [
        (("--role", "Robert'; DROP"), {}, "A role's name is"),
        (("--role", "pg_reader"), {}, "A role's name is"),
        ((), {"CHM_READER_PASSWORD": "short"}, "at least 12 characters"),
        ((), {"CHM_READER_PASSWORD": "a line\nand another one"}, "cannot be typed"),
        (("--statement-timeout", "0"), {}, "--statement-timeout"),
    ],
)
def test_bad_input_is_told_in_words_and_makes_nothing(
    app: Flask, role_name: str, arguments: tuple[str, ...], environ: dict[str, str], said: str
) -> None:
    done = chm(app, "--role", role_name, *arguments, environ=environ)

    assert done.exit_code != 0
    assert said in done.stderr
    assert not exists(role_name)


def test_two_passwords_are_refused(app: Flask, role_name: str, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORD)

    done = chm(app, "--role", role_name, "--password-file", str(file), environ={"CHM_READER_PASSWORD": PASSWORD})

    assert done.exit_code == 2
    assert "Keep one of them." in done.stderr
    assert not exists(role_name)


@pytest.mark.parametrize("revoke", [False, True])
def test_the_apps_own_role_is_left_alone(app: Flask, revoke: bool) -> None:
    role = sa.make_url(app.config["CHM"].database_url).username or ""

    done = chm(app, "--role", role, *(("--revoke",) if revoke else ()))

    assert done.exit_code == 1
    assert "more than a reader: CHM itself works as it" in done.stderr


@pytest.mark.parametrize("kind", ["CREATEDB", "CREATEROLE"])
def test_a_role_that_administers_is_left_alone(app: Flask, kind: str) -> None:
    role = new_role_name()
    with db.engine.begin() as connection:
        connection.execute(sa.text(f"CREATE ROLE {role} {kind}"))
    try:
        done = chm(app, "--role", role)
        assert done.exit_code == 1
        assert "it may administer" in done.stderr
    finally:
        with db.engine.begin() as connection:
            connection.execute(sa.text(f"DROP ROLE {role}"))


@pytest.fixture
def modest_app(app: Flask, config: Config) -> Iterator[Flask]:
    """The app as a database user that owns nothing and may create no role."""
    role = new_role_name()
    password = secrets.token_hex(16)
    with db.engine.begin() as connection:
        connection.execute(sa.text(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'"))
        connection.execute(sa.text(f"GRANT SELECT ON alembic_version TO {role}"))
    url = sa.make_url(config.database_url).set(username=role, password=password)
    address = url.render_as_string(hide_password=False)
    try:
        with app_of(Config(database_url=address, redis_url=config.redis_url, secret_key=config.secret_key)) as modest:
            yield modest
    finally:
        with db.engine.begin() as connection:
            connection.execute(sa.text(f"REVOKE ALL ON alembic_version FROM {role}"))
            connection.execute(sa.text(f"DROP ROLE {role}"))


def test_a_user_that_may_create_no_role_is_told_whom_to_ask(modest_app: Flask, role_name: str) -> None:
    done = chm(modest_app, "--role", role_name)

    assert done.exit_code == 1
    assert "permission denied to create role" in done.stderr
    assert "chm db grant-reader --print-sql" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_user_that_may_create_no_role_can_print_the_sql(modest_app: Flask, role_name: str) -> None:
    done = chm(modest_app, "--role", role_name, "--print-sql")

    assert done.exit_code == 0
    assert f'GRANT USAGE ON SCHEMA reporting TO "{role_name}"' in done.stdout
