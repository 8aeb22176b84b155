"""A house of a test's own: servers, a partner, an app and workers, each of which may be taken away."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import flask_migrate
import sqlalchemy as sa
from flask import Flask
from pytest_httpserver import HTTPServer
from sqlalchemy.engine import make_url
from werkzeug import Request, Response

from chm_web import create_app
from chm_web.config import ROOT, Config
from chm_web.embedded import embedded_services
from chm_web.extensions import db
from chm_web.ingestion.progress import IngestionJob, JobState, SyncScope
from chm_web.ingestion.queue import get_job, request_sync
from chm_web.models import Pipeline
from chm_web.services.exceptions import NotFound, Unavailable
from tests.factories import make_pipeline
from tests.ingestion.conftest import WorkerProcess
from tests.ingestion.partners import TOKEN, Account, base_url, ingest, page, run
from tests.ingestion.relay import Relay
from tests.processes import bare_environ

PAGES, SIZE = 6, 50
ANY_PIPELINE = re.compile("/pipelines/.*/runs")
EVERYTHING = SyncScope()

# A worker whose death is noticed within seconds: the tests wait for it many times.
WORKER = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import event
from chm_web import create_app
from chm_web.extensions import db
from chm_web.ingestion.queue import run_worker, work

work.HORSE_SIGN_SECONDS, work.HORSE_SILENT_SECONDS, work.WAIT_FOR_DATABASE_SECONDS = 1, 3, 1
app = create_app()
with app.app_context():
    killers = [Path(path) for path in sys.argv[1:]]

    @event.listens_for(db.session.session_factory, "before_commit")
    def die_before_the_commit(session):
        # Only where rows were written, and once a file.
        written = session.connection().exec_driver_sql("SELECT pg_current_xact_id_if_assigned()").scalar()
        for killer in killers:
            if written is not None and killer.exists():
                killer.unlink()
                os.kill(os.getpid(), signal.SIGKILL)

    run_worker()
"""


@dataclass(kw_only=True)
class Fed:
    """Whatever reads the feed that ``serve_pages`` serves."""

    environ: dict[str, str]
    asked: list[int] = field(default_factory=list)
    on_page: Callable[[int], None] = lambda number: None


@dataclass
class House(Fed):
    """PostgreSQL, Redis, a partner, an app and workers of a test's own, each of which may be taken away."""

    app: Flask
    directory: Path
    directories: dict[str, Path]
    database: Relay
    redis: Relay
    servers: dict[str, ExitStack] = field(default_factory=dict)
    workers: list[WorkerProcess] = field(default_factory=list)

    def start(self, name: str) -> None:
        """Start PostgreSQL or Redis on what it kept."""
        stack = self.servers[name] = ExitStack()
        start_server(stack, self.directories[name], self.database, self.redis, name)

    def stop(self, name: str) -> None:
        """Stop PostgreSQL or Redis; connections break."""
        {"postgres": self.database, "redis": self.redis}[name].cut()
        self.servers.pop(name).close()

    def start_worker(self, *killers: Path) -> WorkerProcess:
        """Start a worker that dies before a commit for each of these files."""
        log = self.directory / f"worker-{len(self.workers)}.log"
        with log.open("wb") as output:
            command = [sys.executable, "-c", WORKER, *map(str, killers)]
            process = subprocess.Popen(command, cwd=ROOT, env=self.environ, stdout=output, stderr=subprocess.STDOUT)
        self.workers.append(WorkerProcess(process, log))
        return self.workers[-1]


def start_server(stack: ExitStack, directory: Path, database: Relay, redis: Relay, name: str) -> str:
    """Start a server, point its relay to it, and give its URL by the relay."""
    services = stack.enter_context(
        embedded_services(directory, durable=True, postgres=name == "postgres", redis=name == "redis")
    )
    if name == "redis":
        redis.target = Path(services.redis_url.removeprefix("unix://").partition("?")[0])
        return f"redis://127.0.0.1:{redis.port}/0"
    url = make_url(services.database_url)
    database.target = Path(str(url.query["host"])) / ".s.PGSQL.5432"
    relayed = url.set(host="127.0.0.1", port=database.port, query={})
    return relayed.render_as_string(hide_password=False)


