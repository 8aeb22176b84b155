"""Migrations that lock nobody out for long: what the lint finds, and how they make way for others."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import flask_migrate
import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory
from flask import Flask

from chm_web.config import ROOT, Config
from chm_web.extensions import db
from migrations.lint import MIGRATIONS, find_problems
from tests.configured import app_of
from tests.conftest import new_database
from tests.ingestion.conftest import wait_until
from tests.processes import environ_of

HEAD = str(ScriptDirectory(str(MIGRATIONS)).get_current_head())


def with_migration(directory: Path, body: str, *, said: str = "") -> Path:
    """A copy of the migrations with one more, whose upgrade is ``body``."""
    copy = directory / "migrations"
    shutil.copytree(MIGRATIONS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    text = f'"""One more.\n\n{said}\n"""\nimport sqlalchemy as sa\nfrom alembic import op\n\n'
    text += f'revision = "9999"\ndown_revision = "{HEAD}"\n\n\ndef upgrade():\n{lines}\n'
    (copy / "versions" / "9999_one_more.py").write_text(text)
    return copy


# -- the lint -----------------------------------------------------------------------------------------------------


def test_the_migrations_that_there_are_lock_nobody_out() -> None:
    assert find_problems() == []


BAD = {
    "an index that keeps writers out": (
        'op.create_index("ix_x", "runs", ["status"])',
        "require-concurrent-index-creation",
    ),
    "an index dropped under everybody": ('op.drop_index("ix_runs_event", "runs")', "require-concurrent-index-deletion"),
    "a check of all rows": (
        'op.create_check_constraint("ck_x", "runs", "rows_processed < 10")',
        "constraint-missing-not-valid",
    ),
    "a foreign key over all rows": (
        'op.create_foreign_key("fk_x", "runs", "clients", ["id"], ["id"])',
        "constraint-missing-not-valid",
    ),
    "a default of each row's own": (
        'op.add_column("runs", sa.Column("x", sa.Uuid(), server_default=sa.text("gen_random_uuid()")))',
        "adding-field-with-default",
    ),
    "a column that no row has": (
        'op.add_column("runs", sa.Column("x", sa.Text(), nullable=False))',
        "adding-required-field",
    ),
    "a type that writes the table anew": (
        'op.alter_column("runs", "duration_seconds", type_=sa.Numeric())',
        "changing-column-type",
    ),
    "a look at all rows for nulls": (
        'op.alter_column("runs", "started_at", nullable=False)',
        "adding-not-nullable-field",
    ),
    "a unique constraint": (
        'op.create_unique_constraint("uq_x", "runs", ["id", "status"])',
        "disallowed-unique-constraint",
    ),
    "a column that the old version reads": ('op.drop_column("runs", "status_reason")', "ban-drop-column"),
    "a name that the old version knows": ('op.alter_column("runs", "payload", new_column_name="x")', "renaming-column"),
    "concurrently inside a transaction": (
        'op.execute("CREATE INDEX CONCURRENTLY ix_x ON runs (status)")',
        "ban-concurrent-index-creation-in-transaction",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_migration_that_would_lock_others_out_is_found(tmp_path: Path, case: str) -> None:
    body, rule = BAD[case]
    [problem] = find_problems(with_migration(tmp_path, body))
    assert rule in problem
    assert "9999_one_more.py" in problem


CONCURRENTLY = """with op.get_context().autocommit_block():
    op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_runs_status")
    op.execute("CREATE INDEX CONCURRENTLY ix_runs_status ON runs (status)")
"""


@pytest.mark.parametrize(
    "body",
    [
        CONCURRENTLY,
        'op.add_column("runs", sa.Column("x", sa.Text()))',
        'op.add_column("runs", sa.Column("x", sa.BigInteger(), server_default="0", nullable=False))',
        'op.execute("ALTER TABLE runs ADD CONSTRAINT ck_x CHECK (rows_processed < 10) NOT VALID")',
        'op.execute("ALTER TABLE runs VALIDATE CONSTRAINT ck_runs_rows_processed_not_negative")',
    ],
)
def test_a_migration_by_the_rules_is_not(tmp_path: Path, body: str) -> None:
    assert find_problems(with_migration(tmp_path, body)) == []


def test_an_exception_needs_its_reason(tmp_path: Path) -> None:
    body = 'op.drop_column("runs", "status_reason")'
    without = with_migration(tmp_path / "a", body, said="lint: allow ban-drop-column:")
    reasoned = with_migration(tmp_path / "b", body, said="lint: allow ban-drop-column: unused since 0.2.")
    other = with_migration(tmp_path / "c", body, said="lint: allow renaming-column: unused since 0.2.")
    assert [len(find_problems(directory)) for directory in (without, reasoned, other)] == [1, 0, 1]


# -- while others work --------------------------------------------------------------------------------------------


@pytest.fixture
def own_app(servers: tuple[str, str], config: Config) -> Iterator[Flask]:
    """The app on a migrated database of its own."""
    with new_database(servers[0]) as url:
        own = Config(database_url=url, redis_url=config.redis_url, secret_key=config.secret_key)
        with app_of(own) as app:
            flask_migrate.upgrade()
            yield app


def start_upgrade(app: Flask, log: Path, *options: str) -> subprocess.Popen[bytes]:
    environ = environ_of(app.config["CHM"])
    command = [sys.executable, "-m", "chm_web.commands", "db", "upgrade", *options]
    with log.open("wb") as output:
        return subprocess.Popen(command, cwd=ROOT, env=environ, stdout=output, stderr=subprocess.STDOUT)


def version() -> str:
    with db.engine.connect() as connection:
        return str(connection.scalar(sa.text("SELECT version_num FROM alembic_version")))


@pytest.mark.slow
def test_a_migration_that_cannot_have_its_lock_lets_others_pass_and_comes_again(own_app: Flask, tmp_path: Path) -> None:
    flask_migrate.downgrade(revision="0002")
    log = tmp_path / "log"
    with db.engine.connect() as reader:
        # Somebody reads the table in a long transaction.
        reader.execute(sa.text("SELECT count(*) FROM runs"))
        process = start_upgrade(own_app, log)
        try:
            wait_until(lambda: "lets others pass" in log.read_text(), seconds=60)
            # What comes after it is not kept waiting: the lock is not even asked for just now.
            with db.engine.connect() as other:
                other.execute(sa.text("SET lock_timeout = '100ms'"))
                other.execute(sa.text("SELECT count(*) FROM runs"))
            assert version() == "0002"
            reader.rollback()
            assert process.wait(60) == 0, log.read_text()
        finally:
            process.kill()
            process.wait()
    assert version() == HEAD


@pytest.mark.slow
def test_two_upgrades_at_once_come_one_after_the_other_also_with_an_index_built_beside_the_work(
    own_app: Flask, tmp_path: Path
) -> None:
    directory = with_migration(tmp_path, CONCURRENTLY)
    logs = [tmp_path / "first", tmp_path / "second"]
    processes = [start_upgrade(own_app, log, "--directory", str(directory)) for log in logs]
    try:
        assert [process.wait(90) for process in processes] == [0, 0], [log.read_text() for log in logs]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert version() == "9999"
    with db.engine.connect() as connection:
        valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_runs_status'::regclass"
        assert connection.scalar(sa.text(valid)) is True
