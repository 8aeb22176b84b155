"""Ingest now in a real browser, with a real worker and a real partner."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Site

pytestmark = pytest.mark.browser

PATIENCE_MS = 60_000


@pytest.mark.usefixtures("worker")
def test_ingest_now_shows_its_end_in_place(page: Page, site: Site) -> None:
    page.goto(site.url)

    page.get_by_role("button", name="Ingest now").click()

    expect(page.locator("#ingest-panel")).to_contain_text("Ingestion finished", timeout=PATIENCE_MS)
    assert page.url == site.url + "/"
    assert page.title().endswith("Overview - CHM")
    assert site.complaints == []


@pytest.mark.usefixtures("worker")
def test_health_refreshes_itself_when_the_ingestion_ended(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/pipelines/{site.readable.id}")
    expect(page.locator("#runs")).to_contain_text("No runs yet")

    page.get_by_role("button", name="Ingest now").click()

    expect(page.locator("#runs tbody tr").first).to_be_visible(timeout=PATIENCE_MS)


@pytest.mark.usefixtures("worker")
def test_ended_ingestion_stops_asking(page: Page, site: Site) -> None:
    page.goto(site.url)
    page.get_by_role("button", name="Ingest now").click()
    expect(page.locator("#ingest-panel")).to_contain_text("Ingestion finished", timeout=PATIENCE_MS)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    page.wait_for_timeout(2500)

    assert not [url for url in asked if "/ingestion/" in url]


@pytest.mark.usefixtures("worker")
def test_ingest_now_works_without_javascript(browser: Browser, site: Site) -> None:
    context = site.sign_in(browser.new_context(java_script_enabled=False))
    page = context.new_page()
    page.goto(site.url)

    page.get_by_role("button", name="Ingest now").click()

    expect(page.locator("h1")).to_have_text("Ingestion of all clients")
    expect(page.locator("#ingest-panel")).to_contain_text("Ingestion finished", timeout=PATIENCE_MS)
    context.close()


def test_pressed_button_hands_the_focus_on(page: Page, site: Site) -> None:
    page.goto(site.url)

    page.get_by_role("button", name="Ingest now").press("Enter")

    expect(page.locator("#ingest-headline")).to_be_focused()
    expect(page.locator("#announcer")).to_have_text("Waiting for a worker")


def test_refusal_is_shown_in_place(page: Page, site: Site) -> None:
    page.goto(site.url + site.paths["pipeline"])  # on a platform that no source serves

    page.get_by_role("button", name="Ingest now").click()

    expect(page.locator("#ingest-panel")).to_contain_text("There is nothing to read here")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


def test_lost_session_leads_to_sign_in_and_back(page: Page, site: Site) -> None:
    page.goto(site.url + site.paths["pipeline"])
    page.context.clear_cookies()

    page.get_by_role("button", name="Ingest now").click()

    expect(page.get_by_role("heading", name="Sign in to CHM")).to_be_visible()
    assert page.locator("input[name=next]").get_attribute("value") == site.paths["pipeline"]
