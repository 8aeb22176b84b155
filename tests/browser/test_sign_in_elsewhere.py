"""Signing in at an OIDC provider in a real browser: cookies, redirects between sites and the policy of our pages."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Browser, expect
from werkzeug.serving import make_server

from chm_web import create_app
from chm_web.config import Config
from tests.access.providers import certified_provider, oidc_settings, reserved_address
from tests.http import serving

pytestmark = pytest.mark.browser


def test_person_signs_in_at_another_site_and_comes_back_to_the_page_asked_for(
    browser: Browser, committed_app: Flask, config: Config, tmp_path: Path
) -> None:
    with reserved_address() as listening:
        # To a browser localhost and 127.0.0.1 are two sites.
        url = f"http://localhost:{listening.getsockname()[1]}"
        with certified_provider(tmp_path, site=url, claims_in_id_token=True) as provider:
            settings = oidc_settings(provider.issuer, role_claim="realm_access.roles")
            provider.say("mira", preferred_username="Mira", realm_access={"roles": ["chm-ops"]})
            app = create_app(dataclasses.replace(config, public_url=url, oidc=settings))
            page = browser.new_page()
            with serving(make_server("127.0.0.1", 0, app, threaded=True, fd=listening.fileno())):
                page.goto(f"{url}/profile")
                page.get_by_role("link", name="Sign in with Tallowmere").click()
                page.locator("input[name=login]").fill("mira")
                page.locator("input[name=password]").fill("any")
                page.get_by_role("button", name="Sign-in").click()
                page.get_by_role("button", name="Continue").click()

                page.wait_for_url(f"{url}/profile")
                expect(page.get_by_role("definition").filter(has_text="Mira")).to_be_visible()
                expect(page.get_by_role("definition").filter(has_text="operator").first).to_be_visible()
            page.close()