@contextmanager
def open_house(
    directory: Path, server: HTTPServer, tokens_file: Path, *, database_dir: Path | None = None
) -> Iterator[House]:
    """Run everything, with a partner whose every pipeline has six pages.

    What the servers keep lies in ``directory``, PostgreSQL's files in ``database_dir`` where one is given.
    """
    database, redis = Relay(), Relay()
    directories = {"postgres": database_dir or directory / "postgres", "redis": directory / "redis"}
    stacks = {name: ExitStack() for name in directories}
    urls = {name: start_server(stack, directories[name], database, redis, name) for name, stack in stacks.items()}
    environ = {
        **bare_environ(),
        "CHM_DATABASE_URL": urls["postgres"],
        "CHM_REDIS_URL": urls["redis"],
        "CHM_SECRET_KEY": secrets.token_hex(32),
        "CHM_USERS_FILE": str(directory / "users.json"),
        "CHM_TOKENS_FILE": str(tokens_file),
        "CHM_PARTNER_API_BASE_URL": base_url(server),
        "CHM_PARTNER_API_TOKEN": TOKEN,
        "CHM_PARTNER_PAGE_SIZE": str(SIZE),
        "CHM_HTTP_TIMEOUT_SECONDS": "5",
    }
    app = create_app(Config.from_env(environ))
    app.testing = True
    found = House(app, directory, directories, database, redis, stacks, environ=environ)
    serve_pages(found, server)
    with app.app_context():
        flask_migrate.upgrade()
        yield found
        db.session.remove()
        db.engine.dispose()
    for worker in found.workers:
        if worker.process.poll() is None:
            worker.kill()
    for stack in found.servers.values():
        stack.close()
    database.close()
    redis.close()


def serve_pages(house: Fed, server: HTTPServer) -> None:
    """Serve six pages: first all runs as running, then, overlapping, how they ended."""

    def handle(request: Request) -> Response:
        number = int(request.args.get("cursor", 0))
        house.asked.append(number)
        house.on_page(number)
        runs = [run(n, status="running", finished_at=None) for n in range(number * SIZE, (number + 1) * SIZE)]
        if number:
            status = "failed" if number % 2 else "success"
            runs += [run(n, status=status, rows_processed=n) for n in range((number - 1) * SIZE, number * SIZE)]
        return Response(json.dumps(page(*runs, cursor=number + 1 if number + 1 < PAGES else None)))

    server.expect_request(ANY_PIPELINE).respond_with_handler(handle)


FACTS = "external_run_id, status, started_at, finished_at, duration_seconds, rows_processed, attempt_at, payload::text"


def rows_of(pipeline: Pipeline) -> list[tuple[object, ...]]:
    """What is committed of a pipeline's runs."""
    db.session.rollback()
    query = sa.text(f"SELECT {FACTS} FROM runs WHERE pipeline_id = :id ORDER BY 1")
    return [tuple(row) for row in db.session.execute(query, {"id": pipeline.id})]


def undisturbed_rows(house: Fed) -> list[tuple[object, ...]]:
    """The rows of the same feed, read without a fault by this process."""
    on_page, house.on_page = house.on_page, lambda number: None
    reference = make_pipeline(is_active=False)
    ingest(house.environ["CHM_PARTNER_API_BASE_URL"], reference, account=Account())
    house.on_page = on_page
    rows = rows_of(reference)
    assert len(rows) == PAGES * SIZE
    return rows


def press_until_finished(*, seconds: float = 300) -> IngestionJob:
    """Press "Ingest now", again whenever a job failed or was lost, as the schedule would, until one has finished.

    A job is given up when its worker died for the fourth time. The next one waits for the locks that the dead left:
    half a minute for the source's, and a minute for that of RQ's scheduler.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            job, _ = request_sync(scope=EVERYTHING)
            while time.monotonic() < deadline and job.state.is_live:
                time.sleep(0.1)
                job = get_job(job_id=job.id)
            if job.state is JobState.FINISHED:
                return job
        except (Unavailable, NotFound):
            time.sleep(0.2)
    raise AssertionError("no job finished in time")
