"""Real PostgreSQL and Redis, built by the migrations; every test in a transaction that is rolled back.

``CHM_TEST_DATABASE_URL`` and ``CHM_TEST_REDIS_URL`` name servers to use instead of the embedded ones. A database of
its own is created on the server and dropped at the end; of Redis the whole database named is used and emptied. Tests
look at a server's sessions, locks and roles as if it were theirs alone: where several processes of pytest-xdist run
them, each needs a server of its own, and ``{worker}`` in a URL stands for the number of the process.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import flask_migrate
import pytest
import sqlalchemy as sa
from flask import Flask, g, request_started
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy.orm import scoped_session

from chm_web import create_app
from chm_web.access.permissions import Scope
from chm_web.access.tokens import TokenFile
from chm_web.config import Config
from chm_web.embedded import embedded_services
from chm_web.extensions import db
from tests.http import ApiClient, client_of, client_with_token

TABLES = ("alert_rules", "runs", "pipelines", "clients")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses the database, by whatever way: nothing can be forgotten then when another version is tried."""
    for item in items:
        if "servers" in getattr(item, "fixturenames", ()):
            item.add_marker("database")


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The URLs of PostgreSQL and Redis."""
    database_url, redis_url = _given("CHM_TEST_DATABASE_URL"), _given("CHM_TEST_REDIS_URL")
    if database_url and redis_url:
        yield database_url, redis_url
        return
    with embedded_services(
        tmp_path_factory.mktemp("embedded services"), durable=False, postgres=not database_url, redis=not redis_url
    ) as services:
        yield database_url or services.database_url, redis_url or services.redis_url


def _given(variable: str) -> str:
    """The URL that a variable names for this process; empty when it names none."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return os.environ.get(variable, "").replace("{worker}", worker)


@pytest.fixture(scope="session")
def database_url(servers: tuple[str, str]) -> Iterator[str]:
    """The URL of a new, empty database."""
    with new_database(servers[0]) as url:
        yield url


@contextmanager
def new_database(server_url: str) -> Iterator[str]:
    """Create a database on the server and drop it afterwards."""
    url = sa.make_url(server_url).set(drivername="postgresql+psycopg")
    name = f"chm_test_{secrets.token_hex(4)}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        builtin = connection.dialect.server_version_info >= (17,)  # type: ignore[operator]
        locale = "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'" if builtin else "LC_CTYPE 'C.UTF-8'"
        # UTF-8 whatever the server's default: in SQL_ASCII psycopg would give bytes for text.
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' {locale}"))
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
def tokens_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the app under test keeps its API tokens."""
    return tmp_path_factory.mktemp("credentials") / "tokens.json"


@pytest.fixture(scope="session")
def tokens(tokens_file: Path) -> dict[Scope, str]:
    """A token of each scope; its name is that of the scope."""
    return {scope: TokenFile(tokens_file).create(name=scope.value, scope=scope) for scope in Scope}


@pytest.fixture(scope="session")
def config(database_url: str, servers: tuple[str, str], tokens_file: Path) -> Config:
    """A configuration on the test servers, without a partner and without a limit on requests."""
    return Config(
        database_url=database_url,
        redis_url=servers[1],
        secret_key=secrets.token_hex(32),
        users_file=tokens_file.with_name("users.json"),
        tokens_file=tokens_file,
        api_rate_limit_per_minute=0,
        shared_look_seconds=0,
    )


@pytest.fixture(scope="session")
def base_app(config: Config) -> Flask:
    """The app on a migrated database."""
    app = create_app(config)
    app.testing = True
    request_started.connect(_begin_with_nothing, app)
    with app.app_context():
        flask_migrate.upgrade()
    return app


def _begin_with_nothing(sender: Flask, **_: Any) -> None:
    """Let no request of a test see what the one before left in ``g``: they share the test's own context."""
    for name in list(g):
        g.pop(name)


@pytest.fixture
def app(base_app: Flask) -> Iterator[Flask]:
    """The app in a context and a transaction of the test's own, with an empty Redis."""
    with rolled_back(base_app):
        yield base_app


@contextmanager
def rolled_back(app: Flask) -> Iterator[None]:
    """Work in a context of the app's and in one transaction that is rolled back, with an empty Redis."""
    with app.app_context(), db.engine.connect() as connection:
        engines = db._app_engines[app]
        engine = engines[None]
        transaction = connection.begin()
        db.session.remove()
        # Code under test may commit: its session works in savepoints of this transaction.
        db.session.session_factory.configure(join_transaction_mode="create_savepoint")
        engines[None] = connection  # type: ignore[assignment]
        Redis.from_url(app.config["CHM"].redis_url).flushdb()
        try:
            yield
        finally:
            db.session.remove()
            engines[None] = engine
            db.session.session_factory.configure(join_transaction_mode="conditional_savepoint")
            transaction.rollback()


@pytest.fixture
def session(app: Flask) -> scoped_session[Any]:
    """The session that code under test uses."""
    return db.session


@pytest.fixture
def committed_app(base_app: Flask) -> Iterator[Flask]:
    """The app with real commits, for tests with several processes, threads or connections; emptied afterwards."""
    with base_app.app_context():
        Redis.from_url(base_app.config["CHM"].redis_url).flushdb()
        try:
            yield base_app
        finally:
            db.session.remove()
            with db.engine.begin() as connection:
                # Not TRUNCATE: a browser that is just closed may still have a page read, and each would wait for the
                # other.
                for table in TABLES:
                    connection.execute(sa.text(f"DELETE FROM {table}"))


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser without JavaScript in which an admin is signed in."""
    return client_of(app)


@pytest.fixture
def api(app: Flask, tokens: dict[Scope, str]) -> ApiClient:
    """A service that uses the REST API with a token that may do everything."""
    return ApiClient(client_with_token(app, tokens[Scope.WRITE]))
