"""Workers, Redis and PostgreSQL that die in the middle: the rows end as those of an undisturbed run."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from pytest_httpserver import HTTPServer
from redis import Redis

from chm_web.access.permissions import Scope
from chm_web.extensions import db
from chm_web.ingestion.progress import JobState
from chm_web.ingestion.queue import get_job, request_sync
from tests.factories import make_pipeline
from tests.http import bearing, client_of
from tests.ingestion.conftest import children_of, wait_until
from tests.ingestion.house import (
    EVERYTHING,
    PAGES,
    SIZE,
    House,
    open_house,
    press_until_finished,
    rows_of,
    undisturbed_rows,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def house(tmp_path: Path, httpserver: HTTPServer, tokens_file: Path) -> Iterator[House]:
    """Everything, running."""
    with open_house(tmp_path, httpserver, tokens_file) as found:
        yield found


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
    wait_until(lambda: not get_job(job_id=job.id).state.is_live)
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
    wait_until(lambda: not get_job(job_id=job.id).state.is_live)
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
    wait_until(lambda: children_of(worker.process.pid))
    house.stop("redis")
    time.sleep(3)
    house.start("redis")
    press_until_finished()
    assert worker.process.poll() is None
    assert rows_of(pipeline) == undisturbed_rows(house)
