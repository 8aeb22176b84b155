"""What tests of the pages share."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from chm_web.config import Config
from chm_web.ingestion import queue

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
