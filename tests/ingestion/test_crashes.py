"""Workers, Redis and PostgreSQL that die in the middle: the rows end as those of an undisturbed run."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import flask_migrate
import pytest
import sqlalchemy as sa
from flask import Flask
from pytest_httpserver import HTTPServer
from redis import Redis
from sqlalchemy.engine import make_url
from werkzeug import Request, Response

from chm_web import create_app
from chm_web.access.permissions import Scope
from chm_web.config import ROOT, Config
from chm_web.embedded import embedded_services
from chm_web.extensions import db
from chm_web.ingestion.progress import IngestionJob, JobState, SyncScope
from chm_web.ingestion.queue import get_job, request_sync
from chm_web.models import Pipeline
from chm_web.services.exceptions import NotFound, Unavailable
from tests.factories import make_pipeline
from tests.http import bearing, client_of
from tests.ingestion.conftest import WorkerProcess, children_of, wait_until
from tests.ingestion.partners import TOKEN, Account, base_url, ingest, page, run
from tests.ingestion.relay import Relay

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

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


@dataclass
class House:
    """PostgreSQL, Redis, a partner, an app and workers of a test's own, each of which may be taken away."""

    app: Flask
    directory: Path
    database: Relay
    redis: Relay
    environ: dict[str, str]
    servers: dict[str, ExitStack] = field(default_factory=dict)
    workers: list[WorkerProcess] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    on_page: Callable[[int], None] = lambda number: None

    def start(self, name: str) -> None:
        """Start PostgreSQL or Redis on what it kept."""
        stack = self.servers[name] = ExitStack()
        start_server(stack, self.directory / name, self.database, self.redis, name)

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


@pytest.fixture
def house(tmp_path: Path, httpserver: HTTPServer, tokens_file: Path) -> Iterator[House]:
    """Everything, running, with a partner whose every pipeline has six pages."""
    database, redis = Relay(), Relay()
    stacks = {"postgres": ExitStack(), "redis": ExitStack()}
    urls = {name: start_server(stack, tmp_path / name, database, redis, name) for name, stack in stacks.items()}
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CHM_")},
        "CHM_DATABASE_URL": urls["postgres"],
        "CHM_REDIS_URL": urls["redis"],
        "CHM_SECRET_KEY": secrets.token_hex(32),
        "CHM_USERS_FILE": str(tmp_path / "users.json"),
        "CHM_TOKENS_FILE": str(tokens_file),
        "CHM_PARTNER_API_BASE_URL": base_url(httpserver),
        "CHM_PARTNER_API_TOKEN": TOKEN,
        "CHM_PARTNER_PAGE_SIZE": str(SIZE),
        "CHM_HTTP_TIMEOUT_SECONDS": "5",
    }
    app = create_app(Config.from_env(environ))
    app.testing = True
    found = House(app, tmp_path, database, redis, environ, stacks)
    serve_pages(found, httpserver)
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


def serve_pages(house: House, server: HTTPServer) -> None:
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


def undisturbed_rows(house: House) -> list[tuple[object, ...]]:
    """The rows of the same feed, read without a fault by this process."""
    on_page, house.on_page = house.on_page, lambda number: None
    reference = make_pipeline(is_active=False)
    ingest(house.environ["CHM_PARTNER_API_BASE_URL"], reference, account=Account())
    house.on_page = on_page
    rows = rows_of(reference)
    assert len(rows) == PAGES * SIZE
    return rows


def press_until_finished(*, seconds: float = 120) -> IngestionJob:
    """Press "Ingest now", again whenever a job failed or was lost, as the schedule would, until one has finished."""
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


