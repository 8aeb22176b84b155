"""One client, its report and the insights, in a real browser."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Page, expect

from chm_web.models import RunStatus
from tests.browser.conftest import Site
from tests.factories import make_run

pytestmark = pytest.mark.browser


def test_window_of_ones_own_is_asked_for_and_kept(page: Page, site: Site) -> None:
    page.goto(site.url + site.paths["client"])
    page.get_by_text("Dates", exact=True).click()
    page.get_by_label("From").fill("2026-01-02T08:00")
    page.get_by_label("Before").fill("2026-01-03T08:00")

    page.get_by_role("button", name="Show these").click()

    expect(page.get_by_text("2 Jan 2026, 08:00 to 3 Jan 2026, 08:00 UTC")).to_be_visible()
    with page.expect_response(re.compile("/health.*since=2026-01-02T08")):
        page.evaluate("htmx.trigger(document.body, 'chm:visible')")
    page.go_back()
    expect(page.locator("#runs-title")).to_have_text("Runs in the last 24 hours")


def test_window_that_ends_before_it_begins_is_refused_in_words(browser: Browser, site: Site) -> None:
    context = site.sign_in(browser.new_context(java_script_enabled=False))
    page = context.new_page()
    page.goto(site.url + site.paths["client"])
    page.get_by_text("Dates", exact=True).click()
    page.get_by_label("From").fill("2026-01-04T08:00")
    page.get_by_label("Before").fill("2026-01-03T08:00")

    page.get_by_role("button", name="Show these").click()

    expect(page.locator("main")).to_contain_text("since: must be before until.")
    context.close()


def test_timeline_on_a_phone_shows_the_end_of_the_window(browser: Browser, site: Site) -> None:
    context = site.sign_in(browser.new_context(viewport={"width": 390, "height": 844}))
    page = context.new_page()
    page.goto(site.url + site.paths["client"])

    row = page.locator(".timeline-row", has_text="orders_daily")
    box, track = row.bounding_box(), row.locator(".track").bounding_box()
    newest = row.locator(".bar-running").bounding_box()

    assert box and track and newest
    assert track["width"] > 2 * box["width"]
    assert newest["x"] >= 0 and newest["x"] + newest["width"] <= 390
    context.close()


def test_report_is_printed_black_on_white_without_the_page_around_it(browser: Browser, site: Site) -> None:
    context = site.sign_in(browser.new_context(color_scheme="dark"))
    page = context.new_page()
    page.goto(site.url + site.paths["client"])
    page.get_by_role("link", name="Report").click()
    page.get_by_role("link", name="7 d").click()
    expect(page.get_by_role("button", name="Print")).to_be_visible()

    page.emulate_media(media="print")

    expect(page.locator(".topbar")).to_be_hidden()
    expect(page.get_by_role("button", name="Print")).to_be_hidden()
    assert page.evaluate("getComputedStyle(document.querySelector('.report')).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('.report')).color") == "rgb(0, 0, 0)"
    context.close()


def test_insights_give_a_file_of_the_window_shown(page: Page, site: Site) -> None:
    for hours in range(6, 0, -1):
        ended = datetime.now(UTC) - timedelta(hours=hours)
        make_run(site.readable, status=RunStatus.FAILED if hours % 2 else RunStatus.SUCCESS, finished_at=ended)
    page.goto(site.url + "/insights")
    page.get_by_role("link", name="30 d").click()
    expect(page).to_have_url(site.url + "/insights?window=30d")

    with page.expect_download() as download:
        page.get_by_role("link", name="Download CSV").first.click()

    assert download.value.suggested_filename == "flaky-30d.csv"
    lines = download.value.path().read_text(encoding="utf-8-sig").splitlines()
    # A pipeline that failed once and has not recovered is not flaky.
    assert [line.split(",")[1] for line in lines] == ["pipeline", site.readable.name]
    assert site.complaints == []
