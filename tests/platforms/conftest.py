"""CHM as it is deployed, on the tests' database, beside other people's real servers."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

from chm_web.access.permissions import Scope
from chm_web.commands.processes import Child
from chm_web.config import ROOT, Config
from chm_web.extensions import db
from chm_web.ingestion.progress import IngestionJob, JobState, SyncScope
from chm_web.ingestion.queue import count_live_workers, request_sync
from chm_web.models import Pipeline, Run
from tests.configured import app_of
from tests.http import answers, free_port
from tests.ingestion.conftest import wait_for
from tests.platforms.airflow_server import AirflowServer, running_airflow
from tests.processes import environ_of

# Two runs a page: whatever a test reads comes in pages. The paused source is for `chm sources check` alone.
SOURCES = """
[sources.airflow]
kind = "airflow"
base_url = "{address}"
username = "chm"
password = "file:password"
page_size = 2

[sources.locked_out]
kind = "airflow"
base_url = "{address}"
username = "chm"
password = "file:wrong_password"
paused = true
"""


@dataclass(frozen=True)
class Chm:
    """CHM's processes: the web app behind gunicorn, and commands that are run as its operator runs them."""

    address: str
    token: str
    environ: dict[str, str]
    directory: Path

    def start(self, name: str, *arguments: str) -> Child:
        """Start ``python ARGUMENTS`` as one of its processes."""
        log = self.directory / f"{name}.log"
        return Child(name, [sys.executable, *arguments], environ=self.environ, log=log, cwd=ROOT)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``chm ARGUMENTS`` to its end."""
        command = [sys.executable, "-m", "chm_web.commands", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=self.environ, capture_output=True, text=True, timeout=300, check=False
        )


def runs_of(pipeline: Pipeline) -> list[Run]:
    """What other processes have recorded of a pipeline's runs by now, in the order of their start."""
    db.session.rollback()
    query = sa.select(Run).filter_by(pipeline_id=pipeline.id).order_by(Run.started_at)
    return list(db.session.scalars(query.execution_options(populate_existing=True)))


@pytest.fixture(scope="session")
def airflow_port() -> int:
    """Where Airflow is going to be: CHM's sources are configured before it starts."""
    return free_port()


@pytest.fixture(scope="session")
def airflow_passwords() -> dict[str, str]:
    """The passwords of Airflow's users."""
    return {name: secrets.token_urlsafe(16) for name in ("admin", "chm")}


@pytest.fixture(scope="session")
def chm(
    base_app: Flask,
    tokens: dict[Scope, str],
    tmp_path_factory: pytest.TempPathFactory,
    airflow_port: int,
    airflow_passwords: dict[str, str],
) -> Iterator[Chm]:
    """CHM on the tests' database, with Airflow as its source."""
    directory, port = tmp_path_factory.mktemp("chm"), free_port()
    (directory / "password").write_text(airflow_passwords["chm"])
    (directory / "wrong_password").write_text("quite-wrong-0123")
    sources = directory / "sources.toml"
    sources.write_text(SOURCES.format(address=f"http://127.0.0.1:{airflow_port}"))
    config: Config = base_app.config["CHM"]
    environ = environ_of(
        config,
        CHM_USERS_FILE=str(directory / "users.json"),
        CHM_TOKENS_FILE=str(config.tokens_file),
        CHM_SOURCES_FILE=str(sources),
    )
    found = Chm(f"http://127.0.0.1:{port}", tokens[Scope.INGEST], environ, directory)
    web = found.start("web", "-m", "gunicorn", "wsgi:app", "--bind", f"127.0.0.1:{port}", "--workers", "1")
    try:
        web.wait_until(lambda: answers(f"{found.address}/healthz"), seconds=180)
        yield found
    finally:
        web.stop()


@pytest.fixture(scope="module")
def airflow(chm: Chm, airflow_port: int, airflow_passwords: dict[str, str]) -> Iterator[AirflowServer]:
    """A running Airflow, whose push goes to CHM."""
    lineage = {
        "type": "http",
        "url": chm.address,
        "auth": {"type": "api_key", "apiKey": chm.token},
        "compression": "gzip",
    }
    with running_airflow(port=airflow_port, passwords=airflow_passwords, lineage=lineage) as server:
        yield server


@pytest.fixture
def reading_app(committed_app: Flask, chm: Chm) -> Iterator[Flask]:
    """The app with CHM's sources, to ask for an ingestion."""
    with app_of(Config.from_env(chm.environ)) as app:
        yield app


@pytest.fixture
def ingest(reading_app: Flask, chm: Chm) -> Iterator[Callable[[], IngestionJob]]:
    """Has a worker read Airflow, as "Ingest now" does, and gives the job when it has ended well."""

    def read() -> IngestionJob:
        job, is_new = request_sync(scope=SyncScope(source="airflow"))
        assert is_new
        job = wait_for(job, seconds=300)
        assert job.state is JobState.FINISHED, job
        return job

    worker = chm.start("worker", "worker.py")
    try:
        worker.wait_until(lambda: count_live_workers() > 0, seconds=180)
        yield read
    finally:
        worker.stop()
