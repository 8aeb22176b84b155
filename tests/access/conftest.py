"""A stand-in for an OIDC provider, and a browser before the app that trusts it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from chm_web.config import Config
from tests.access.oidc_steps import KEY, app_at
from tests.access.providers import StandIn


@pytest.fixture(scope="module")
def stand_in() -> Iterator[StandIn]:
    """A stand-in, on a port of its own."""
    with StandIn(key=KEY).running() as running:
        yield running


@pytest.fixture
def provider(stand_in: StandIn) -> StandIn:
    """The stand-in, as yet an honest provider."""
    stand_in.key = KEY
    stand_in.reset()
    return stand_in


@pytest.fixture
def browser(app: Flask, config: Config, provider: StandIn) -> FlaskClient:
    """A browser in which nobody is signed in."""
    return app_at(provider, config).test_client()
