"""The first page and what it says of changes, in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Site

pytestmark = pytest.mark.browser


def test_changes_come_by_themselves(page: Page, site: Site) -> None:
    page.goto(site.url)

    changes = page.locator("#changes")
    expect(changes.locator("#newly_failing")).to_contain_text("orders_daily")
    expect(changes.locator("#newly_failing")).to_contain_text("connection to server failed")
    expect(page).to_have_title("(1) Overview - CHM")
    assert site.complaints == []


def test_moment_to_compare_with_stands_in_the_address(page: Page, site: Site) -> None:
    page.goto(site.url)
    page.get_by_role("navigation", name="Changed since").get_by_role("link", name="7 d").click()
    expect(page).to_have_url(f"{site.url}/?changed=7d#changes")

    page.locator("#changed-since").fill("2026-01-02T08:00")
    page.locator("#changes").get_by_role("button", name="Show", exact=True).click()

    expect(page.locator("#changes-title")).to_contain_text("2 Jan, 08:00:00")
    page.go_back()
    expect(page.get_by_role("navigation", name="Changed since").locator("[aria-current]")).to_have_text("7 d")


def test_failures_are_drawn_and_drawn_again_by_platform(page: Page, site: Site) -> None:
    names = "() => Chart.getChart('failures-over-time').data.datasets.map(set => set.label)"
    page.goto(site.url)
    expect(page.locator("#failures-over-time")).to_have_css("display", "block")
    assert page.evaluate(names) == [site.client.name]

    page.get_by_role("link", name="By platform").click()

    expect(page).to_have_url(re.compile(r"by=platform"))
    expect(page.locator("#failures-over-time")).to_have_css("display", "block")  # drawn, that is
    assert page.evaluate(names) == ["Airflow"]


def test_changes_are_a_link_away_without_javascript(browser: Browser, site: Site) -> None:
    context = site.sign_in(browser.new_context(java_script_enabled=False))
    page = context.new_page()
    page.goto(site.url)

    page.get_by_role("link", name="What has changed, and failures over time").click()

    expect(page.locator("#newly_failing")).to_contain_text("orders_daily")
    page.get_by_text("Figures as a table").click()
    expect(page.get_by_role("table")).to_be_visible()
    context.close()
