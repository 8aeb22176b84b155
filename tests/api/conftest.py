"""What tests of the API share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from flask import Flask

from chm_web.config import Config
from chm_web.ingestion import queue
from chm_web.models import Pipeline, Platform
from tests.factories import make_pipeline

NOBODY_LISTENS = "127.0.0.1:9"


@pytest.fixture
def with_partner(app: Flask) -> Iterator[None]:
    """A configured source; nothing reads it, since no worker runs."""
    yield from _reconfigured(app, partner_api_base_url=f"http://{NOBODY_LISTENS}", partner_api_token="t")


@pytest.fixture
def without_redis(app: Flask) -> Iterator[None]:
    """A configured source, and a Redis that does not answer."""
    yield from _reconfigured(
        app, partner_api_base_url=f"http://{NOBODY_LISTENS}", redis_url=f"redis://{NOBODY_LISTENS}"
    )


@pytest.fixture
def orders(app: Flask) -> Pipeline:
    """The pipeline that the events of ``tests.ingestion.lineage`` are of."""
    return make_pipeline(external_id="vendor/nightly_orders", platform=Platform.CUSTOM)


def _reconfigured(app: Flask, **values: object) -> Iterator[None]:
    config: Config = app.config["CHM"]
    app.config["CHM"] = dataclasses.replace(config, **values)  # type: ignore[arg-type]
    queue.init_app(app)
    try:
        yield
    finally:
        app.config["CHM"] = config
        queue.init_app(app)
