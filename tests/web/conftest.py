"""What tests of the pages share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from chm_web.extensions import db
from tests.configured import with_partner, without_redis

__all__ = ["Send", "count_queries", "csrf_token", "send", "version", "with_partner", "without_redis"]

Send = Callable[..., TestResponse]


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
    """Gives how many queries something sends to the database, savepoints (the tests' own) and settings left aside."""

    def count(action: Callable[[], Any]) -> int:
        with _statements(app) as sent:
            action()
        return sum(not statement.startswith(("SAVEPOINT", "RELEASE", "ROLLBACK", "SET LOCAL")) for statement in sent)

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
