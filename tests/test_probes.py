"""``/healthz`` and ``/readyz``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from rq import Queue, Worker
from sqlalchemy.orm import Session, scoped_session

from chm_web import create_app
from chm_web.config import Config
from chm_web.ingestion.queue.connection import QUEUE_NAME
from chm_web.ingestion.queue.looking import WORKER_SILENT_AFTER

NO_WORKER = "No worker is alive. Start one: chm worker"


@pytest.fixture
def worker(app: Flask) -> Iterator[Worker]:
    """A worker that has given a sign of life and does nothing."""
    redis = Redis.from_url(app.config["CHM"].redis_url)
    found = Worker([Queue(QUEUE_NAME, connection=redis)], connection=redis)
    found.register_birth()  # type: ignore[no-untyped-call]
    yield found
    found.register_death()  # type: ignore[no-untyped-call]


def stranded(config: Config, **values: str) -> FlaskClient:
    """A browser on an app of which something is at a port where nothing listens."""
    return create_app(dataclasses.replace(config, **values)).test_client()  # type: ignore[arg-type]


AWAY = {"database_url": "postgresql+psycopg://chm:hunter2@127.0.0.1:9/chm", "redis_url": "redis://127.0.0.1:9"}


def test_healthz_answers(client: FlaskClient) -> None:
    response = client.get("/healthz")

    assert (response.status_code, response.get_json()) == (200, {"status": "ok"})


def test_healthz_answers_with_everything_away(config: Config) -> None:
    assert stranded(config, **AWAY).get("/healthz").status_code == 200


@pytest.mark.usefixtures("worker")
def test_readyz_is_ok_with_everything_there(client: FlaskClient) -> None:
    response = client.get("/readyz")

    assert response.status_code == 200
    checks = dict.fromkeys(("database", "migrations", "redis", "worker"), "ok")
    assert response.get_json() == {"status": "ok", "checks": checks}


def test_readyz_without_a_worker_says_how_to_start_one(client: FlaskClient) -> None:
    response = client.get("/readyz")

    assert response.status_code == 503
    assert response.get_json() == {
        "status": "unavailable",
        "checks": {"database": "ok", "migrations": "ok", "redis": "ok", "worker": NO_WORKER},
    }


def test_readyz_does_not_count_a_worker_that_fell_silent(app: Flask, client: FlaskClient, worker: Worker) -> None:
    silent_since = datetime.now(UTC) - WORKER_SILENT_AFTER - timedelta(seconds=5)
    redis = Redis.from_url(app.config["CHM"].redis_url)
    redis.hset(worker.key, "last_heartbeat", silent_since.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))

    assert client.get("/readyz").get_json()["checks"]["worker"] == NO_WORKER


def test_readyz_does_not_count_a_worker_of_another_queue(app: Flask, client: FlaskClient) -> None:
    redis = Redis.from_url(app.config["CHM"].redis_url)
    Worker([Queue("another", connection=redis)], connection=redis).register_birth()  # type: ignore[no-untyped-call]

    assert client.get("/readyz").get_json()["checks"]["worker"] == NO_WORKER


def test_readyz_names_the_database_that_is_away(config: Config) -> None:
    response = stranded(config, database_url=AWAY["database_url"]).get("/readyz")

    checks = response.get_json()["checks"]
    assert response.status_code == 503
    assert checks["database"] == checks["migrations"] == "The database does not answer."
    assert checks["redis"] == "ok"
    assert "hunter2" not in response.text


def test_readyz_names_the_redis_that_is_away(config: Config, app: Flask) -> None:
    response = stranded(config, redis_url=AWAY["redis_url"]).get("/readyz")

    checks = response.get_json()["checks"]
    assert response.status_code == 503
    assert (checks["database"], checks["migrations"]) == ("ok", "ok")
    assert "Redis" in checks["redis"]
    assert "Redis" in checks["worker"]


@pytest.mark.usefixtures("worker")
def test_readyz_at_a_wrong_migration_says_what_to_run(client: FlaskClient, session: scoped_session[Session]) -> None:
    session.execute(sa.text("UPDATE alembic_version SET version_num = '0001'"))
    session.commit()

    response = client.get("/readyz")

    assert response.status_code == 503
    checks = response.get_json()["checks"]
    assert checks["migrations"].startswith("The schema is at 0001, not at ")
    assert checks["migrations"].endswith("Run: chm db upgrade")
    assert checks["database"] == "ok"


@pytest.mark.usefixtures("worker")
def test_readyz_of_an_empty_database_says_what_to_run(client: FlaskClient, session: scoped_session[Session]) -> None:
    session.execute(sa.text("DROP TABLE alembic_version"))
    session.commit()

    message = client.get("/readyz").get_json()["checks"]["migrations"]

    assert message.startswith("The schema is at nothing, not at ")


def test_readyz_is_well_again_when_the_database_is(app: Flask, client: FlaskClient, worker: Worker) -> None:
    for _ in range(2):
        assert client.get("/readyz").status_code == 200
    worker.register_death()  # type: ignore[no-untyped-call]
    assert client.get("/readyz").status_code == 503
    worker.register_birth()  # type: ignore[no-untyped-call]
    assert client.get("/readyz").status_code == 200
