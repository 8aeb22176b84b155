"""The page of ingestion in a real browser, with and without a worker, and the banner of every page."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from playwright.sync_api import Browser, Page, expect

from chm_web.ingestion.queue.connection import state
from chm_web.ingestion.queue.signs import give_sign
from tests.browser.conftest import Site

pytestmark = pytest.mark.browser

PATIENCE_MS = 60_000


@pytest.mark.usefixtures("worker")
def test_source_is_ingested_and_its_success_shows(page: Page, site: Site) -> None:
    page.goto(site.url + "/ingestion")
    expect(page.locator("#sources")).to_contain_text("Not yet")

    page.get_by_role("button", name="Ingest now: partner").click()

    expect(page.locator("#ingest-panel")).to_contain_text("Ingestion finished", timeout=PATIENCE_MS)
    expect(page.locator("#sources")).not_to_contain_text("Not yet")
    expect(page.locator("#jobs")).to_contain_text("This source")
    expect(page.locator("#jobs .cell-status")).to_contain_text("Finished")
    assert site.complaints == []


def test_pressing_twice_makes_one_job(page: Page, site: Site) -> None:
    page.goto(site.url + "/ingestion")
    button = page.get_by_role("button", name="Ingest now: partner")
    button.click()
    expect(page.locator("#ingest-panel")).to_contain_text("Waiting for a worker")
    expect(page.locator("#jobs tbody tr")).to_have_count(1)

    button.click()

    expect(page.locator("#ingest-headline")).to_be_focused()
    page.reload()
    expect(page.locator("#jobs tbody tr")).to_have_count(1)


def test_banner_leads_to_the_page_of_ingestion(page: Page, site: Site) -> None:
    page.goto(site.url + "/clients")
    banner = page.get_by_role("region", name="Problems with ingestion")
    expect(banner).to_contain_text("No worker is alive")

    banner.get_by_role("link", name="See ingestion").click()

    expect(page.get_by_role("heading", name="Ingestion", level=1)).to_be_visible()


def test_banner_goes_by_itself_when_all_is_well_again(page: Page, site: Site) -> None:
    page.goto(site.url + "/clients")
    banner = page.locator("#ingestion-banner")
    expect(banner).to_contain_text("No worker is alive")
    with site.app.app_context():
        now = datetime.now(UTC)
        give_sign(state().redis, worker=now, schedule=now)

    page.evaluate("htmx.trigger(document.body, 'chm:visible')")

    expect(banner).to_have_text("")


def test_source_is_ingested_without_javascript(browser: Browser, site: Site) -> None:
    context = site.sign_in(browser.new_context(java_script_enabled=False))
    page = context.new_page()
    page.goto(site.url + "/ingestion")

    page.get_by_role("button", name="Ingest now: partner").click()

    expect(page.locator("h1")).to_have_text("Ingestion of partner")
    expect(page.locator("#ingest-panel")).to_contain_text("Waiting for a worker")
    context.close()
