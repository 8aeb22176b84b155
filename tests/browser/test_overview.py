"""The first page and what it says of changes, in a real browser."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from chm_web.models import Pipeline, RunStatus
from tests.browser.conftest import Site
from tests.factories import make_pipeline, make_run

pytestmark = pytest.mark.browser


def test_changes_come_by_themselves(page: Page, site: Site) -> None:
    page.goto(site.url)

    changes = page.locator("#changes")
    expect(changes.locator("#newly_failing")).to_contain_text("orders_daily")
    expect(changes.locator("#newly_failing")).to_contain_text("connection to server failed")
    expect(page).to_have_title("(1) Overview - CHM")
    assert site.complaints == []


@pytest.mark.parametrize("javascript", [True, False])
@pytest.mark.parametrize("tile", ["newly_failing", "recovered"])
def test_tile_of_changes_leads_to_its_own(browser: Browser, site: Site, tile: str, javascript: bool) -> None:
    _recover(make_pipeline(site.client, name="recovered_feed"))
    phone: ViewportSize = {"width": 390, "height": 844}
    context = browser.new_context(viewport=phone, java_script_enabled=javascript, reduced_motion="reduce")
    page = site.sign_in(context).new_page()
    page.goto(site.url + "/?changed=7d")

    page.locator(f".tile[href$='#{tile}']").click()

    expect(page).to_have_url(f"{site.url}/#{tile}")
    target = page.locator(f"#{tile}:target")
    expect(target).to_be_in_viewport()
    if javascript:
        expect(target).to_contain_text({"newly_failing": "orders_daily", "recovered": "recovered_feed"}[tile])
        box = target.bounding_box()
        assert box is not None
        assert box["y"] == pytest.approx(64, abs=2)  # right below the top bar
    context.close()


def test_tile_of_a_change_that_did_not_happen_leads_to_all_changes(page: Page, site: Site) -> None:
    page.goto(site.url)
    expect(page.locator("#newly_failing")).to_contain_text("orders_daily")

    page.locator(".tile[href$='#recovered']").click()

    expect(page.locator("#changes-title")).to_be_in_viewport()


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


def _recover(pipeline: Pipeline) -> None:
    """Let a pipeline fail the day before yesterday and succeed an hour ago."""
    for status, hours in ((RunStatus.FAILED, 30), (RunStatus.SUCCESS, 1)):
        ended = datetime.now(UTC) - timedelta(hours=hours)
        make_run(pipeline, status=status, started_at=ended - timedelta(minutes=1), finished_at=ended)
