"""Providers in trouble or of another habit than most, and what they may say of somebody."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from chm_web.config import Config
from tests.access.oidc_steps import KEY, app_at, begin, come_back, go_through, is_signed_in
from tests.access.providers import CLIENT_SECRET, StandIn, new_key

# -- a provider in trouble ----------------------------------------------------------------------------------------

WELL_KNOWN = "/.well-known/openid-configuration"
NONSENSE = [(500, "{}"), (404, "{}"), (200, "<html>"), (200, "[]"), (200, "null")]


@pytest.mark.parametrize("fault", NONSENSE)
def test_provider_that_says_nonsense_of_itself_is_told_and_tried_again(
    browser: FlaskClient, provider: StandIn, fault: tuple[int, str]
) -> None:
    provider.faults[WELL_KNOWN] = fault
    response = browser.get("/sign-in/oidc?next=/clients")
    provider.faults.clear()

    assert response.status_code == 503
    assert "Tallowmere does not answer properly just now" in response.text
    assert 'href="/sign-in/oidc?next=/clients"' in response.text
    assert go_through(browser, provider).status_code == 303


@pytest.mark.parametrize(
    "said",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"token_endpoint": None},
        {"jwks_uri": 5},
    ],
)
def test_provider_that_is_not_the_one_configured_is_not_used(
    browser: FlaskClient, provider: StandIn, said: dict[str, Any]
) -> None:
    provider.discovery = said

    assert browser.get("/sign-in/oidc").status_code == 503


@pytest.mark.parametrize("path", ["/token", "/jwks"])
@pytest.mark.parametrize("fault", NONSENSE)
def test_provider_that_fails_on_the_way_back_signs_nobody_in(
    browser: FlaskClient, provider: StandIn, path: str, fault: tuple[int, str]
) -> None:
    asked = begin(browser, provider)
    provider.faults[path] = fault

    response = come_back(browser, state=asked["state"])

    # An object without tokens is the provider's way to say no.
    assert response.status_code == (400 if (path, fault) == ("/token", (404, "{}")) else 503)
    assert not is_signed_in(browser)


def test_provider_that_is_down_is_told_and_the_password_still_works(app: Flask, config: Config) -> None:
    with StandIn(key=KEY).running() as gone:
        pass
    browser = app_at(gone, config).test_client()

    response = browser.get("/sign-in/oidc")

    assert response.status_code == 503
    assert 'name="password"' in response.text


def test_what_the_provider_says_of_itself_is_asked_once(browser: FlaskClient, provider: StandIn) -> None:
    for _ in range(2):
        assert go_through(browser, provider).status_code == 303
        browser = browser.application.test_client()

    assert [request.path for request in provider.asked] == [WELL_KNOWN, "/token", "/jwks", "/token"]


def test_provider_may_change_its_key(browser: FlaskClient, provider: StandIn) -> None:
    go_through(browser, provider)
    provider.key = new_key("second")

    assert go_through(browser.application.test_client(), provider).status_code == 303


@pytest.mark.parametrize(
    ("methods", "sent"),
    [(None, "header"), (["client_secret_post", "private_key_jwt"], "form"), (["none"], "nowhere")],
)
def test_client_shows_its_secret_as_the_provider_wants_it(
    app: Flask, config: Config, provider: StandIn, methods: list[str] | None, sent: str
) -> None:
    provider.discovery = {"token_endpoint_auth_methods_supported": methods} if methods else {}
    secret = None if sent == "nowhere" else CLIENT_SECRET

    assert go_through(app_at(provider, config, client_secret=secret).test_client(), provider).status_code == 303

    [asked] = [request for request in provider.asked if request.path == "/token"]
    in_header = asked.authorization is not None and asked.authorization.password == CLIENT_SECRET
    in_form = asked.form.get("client_secret") == CLIENT_SECRET
    assert (in_header, in_form) == (sent == "header", sent == "form")


# -- what is said of somebody -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "claims"),
    [
        ("roles", {"roles": ["chm-ops"]}),
        ("resource_access.chm.roles", {"resource_access": {"chm": {"roles": ["chm-ops"]}}}),
        ("https://chm.example/roles", {"https://chm.example/roles": "chm-ops"}),
    ],
)
def test_claim_of_roles_is_found_by_its_path(
    app: Flask, config: Config, provider: StandIn, path: str, claims: dict[str, Any]
) -> None:
    provider.without = ("roles",) if path != "roles" else ()
    provider.claims = claims
    browser = app_at(provider, config, role_claim=path).test_client()

    go_through(browser, provider)

    assert "<dd>operator</dd>" in browser.get("/profile").text


@pytest.mark.parametrize("roles", [5, True, {"chm-admins": 1}, [["chm-admins"]], [None]])
def test_claim_of_roles_that_is_no_text_gives_none(browser: FlaskClient, provider: StandIn, roles: Any) -> None:
    provider.claims = {"roles": roles}

    assert go_through(browser, provider).status_code == 403


def test_claim_of_the_name_may_be_chosen(app: Flask, config: Config, provider: StandIn) -> None:
    provider.claims = {"upn": "mira.k"}
    browser = app_at(provider, config, name_claim="upn").test_client()

    go_through(browser, provider)

    assert "<dd>mira.k</dd>" in browser.get("/profile").text


@pytest.mark.parametrize("name", ["", " ", "x" * 101, "a\nb", 5, None])
def test_name_that_cannot_be_one_signs_nobody_in(app: Flask, config: Config, provider: StandIn, name: Any) -> None:
    provider.claims = {"upn": name}
    browser = app_at(provider, config, name_claim="upn").test_client()

    assert go_through(browser, provider).status_code == 403
    assert not is_signed_in(browser)
