"""``chm backup`` and ``chm restore``, by PostgreSQL's own programs on real databases."""

from __future__ import annotations

import dataclasses
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import Result
from flask import Flask
from redis import Redis

from chm_web import create_app
from chm_web.commands.backup import backup, restore
from chm_web.commands.database_programs import BackupError, Database, Program, choose
from chm_web.config import Config
from chm_web.extensions import db
from chm_web.models import RunStatus
from chm_web.services.health import Health, get_pipeline_health
from chm_web.services.schema import check_migrations
from tests.conftest import new_database
from tests.factories import NOW, make_alert_rule, make_pipeline, make_run

TABLES = ("clients", "pipelines", "runs", "alert_rules", "alembic_version")


@pytest.fixture
def emptied(committed_app: Flask) -> Iterator[Flask]:
    """CHM on a database in which there is nothing yet."""
    config = committed_app.config["CHM"]
    with new_database(config.database_url) as url:
        app = create_app(dataclasses.replace(config, database_url=url))
        yield app
        with app.app_context():
            db.session.remove()
            db.engine.dispose()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the backup is."""
    return tmp_path / "chm.dump"


def content(app: Flask) -> dict[str, list[str]]:
    """Every row of every table, as text."""
    with app.app_context(), db.engine.connect() as connection:
        return {table: sorted(connection.scalars(sa.text(f"SELECT t::text FROM {table} t"))) for table in TABLES}


def back_up(app: Flask, file: Path) -> Result:
    """Run ``chm backup``."""
    with app.app_context():
        return app.test_cli_runner().invoke(backup, [str(file)])


def bring_back(app: Flask, file: Path, *options: str) -> Result:
    """Run ``chm restore``."""
    with app.app_context():
        return app.test_cli_runner().invoke(restore, [str(file), *options])


def test_a_restored_database_holds_everything_and_works(committed_app: Flask, emptied: Flask, file: Path) -> None:
    failed = make_run(status=RunStatus.FAILED, error_message="Größe\nzwei", payload={"a": [1, None]})
    make_alert_rule(pipeline_id=failed.pipeline_id)
    make_run(make_pipeline(), duration_seconds=0.1)

    assert back_up(committed_app, file).exit_code == 0
    result = bring_back(emptied, file)

    assert result.exit_code == 0, result.output
    assert content(emptied) == content(committed_app)
    with emptied.app_context():
        check_migrations()
        assert get_pipeline_health(pipeline_id=failed.pipeline_id, now=NOW).health is Health.FAILING
        make_run()


def test_a_backup_is_its_owners_alone_and_nothing_unfinished_stays(committed_app: Flask, file: Path) -> None:
    back_up(committed_app, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]


def test_a_backup_that_fails_leaves_the_one_before(config: Config, file: Path) -> None:
    file.write_text("the one before")
    away = create_app(dataclasses.replace(config, database_url="postgresql+psycopg://chm:hunter2@127.0.0.1:9/chm"))

    result = back_up(away, file)

    assert result.exit_code == 1
    assert "The database does not answer: " in result.stderr
    assert result.stderr.endswith("failed: Connection refused\n")
    assert "hunter2" not in result.output
    assert file.read_text() == "the one before"
    assert list(file.parent.iterdir()) == [file]


def test_a_database_that_holds_something_is_not_restored_into(committed_app: Flask, file: Path) -> None:
    back_up(committed_app, file)
    make_run()
    before = content(committed_app)

    result = bring_back(committed_app, file)

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The database is not empty.")
    assert content(committed_app) == before


def test_by_force_what_came_after_the_backup_is_gone(committed_app: Flask, emptied: Flask, file: Path) -> None:
    make_run()
    before = content(committed_app)
    back_up(committed_app, file)
    # Not into the database of all tests: restoring by force takes the rights of the other tests' roles along.
    bring_back(emptied, file)
    with emptied.app_context():
        make_run()
        db.session.remove()
        db.engine.dispose()
    assert content(emptied) != before

    result = bring_back(emptied, file, "--force")

    assert result.exit_code == 0, result.output
    assert content(emptied) == before


@pytest.mark.parametrize("options", [(), ("--force",)])
@pytest.mark.parametrize("damage", ["no backup at all", "cut off"])
def test_a_damaged_file_changes_nothing(
    committed_app: Flask, file: Path, options: tuple[str, ...], damage: str
) -> None:
    make_run()
    back_up(committed_app, file)
    whole = file.read_bytes()
    file.write_bytes(b"not a backup" if damage == "no backup at all" else whole[:-300])
    before = content(committed_app)
    db.session.remove()
    db.engine.dispose()

    assert bring_back(committed_app, file, *options).exit_code == 1
    assert content(committed_app) == before


def test_a_backup_of_a_newer_program_is_not_called_damaged(committed_app: Flask, emptied: Flask, file: Path) -> None:
    back_up(committed_app, file)
    content = bytearray(file.read_bytes())
    # Behind the mark of the format stands its version.
    assert content[:6] == b"PGDMP\x01"
    content[6] = 99
    file.write_bytes(content)

    result = bring_back(emptied, file)

    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {file} was made by a newer pg_dump than pg_restore ")


def test_a_backup_of_something_else_is_refused(committed_app: Flask, emptied: Flask, file: Path) -> None:
    assert back_up(emptied, file).exit_code == 1
    assert not file.exists()


def test_sources_are_read_again_from_their_beginning(committed_app: Flask, emptied: Flask, file: Path) -> None:
    redis = Redis.from_url(committed_app.config["CHM"].redis_url)
    redis.hset("chm:watermark:partner", "a pipeline", "a time")
    redis.hset("chm:position:partner", "a pipeline", "a cursor")
    redis.set("chm:signs:other", "stays")
    back_up(committed_app, file)

    bring_back(emptied, file)

    assert redis.keys() == [b"chm:signs:other"]


def test_a_restore_whose_tables_cannot_be_analysed_is_still_one(
    committed_app: Flask, emptied: Flask, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = Redis.from_url(committed_app.config["CHM"].redis_url)
    redis.hset("chm:watermark:partner", "a pipeline", "a time")
    back_up(committed_app, file)

    restore_it = Database.run

    def restore_and_go_away(self: Database, program: Program, *arguments: str | Path) -> str:
        said = restore_it(self, program, *arguments)
        self._address = "host=127.0.0.1 port=9 dbname=chm"
        return said

    monkeypatch.setattr(Database, "run", restore_and_go_away)
    result = bring_back(emptied, file)

    assert result.exit_code == 0, result.output
    assert "The database is restored." in result.stderr
    assert "The tables cannot be analysed: " in result.stderr
    assert "Run ANALYZE" in result.stderr
    assert redis.keys() == []


def test_the_oldest_program_that_is_new_enough_is_taken() -> None:
    found = [Program(Path("/a/pg_dump"), 15), Program(Path("/b/pg_dump"), 18), Program(Path("/c/pg_dump"), 17)]
    assert [choose(found, name="pg_dump", server=server).major for server in (14, 15, 16, 17, 18)] == [
        15,
        15,
        17,
        17,
        18,
    ]


def test_programs_that_are_too_old_are_named() -> None:
    with pytest.raises(BackupError, match="pg_dump of PostgreSQL 16 or later; /a/pg_dump is of 15"):
        choose([Program(Path("/a/pg_dump"), 15)], name="pg_dump", server=16)
