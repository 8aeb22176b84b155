"""Signing in at a certified OIDC provider, as a browser does: from the sign-in page there and back."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from flask import Flask
from werkzeug.serving import make_server

from chm_web import create_app
from chm_web.config import Config
from tests.access.providers import (
    CLIENT_SECRET,
    CertifiedProvider,
    certified_provider,
    oidc_settings,
    reserved_address,
    sign_in_at,
)
from tests.http import serving


@dataclass
class Site:
    """A running app and the provider at which people sign in to it."""

    url: str
    provider: CertifiedProvider

    def sign_in(self, login: str, target: str = "", browser: requests.Session | None = None) -> requests.Response:
        """Sign in with a browser; gives the page at the end."""
        return sign_in_at(browser or requests.Session(), f"{self.url}/sign-in/oidc?next={target}", login)


@pytest.fixture(scope="module", params=["claims in the id token", "claims at the provider alone"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    """A provider and the socket of the site that it sends people back to."""
    with reserved_address() as listening:
        site = f"http://localhost:{listening.getsockname()[1]}"
        directory = tmp_path_factory.mktemp("provider")
        in_token = request.param == "claims in the id token"
        with certified_provider(directory, site=site, claims_in_id_token=in_token) as provider:
            yield provider, listening


@pytest.fixture
def site(committed_app: Flask, config: Config, place: tuple[Any, Any]) -> Iterator[Site]:
    """The app at the address that the provider knows."""
    provider, listening = place
    url = f"http://localhost:{listening.getsockname()[1]}"
    settings = oidc_settings(provider.issuer, role_claim="realm_access.roles")
    app = create_app(dataclasses.replace(config, public_url=url, oidc=settings))
    with serving(make_server("127.0.0.1", 0, app, threaded=True, fd=listening.fileno())):
        yield Site(url, provider)


def role_of(page: requests.Response) -> str | None:
    """The role that the profile page shows."""
    return next((role for role in ("viewer", "operator", "admin") if f"<dd>{role}</dd>" in page.text), None)


@pytest.mark.parametrize(
    ("said", "role"),
    [
        (["chm-admins", "chm-viewers"], "admin"),
        (["others", "chm-ops"], "operator"),
        ("chm-viewers", "viewer"),
    ],
)
def test_whoever_signs_in_gets_the_greatest_role_that_the_provider_gives(site: Site, said: Any, role: str) -> None:
    site.provider.say("mira", preferred_username="Mira", realm_access={"roles": said})

    page = site.sign_in("mira", target="/profile")

    assert (page.status_code, page.url) == (200, f"{site.url}/profile")
    assert role_of(page) == role
    assert "<dd>Mira</dd>" in page.text
    assert "with your organisation&#39;s account" in page.text


def test_sign_in_leads_to_the_overview_when_no_page_was_asked_for(site: Site) -> None:
    site.provider.say("mira", preferred_username="Mira", realm_access={"roles": ["chm-ops"]})

    page = site.sign_in("mira", target="https://evil.example/")

    assert page.url == f"{site.url}/"
    assert "Ingest now" in page.text


def test_change_of_role_counts_from_the_next_sign_in(site: Site) -> None:
    site.provider.say("mira", preferred_username="Mira", realm_access={"roles": ["chm-admins"]})
    first = requests.Session()
    assert role_of(site.sign_in("mira", "/profile", first)) == "admin"
    site.provider.say("mira", preferred_username="Mira", realm_access={"roles": ["chm-viewers"]})

    assert role_of(site.sign_in("mira", "/profile")) == "viewer"
    assert role_of(first.get(f"{site.url}/profile")) == "admin"


@pytest.mark.parametrize("claims", [{"realm_access": {"roles": ["others", "*"]}}, {"realm_access": []}, {}])
def test_without_a_role_nobody_gets_in_and_is_told_why(site: Site, claims: dict[str, Any]) -> None:
    site.provider.say("mira", preferred_username="Mira", **claims)
    browser = requests.Session()

    page = site.sign_in("mira", browser=browser)

    assert page.status_code == 403
    assert "You are signed in at Tallowmere as Mira, but nothing" in page.text
    assert browser.get(f"{site.url}/profile").url.startswith(f"{site.url}/sign-in")


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"email": "mira@tallowmere.example"}, "mira@tallowmere.example"),
        ({"preferred_username": "x" * 101}, "mira"),
    ],
)
def test_who_has_no_usable_name_is_known_by_the_next_best(site: Site, claims: dict[str, Any], name: str) -> None:
    site.provider.say("mira", realm_access={"roles": ["chm-ops"]}, **claims)

    assert f"<dd>{name}</dd>" in site.sign_in("mira", "/profile").text


def test_answer_of_the_provider_works_once_and_in_no_other_browser(site: Site) -> None:
    site.provider.say("mira", preferred_username="Mira", realm_access={"roles": ["chm-ops"]})
    browser = requests.Session()
    page = site.sign_in("mira", browser=browser)
    [answer] = [step.url for step in page.history if "/callback" in step.url]
    browser.cookies.clear()

    for visitor in (browser, requests.Session()):
        refused = visitor.get(answer)
        assert refused.status_code == 400
        assert "Begin anew" in refused.text
        assert visitor.get(f"{site.url}/profile").url.startswith(f"{site.url}/sign-in")


def test_who_turns_back_at_the_provider_is_told_so(site: Site) -> None:
    site.provider.say("mira", preferred_username="Mira", realm_access={"roles": ["chm-ops"]})
    browser = requests.Session()
    form = browser.get(f"{site.url}/sign-in/oidc?next=/clients")

    page = browser.get(f"{form.url}/abort")

    assert page.status_code == 403
    assert "You were not signed in at Tallowmere: it answered access_denied." in page.text
    assert f"{site.url}/sign-in/oidc?next=/clients".removeprefix(site.url) in page.text


def test_sign_in_page_offers_the_provider_and_keeps_the_way_back(site: Site) -> None:
    page = requests.get(f"{site.url}/clients", timeout=10).text

    assert "Sign in with Tallowmere" in page
    assert 'href="/sign-in/oidc?next=/clients"' in page


def test_log_tells_who_signed_in_and_no_secret(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.provider.say("mira", preferred_username="Mira", realm_access={"roles": ["chm-ops"]})
    with caplog.at_level(logging.DEBUG):
        page = site.sign_in("mira")

    [answer] = [urlsplit(step.url) for step in page.history if "/callback" in step.url]
    code = dict(part.split("=") for part in answer.query.split("&"))["code"]
    # The line of every request is the test server's own.
    ours = [vars(record) for record in caplog.records if record.name != "werkzeug"]
    assert [(line["user"], line["role"], line["method"]) for line in ours if line["msg"] == "signed in"] == [
        ("Mira", "operator", "oidc")
    ]
    said = str(
        [line for line in ours if line["name"] != "urllib3.connectionpool" or "callback" not in str(line["args"])]
    )
    for secret in (code, CLIENT_SECRET, "code_verifier", "id_token"):
        assert secret not in said
