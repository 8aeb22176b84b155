"""What tests of the pages share."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from chm_web.config import Config
from chm_web.extensions import db
from chm_web.ingestion import queue

Send = Callable[..., TestResponse]

PARTNER = "http://127.0.0.1:9"


@pytest.fixture
def with_partner(app: Flask) -> Iterator[None]:
    """A configured source; nothing reads it, since no worker runs."""
    yield from _reconfigured(app, partner_api_base_url=PARTNER, partner_api_token="t")


@pytest.fixture
def without_redis(app: Flask) -> Iterator[None]:
    """A configured source, and a Redis that does not answer."""
    yield from _reconfigured(app, partner_api_base_url=PARTNER, redis_url="redis://127.0.0.1:9")


def _reconfigured(app: Flask, **values: object) -> Iterator[None]:
    config: Config = app.config["CHM"]
    app.config["CHM"] = dataclasses.replace(config, **values)  # type: ignore[arg-type]
    queue.init_app(app)
    yield
    app.config["CHM"] = config
    queue.init_app(app)


@pytest.fixture
def csrf_token(client: FlaskClient) -> str:
    """The token that the forms of ``client`` carry."""
    found = re.search(r'name="csrf-token" content="([^"]+)"', client.get("/clients").text)
    assert found
    return found.group(1)


@pytest.fixture
def send(client: FlaskClient, csrf_token: str) -> Send:
    """Sends a form."""

    def post(address: str, **values: str) -> TestResponse:
        return client.post(address, data={"csrf_token": csrf_token, **values})

    return post


def version(page: str) -> str:
    """The version that a form carries of what it shows."""
    found = re.search(r'name="version" value="(\w+)"', page)
    assert found
    return found[1]


@pytest.fixture
def count_queries(app: Flask) -> Callable[[Callable[[], Any]], int]:
    """Gives how many queries something sends to the database, savepoints left aside: those are the tests' own."""

    def count(action: Callable[[], Any]) -> int:
        with _statements(app) as sent:
            action()
        return sum(not statement.startswith(("SAVEPOINT", "RELEASE", "ROLLBACK")) for statement in sent)

    return count


@contextmanager
def _statements(app: Flask) -> Iterator[list[str]]:
    sent: list[str] = []

    def note(*arguments: Any) -> None:
        sent.append(arguments[2])

    with app.app_context():
        engine = db.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)
