"""How long an SQL statement may take: for who waits for a page or the API, and for others."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from flask import Flask

from chm_web import create_app
from chm_web.access.permissions import Scope
from chm_web.config import Config
from chm_web.extensions import db
from tests.api.envelope import UNAVAILABLE, refusal
from tests.configured import web_app_of
from tests.factories import make_client
from tests.http import client_of, client_with_token


@pytest.fixture
def hasty_app(committed_app: Flask, config: Config) -> Iterator[Flask]:
    """The app as the web server runs it, in which a statement may take one second."""
    with web_app_of(dataclasses.replace(config, statement_timeout_seconds=1)) as app:
        yield app


@pytest.fixture
def held(committed_app: Flask) -> Iterator[sa.Connection]:
    """A transaction because of which nobody can read clients."""
    with db.engine.connect() as connection:
        connection.execute(sa.text("LOCK TABLE clients IN ACCESS EXCLUSIVE MODE"))
        yield connection
        connection.rollback()


@pytest.mark.usefixtures("held")
def test_the_api_says_that_it_took_too_long(hasty_app: Flask, tokens: dict[Scope, str]) -> None:
    response = client_with_token(hasty_app, tokens[Scope.READ]).get("/api/v1/clients")

    assert refusal(response) == UNAVAILABLE
    assert "took too long" in response.get_json()["error"]["message"]
    assert response.headers["Retry-After"] == "5"


def test_the_next_request_is_answered(hasty_app: Flask, held: sa.Connection, tokens: dict[Scope, str]) -> None:
    api = client_with_token(hasty_app, tokens[Scope.READ])
    assert api.get("/api/v1/clients").status_code == 503
    held.rollback()
    name = make_client().name

    assert [item["name"] for item in api.get("/api/v1/clients").get_json()["items"]] == [name]


@pytest.mark.usefixtures("held")
def test_a_page_says_that_it_took_too_long(hasty_app: Flask) -> None:
    response = client_of(hasty_app).get("/clients")

    assert response.status_code == 503
    assert "took too long" in response.text


@pytest.mark.parametrize(("answers_requests", "seconds", "setting"), [(True, 7, "7s"), (True, 0, "0"), (False, 7, "0")])
def test_only_what_answers_requests_is_limited(
    config: Config, answers_requests: bool, seconds: int, setting: str
) -> None:
    limited = dataclasses.replace(config, statement_timeout_seconds=seconds)
    app = create_app(limited, answers_requests=answers_requests)
    with app.app_context():
        assert db.session.scalar(sa.text("SHOW statement_timeout")) == setting
        db.session.remove()
        db.engine.dispose()