@contextmanager
def replaced_when_dead(house: House, *killers: Path) -> Iterator[None]:
    """Keep one worker alive: a dead one is followed by another, as under any process supervisor."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            if all(worker.process.poll() is not None for worker in house.workers):
                house.start_worker(*killers)

    house.start_worker(*killers)
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_a_worker_killed_at_every_page_boundary(house: House) -> None:
    pipeline = make_pipeline()
    killed: set[int] = set()

    def kill_once(number: int) -> None:
        if number not in killed:
            killed.add(number)
            for worker in house.workers:
                if worker.process.poll() is None:
                    worker.kill()

    house.on_page = kill_once
    with replaced_when_dead(house):
        press_until_finished()
    assert killed == set(range(PAGES))
    assert rows_of(pipeline) == undisturbed_rows(house)


def test_a_work_horse_killed_between_upsert_and_commit(house: House) -> None:
    pipeline = make_pipeline()
    killers = [house.directory / f"kill-{n}" for n in range(4)]
    for killer in killers:
        killer.touch()
    house.start_worker(*killers)
    press_until_finished()
    assert not any(killer.exists() for killer in killers)
    assert rows_of(pipeline) == undisturbed_rows(house)


def test_redis_emptied_in_the_middle(house: House) -> None:
    pipeline = make_pipeline()
    emptied: list[int] = []

    def empty(number: int) -> None:
        if number == 3 and not emptied:
            emptied.append(number)
            Redis(port=house.redis.port).flushall()

    house.on_page = empty
    with replaced_when_dead(house):
        press_until_finished()
    assert emptied
    assert rows_of(pipeline) == undisturbed_rows(house)


def test_redis_restarted_in_the_middle(house: House) -> None:
    pipeline = make_pipeline()
    restarted = threading.Event()

    def restart(number: int) -> None:
        if number == 3 and not restarted.is_set():
            restarted.set()
            house.stop("redis")
            time.sleep(2)
            house.start("redis")

    house.on_page = restart
    with replaced_when_dead(house):
        press_until_finished()
    assert restarted.is_set()
    assert rows_of(pipeline) == undisturbed_rows(house)


def test_postgresql_away_for_ten_seconds_under_load(house: House, tokens: dict[Scope, str]) -> None:
    pipelines = [make_pipeline() for _ in range(4)]
    web = bearing(client_of(house.app), tokens[Scope.READ])
    seen: dict[str, tuple[int, ...]] = {}

    def ask() -> tuple[int, ...]:
        return tuple(web.get(path).status_code for path in ("/", "/api/v1/clients", "/healthz", "/readyz"))

    def stop(number: int) -> None:
        if number == 2 and "during" not in seen:
            seen["during"] = ()
            house.stop("postgres")

    house.on_page = stop
    house.start_worker()
    job, _ = request_sync(scope=EVERYTHING)
    wait_until(lambda: "during" in seen)
    db.session.remove()
    time.sleep(5)
    seen["during"] = ask()
    assert web.get("/api/v1/clients").get_json()["error"]["code"] == "service_unavailable"
    assert "database" in web.get("/").get_data(as_text=True)
    time.sleep(5)
    house.start("postgres")
    wait_until(lambda: not get_job(job_id=job.id).state.is_live, seconds=60)
    seen["after"] = ask()
    assert seen == {"during": (503, 503, 200, 503), "after": (200, 200, 200, 200)}
    assert get_job(job_id=job.id).state is JobState.FINISHED
    reference = undisturbed_rows(house)
    assert all(rows_of(pipeline) == reference for pipeline in pipelines)


def test_a_database_that_refuses_to_write_in_the_middle_ends_the_job_with_a_reason_and_loses_nothing(
    house: House,
) -> None:
    pipeline = make_pipeline()
    refused: list[int] = []

    def refuse(number: int) -> None:
        if number == 3 and not refused:
            refused.append(number)
            # As managed servers do whose disk is full.
            set_read_only(house, refuses=True)

    house.on_page = refuse
    house.start_worker()
    job, _ = request_sync(scope=EVERYTHING)
    db.session.remove()
    wait_until(lambda: not get_job(job_id=job.id).state.is_live, seconds=60)
    job = get_job(job_id=job.id)
    assert job.state is JobState.FAILED
    assert "The database refuses to write (ReadOnlySqlTransaction)." in str(job.error)
    set_read_only(house, refuses=False)
    assert len(rows_of(pipeline)) == 3 * SIZE
    press_until_finished()
    assert rows_of(pipeline) == undisturbed_rows(house)


def set_read_only(house: House, *, refuses: bool) -> None:
    """Let the database take no writes, or take them again; sessions that are open are ended."""
    with house.app.app_context(), db.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(sa.text("SET default_transaction_read_only = off"))
        name = connection.scalar(sa.text("SELECT quote_ident(current_database())"))
        setting = "SET default_transaction_read_only = on" if refuses else "RESET default_transaction_read_only"
        connection.execute(sa.text(f"ALTER DATABASE {name} {setting}"))
        connection.execute(
            sa.text(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
        connection.invalidate()


def test_a_worker_whose_redis_went_away_works_on_when_it_is_back(house: House) -> None:
    pipeline = make_pipeline()
    worker = house.start_worker()
    wait_until(lambda: children_of(worker.process.pid), seconds=30)
    house.stop("redis")
    time.sleep(3)
    house.start("redis")
    press_until_finished()
    assert worker.process.poll() is None
    assert rows_of(pipeline) == undisturbed_rows(house)
