"""What the database calls the sessions of each part of CHM: whoever looks who is there can tell them apart."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

from chm_web.config import ROOT, Config
from chm_web.extensions import db
from tests.ingestion.conftest import wait_until
from tests.processes import environ_of

pytestmark = pytest.mark.slow

CHM = ["-m", "chm_web.commands"]
ASK = "from chm_web.services.schema import check_migrations; check_migrations()"
# As the entry point starts, with a question to the database in place of the work.
WEB = ["-c", f"import wsgi; wsgi.app.app_context().push(); {ASK}"]
WORKER = [
    "-c",
    f"""
import runpy
from chm_web.ingestion import queue
def ask(): {ASK}
queue.run_worker = ask
runpy.run_path("worker.py", run_name="__main__")
""",
]


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("chm web", WEB),
        ("chm worker", WORKER),
        ("chm db upgrade", [*CHM, "db", "upgrade"]),
        ("chm prune", [*CHM, "prune", "--keep-days", "400"]),
        ("chm doctor", [*CHM, "doctor"]),
        ("chm export", [*CHM, "export"]),
        ("chm backup", [*CHM, "backup", "{directory}/chm.dump"]),
    ],
)
def test_a_session_bears_the_name_of_who_opened_it(
    committed_app: Flask, config: Config, tmp_path: Path, name: str, command: list[str]
) -> None:
    environ = environ_of(
        config,
        CHM_USERS_FILE=str(tmp_path / "users.json"),
        CHM_TOKENS_FILE=str(tmp_path / "tokens.json"),
        PYTHONPATH=str(ROOT),
    )
    named = sa.text("SELECT count(*) FROM pg_stat_activity WHERE application_name = :name")
    with db.engine.connect() as holder, db.engine.connect() as connection:
        # A transaction would see the same sessions for ever.
        watcher = connection.execution_options(isolation_level="AUTOCOMMIT")
        # Whoever asks for the schema's version stays until the test has seen them.
        holder.execute(sa.text("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE"))
        arguments = [word.replace("{directory}", str(tmp_path)) for word in command]
        process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=environ, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: watcher.scalar(named, {"name": name}), seconds=60)
        finally:
            holder.rollback()
            process.terminate()
            process.wait(30)
