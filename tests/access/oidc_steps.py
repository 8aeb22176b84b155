"""The steps of signing in at a stand-in for an OIDC provider, as a browser takes them."""

from __future__ import annotations

import dataclasses
from typing import Any
from urllib.parse import parse_qs, urlsplit

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from chm_web import create_app
from chm_web.config import Config
from tests.access.providers import StandIn, new_key, oidc_settings

KEY = new_key()
CALLBACK = "/sign-in/oidc/callback"


def app_at(provider: StandIn, config: Config, **changed: Any) -> Flask:
    """The app, with the stand-in as its provider."""
    settings = oidc_settings(provider.issuer, **changed)
    return create_app(dataclasses.replace(config, public_url="https://localhost", oidc=settings))


def begin(browser: FlaskClient, provider: StandIn) -> dict[str, str]:
    """Begin to sign in: gives what the provider is asked, and lets its token bear the nonce."""
    response = browser.get("/sign-in/oidc?next=/clients")
    assert response.status_code == 303, response.text
    asked = {name: values[0] for name, values in parse_qs(urlsplit(response.location).query).items()}
    provider.nonce = asked["nonce"]
    return asked


def come_back(browser: FlaskClient, **answer: str) -> TestResponse:
    """Come back from the provider with an answer."""
    return browser.get(CALLBACK, query_string={"code": "a-code-of-the-provider", **answer})


def go_through(browser: FlaskClient, provider: StandIn) -> TestResponse:
    """Begin and come back."""
    return come_back(browser, state=begin(browser, provider)["state"])


def is_signed_in(browser: FlaskClient) -> bool:
    """Whether the browser may see a page."""
    return browser.get("/profile").status_code == 200
