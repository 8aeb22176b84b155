"""The app as if it were configured otherwise, and apps of their own beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from flask import Flask

from chm_web import create_app
from chm_web.config import Config
from chm_web.extensions import db
from chm_web.ingestion import queue

NOBODY_LISTENS = "127.0.0.1:9"


@pytest.fixture
def with_partner(app: Flask) -> Iterator[None]:
    """A configured source; nothing reads it, since no worker runs."""
    yield from reconfigured(app, partner_api_base_url=f"http://{NOBODY_LISTENS}", partner_api_token="t")


@pytest.fixture
def without_redis(app: Flask) -> Iterator[None]:
    """A configured source, and a Redis that does not answer."""
    yield from reconfigured(app, partner_api_base_url=f"http://{NOBODY_LISTENS}", redis_url=f"redis://{NOBODY_LISTENS}")


def reconfigured(app: Flask, **values: object) -> Iterator[None]:
    """Let the app have these values of its configuration until the test has ended."""
    config: Config = app.config["CHM"]
    app.config["CHM"] = dataclasses.replace(config, **values)  # type: ignore[arg-type]
    queue.init_app(app)
    try:
        yield
    finally:
        app.config["CHM"] = config
        queue.init_app(app)


@contextmanager
def app_of(config: Config) -> Iterator[Flask]:
    """An app of its own, in its context and with real commits; it leaves no connection open."""
    app = create_app(config)
    app.testing = True
    with app.app_context():
        try:
            yield app
        finally:
            db.session.remove()
            db.engine.dispose()


@contextmanager
def web_app_of(config: Config) -> Iterator[Flask]:
    """An app as the web server runs it, in no context of its own; it leaves no connection open."""
    app = create_app(config, answers_requests=True)
    app.testing = True
    try:
        yield app
    finally:
        with app.app_context():
            db.session.remove()
            db.engine.dispose()
