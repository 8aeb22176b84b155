"""A role that may read the schema ``reporting``, and connections as it. Roles are the whole server's: names are new."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from flask import Flask

from chm_web.extensions import db
from chm_web.services.exceptions import NotFound
from chm_web.services.reader import grant_reader, revoke_reader
from tests.conftest import TABLES

Connect = Callable[[str, str], "psycopg.Connection[Any]"]

PASSWORD = secrets.token_hex(16)


def new_role_name() -> str:
    """A name that no other test or test run uses."""
    return f"chm_test_reader_{secrets.token_hex(4)}"


def plain(url: str) -> str:
    """The URL of a database as psycopg takes it."""
    return sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def _granted(app: Flask, *, with_error_texts: bool = False) -> Iterator[str]:
    role = new_role_name()
    # A context that stayed open would be that of whatever test comes next.
    with app.app_context():
        grant_reader(role=role, password=PASSWORD, with_error_texts=with_error_texts)
    yield role
    with app.app_context():
        revoke_reader(role=role)


@pytest.fixture(scope="session")
def reader_role(base_app: Flask) -> Iterator[str]:
    """A role that was granted what a role is granted by default, with ``PASSWORD``."""
    yield from _granted(base_app)


@pytest.fixture(scope="session")
def trusted_role(base_app: Flask) -> Iterator[str]:
    """One that may read the error texts, too."""
    yield from _granted(base_app, with_error_texts=True)


@pytest.fixture
def connect(base_app: Flask) -> Iterator[Connect]:
    """Sign in to the app's database, in autocommit mode."""
    opened: list[psycopg.Connection[Any]] = []

    def sign_in(role: str, password: str) -> psycopg.Connection[Any]:
        url = plain(base_app.config["CHM"].database_url)
        opened.append(psycopg.connect(url, user=role, password=password, autocommit=True))
        return opened[-1]

    yield sign_in
    for connection in opened:
        connection.close()


@pytest.fixture
def reader(reader_role: str, connect: Connect) -> psycopg.Connection[Any]:
    """A session of the reader."""
    return connect(reader_role, PASSWORD)


@pytest.fixture
def role_name(base_app: Flask) -> Iterator[str]:
    """A name for a role that the test may make; the role is dropped afterwards."""
    role = new_role_name()
    yield role
    with base_app.app_context():
        try:
            revoke_reader(role=role)
        except NotFound:
            db.session.rollback()


@pytest.fixture(scope="module")
def emptied_app(base_app: Flask) -> Iterator[Flask]:
    """The app with real commits for a module whose tests only read; emptied at its end."""
    with base_app.app_context():
        yield base_app
        db.session.remove()
        with db.engine.begin() as connection:
            connection.execute(sa.text(f"TRUNCATE {', '.join(TABLES)}"))
