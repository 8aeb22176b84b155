"""A pipeline's history, the runs of all clients, a run, and recording one by hand, in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import Site

pytestmark = pytest.mark.browser


def test_durations_are_drawn_again_when_the_page_refreshes(page: Page, site: Site) -> None:
    page.goto(site.url + site.paths["pipeline"])
    drawn = "Chart.getChart(document.getElementById('durations'))?.data.datasets.map(set => set.label)"
    expected = ["Success", "Failed", "Canceled", "Skipped", "Median", "95th percentile"]
    assert page.evaluate(drawn) == expected

    with page.expect_response(lambda answer: site.paths["pipeline"] in answer.url):
        page.evaluate(
            "document.getElementById('durations').dataset.old = ''; htmx.trigger(document.body, 'chm:visible')"
        )
    expect(page.locator("#durations[data-old]")).to_have_count(0)

    page.wait_for_function(f"({drawn} || []).length === {len(expected)}")
    assert site.complaints == []


def test_open_table_is_not_taken_from_its_reader(page: Page, site: Site) -> None:
    page.goto(site.url + site.paths["pipeline"])
    page.get_by_text("Days as a table").click()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    page.evaluate("htmx.trigger(document.body, 'chm:visible')")
    page.wait_for_timeout(300)

    assert [url for url in asked if url.endswith(site.paths["pipeline"])] == []


def test_dates_narrow_the_runs_of_a_pipeline_and_back_widens_them(page: Page, site: Site) -> None:
    page.goto(site.url + site.paths["pipeline"])
    rows = page.locator(".list-runs tbody tr")
    before = rows.count()
    page.get_by_text("Dates", exact=True).click()
    page.get_by_label("Before").fill("2001-01-01T00:00")

    page.get_by_role("button", name="Show these").click()

    expect(page.get_by_text("No runs in this time")).to_be_visible()
    assert "until=2001-01-01T00" in page.url
    page.go_back()
    expect(rows).to_have_count(before)


def test_recipe_is_copied(context: BrowserContext, page: Page, site: Site) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(site.url + site.paths["pipeline"])
    page.get_by_text("With curl").click()

    page.locator('[data-copies="report-curl"]').click()

    expect(page.get_by_text("Copied.")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith(f"curl -X PUT '{site.url}/api/v1/pipelines/{site.failing.id}/runs/RUN_ID'")


def test_browser_that_lets_nothing_be_copied_says_so(page: Page, site: Site) -> None:
    # As browsers are by plain HTTP under any other name than the machine's own.
    page.add_init_script("Object.defineProperty(Navigator.prototype, 'clipboard', { value: undefined })")
    page.goto(site.url + site.paths["pipeline"])
    page.get_by_text("With curl").click()

    page.locator('[data-copies="report-curl"]').click()

    expect(page.get_by_text("It could not be copied")).to_be_visible()


def test_typing_a_name_filters_the_runs_and_keeps_the_cursor_in_the_field(page: Page, site: Site) -> None:
    page.goto(site.url + "/runs")
    field = page.locator("#filter-q")
    field.click()

    page.keyboard.type("customs")
    expect(page).to_have_url(re.compile(r"[?&]q=customs"))
    # What is typed while the answer comes stands in the field too.
    page.keyboard.type("_f")

    expect(page).to_have_url(re.compile(r"[?&]q=customs_f"))
    expect(field).to_be_focused()
    expect(field).to_have_value("customs_f")
    names = page.locator(".cell-pipeline a:first-child")
    expect(names.first).to_have_text("customs_feed")
    assert set(names.all_inner_texts()) == {"customs_feed"}


def test_filters_stand_in_the_address_and_back_undoes_them(page: Page, site: Site) -> None:
    page.goto(site.url + "/runs")
    page.get_by_label("Status").select_option("failed")
    expect(page).to_have_url(re.compile("status=failed"))
    expect(page.locator(".list-runs .state-ok")).to_have_count(0)

    page.get_by_role("link", name="30 d").click()
    expect(page).to_have_url(re.compile("window=30d.*status=failed|status=failed.*window=30d"))
    page.go_back()
    page.go_back()

    expect(page.get_by_label("Status")).to_have_value("")
    expect(page.locator(".list-runs .state-ok").first).to_be_visible()


def test_keyboard_opens_a_run(page: Page, site: Site) -> None:
    page.goto(site.url + "/runs")

    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")

    expect(page).to_have_url(re.compile(r"/runs/[0-9a-f-]{36}$"))


def test_error_and_payload_of_a_run_are_read_by_keyboard(page: Page, site: Site) -> None:
    page.goto(site.url + site.paths["run"])
    page.get_by_text("What else the source said").click()

    for name in ("#run-error", "#run-payload"):
        page.locator(name).focus()
        expect(page.locator(name)).to_be_focused()
    expect(page.locator("#run-payload")).to_have_text('{\n  "dag_id": "orders_daily"\n}')


def test_run_is_recorded_after_its_fault_is_mended(page: Page, site: Site) -> None:
    page.goto(site.url + site.paths["pipeline"])
    page.get_by_role("link", name="Record a run").click()
    page.get_by_label("Status").select_option("failed")
    page.get_by_label("Started (UTC)").fill("2026-11-01T10:00:00")
    page.get_by_label("Ended (UTC)").fill("2026-11-01T09:00:00")
    page.get_by_label("Error").fill("disk full")

    page.get_by_role("button", name="Record this run").click()

    ended = page.get_by_label("Ended (UTC)")
    expect(ended).to_be_focused()
    expect(ended).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#finished_at-problem")).to_have_text("Must not be before started_at.")
    expect(page.get_by_label("Error")).to_have_value("disk full")

    ended.fill("2026-11-01T10:05:00")
    page.get_by_role("button", name="Record this run").click()

    expect(page.get_by_text("The run is recorded.")).to_be_visible()
    expect(page.locator("#run-error")).to_have_text("disk full")
    expect(page.locator(".run-facts")).to_contain_text("5 min")


def test_runs_are_filtered_and_recorded_without_javascript(browser: Browser, site: Site) -> None:
    context = site.sign_in(browser.new_context(java_script_enabled=False))
    page = context.new_page()
    page.goto(site.url + "/runs")
    page.get_by_label("Status").select_option("failed")
    page.get_by_role("button", name="Apply").click()
    assert "status=failed" in page.url
    expect(page.locator(".list-runs .state-ok")).to_have_count(0)
    page.get_by_text("Dates", exact=True).click()
    page.get_by_label("From").fill("2001-01-01T00:00")
    page.get_by_label("Before").fill("2001-01-02T00:00")
    page.get_by_role("button", name="Show these").click()
    expect(page.get_by_text("No such runs in this time")).to_be_visible()

    page.goto(site.url + site.paths["record a run"])
    page.get_by_role("button", name="Record this run").click()

    expect(page.get_by_text("The run is recorded.")).to_be_visible()
    expect(page.locator("button[data-copies]:visible")).to_have_count(0)
    context.close()
