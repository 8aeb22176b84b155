"""Alert rules in a real browser: the list, the form and what it shows of itself before it is saved."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Site

pytestmark = pytest.mark.browser


def fill(page: Page, site: Site, destination: str) -> None:
    """Fill the form of a new rule of the site's client."""
    page.goto(site.url + "/alert-rules/new")
    page.locator("#rule-form").get_by_label("Client").select_option(str(site.client.id))
    page.locator("#rule-form").get_by_label("Destination").fill(destination)


def test_rule_is_made_as_it_is_previewed(page: Page, site: Site) -> None:
    fill(page, site, "#oncall")
    preview = page.locator("#preview")

    expect(preview).to_contain_text("Covers 3 pipelines")
    expect(preview).to_contain_text("Would have fired 1 time")
    page.locator("#rule-form").get_by_label("Pipeline").select_option(label="orders_daily")
    expect(preview).to_contain_text("Covers 1 pipeline")
    # Its last three runs failed, an hour between them.
    page.locator("#rule-form").get_by_label("Tell").select_option("failures_in_window")
    expect(preview).to_contain_text("Give a threshold and a window")
    page.locator("#rule-form").get_by_label("Failures").fill("2")
    page.locator("#rule-form").get_by_label("Within (minutes)").fill("150")
    expect(preview).to_contain_text("Would have fired 1 time")
    page.locator("#rule-form").get_by_label("Within (minutes)").fill("59")
    expect(preview).to_contain_text("Would have fired 0 times")

    page.get_by_role("button", name="Create rule").click()

    expect(page.locator(".toast")).to_contain_text("The alert rule is created.")
    expect(page.locator(".list-rules")).to_contain_text("2 failures within 59 min")
    assert site.complaints == []


def test_refused_rule_puts_the_cursor_where_the_mistake_is(page: Page, site: Site) -> None:
    fill(page, site, "oncall")

    page.get_by_role("button", name="Create rule").click()

    field = page.locator("#rule-form").get_by_label("Destination")
    expect(field).to_be_focused()
    expect(field).to_have_value("oncall")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#destination-problem")).to_contain_text("#channel")
    expect(page.locator("#rule-form").get_by_label("Client")).to_have_value(str(site.client.id))


def test_other_client_takes_the_chosen_pipeline_away(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/alert-rules/new?pipeline_id={site.failing.id}")
    expect(page.locator("#preview")).to_contain_text("Covers 1 pipeline")

    page.locator("#rule-form").get_by_label("Client").select_option(label="Tallowmere Bank")

    expect(page.locator("#rule-form").get_by_label("Pipeline")).to_have_value("")
    expect(page.locator("#rule-form").get_by_label("Pipeline")).to_contain_text("ledger_export")
    expect(page.locator("#preview")).to_contain_text("Would have fired 0 times")


def test_rule_is_deleted_only_after_a_yes(page: Page, site: Site) -> None:
    page.goto(site.url + site.paths["alert rule"])
    page.get_by_role("button", name="Delete rule").click()
    page.get_by_role("button", name="Keep it").click()
    expect(page).to_have_url(site.url + site.paths["alert rule"])

    page.get_by_role("button", name="Delete rule").click()
    page.locator("#confirm-delete").get_by_role("button", name="Delete rule").click()

    expect(page.locator(".toast")).to_contain_text("The alert rule is deleted.")
    expect(page.locator("#rules")).not_to_contain_text("#data-alerts")


def test_rule_is_silenced_in_the_list_as_it_was_filtered(page: Page, site: Site) -> None:
    page.goto(site.url + "/alert-rules?channel=slack")

    page.get_by_role("button", name="Disable the rule").click()

    expect(page).to_have_url(site.url + "/alert-rules?channel=slack")
    expect(page.get_by_role("button", name="Enable the rule")).to_be_visible()


def test_filters_stand_in_the_address_and_back_takes_them_off(page: Page, site: Site) -> None:
    page.goto(site.url + "/alert-rules")

    page.get_by_label("State").select_option("no")

    expect(page.locator("#rules")).to_contain_text("No alert rule matches these filters.")
    assert "enabled=no" in page.url
    page.go_back()
    expect(page.locator("#rules")).to_contain_text("#data-alerts")


def test_rule_is_made_without_javascript(browser: Browser, site: Site) -> None:
    context = site.sign_in(browser.new_context(java_script_enabled=False))
    page = context.new_page()
    fill(page, site, "#oncall")
    page.get_by_role("button", name="Show its pipelines").click()
    page.locator("#rule-form").get_by_label("Pipeline").select_option(label="orders_daily")
    page.get_by_role("button", name="Look again").click()
    expect(page.locator("#preview")).to_contain_text("Covers 1 pipeline")

    page.get_by_role("button", name="Create rule").click()

    expect(page.locator(".list-rules")).to_contain_text("orders_daily")
    context.close()


def test_keys_lead_through_the_rows(page: Page, site: Site) -> None:
    page.goto(site.url + "/alert-rules")

    page.keyboard.press("j")
    page.keyboard.press("Enter")

    expect(page).to_have_url(f"{site.url}/clients/{site.client.id}")
