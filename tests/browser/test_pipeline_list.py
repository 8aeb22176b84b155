"""The lists of pipelines and clients, and their forms, in a real browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from chm_web.extensions import db
from chm_web.services.pipelines import get_pipeline
from tests.browser.conftest import Site

pytestmark = pytest.mark.browser


def rows(page: Page) -> list[str]:
    return page.locator("main tbody th a").all_inner_texts()


def test_choice_of_a_filter_applies_at_once_and_back_takes_it_away(page: Page, site: Site) -> None:
    page.goto(site.url + "/pipelines")
    expect(page.locator("main tbody tr")).to_have_count(4)

    page.get_by_label("Status").select_option("failing")

    expect(page.locator("main tbody tr")).to_have_count(1)
    assert rows(page) == ["orders_daily"]
    assert page.url == site.url + "/pipelines?health=failing"

    page.go_back()

    expect(page.locator("main tbody tr")).to_have_count(4)
    expect(page.get_by_label("Status")).to_have_value("")
    assert site.complaints == []


def test_typed_name_filters_while_the_field_keeps_the_focus(page: Page, site: Site) -> None:
    page.goto(site.url + "/pipelines")

    page.get_by_role("searchbox", name="Name", exact=True).press_sequentially("ledger")

    expect(page.locator("main tbody tr")).to_have_count(1)
    expect(page.get_by_role("searchbox", name="Name", exact=True)).to_be_focused()


def test_marked_pipeline_is_disabled_only_by_a_yes(page: Page, site: Site) -> None:
    page.goto(site.url + "/pipelines?q=orders")
    button = page.get_by_role("button", name="Disable", exact=True).first
    expect(button).to_be_disabled()
    page.locator("main tbody th a").focus()
    page.keyboard.press("x")
    expect(page.locator("[data-marked]")).to_have_text("1 marked")

    button.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Disable 1 pipeline?")
    expect(dialog).to_contain_text(f"orders_daily of {site.client.name}")
    expect(dialog).to_contain_text("no longer asked for")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_be_hidden()
    expect(page.locator("main tbody tr")).to_have_count(1)
    button.click()
    dialog.get_by_role("button", name="Disable").click()

    expect(page.locator("#toasts")).to_contain_text("1 pipeline disabled.")
    expect(page.locator(".blank-title")).to_have_text("No pipeline matches these filters")
    assert page.url.endswith("/pipelines?q=orders")


def test_disabling_is_explained_without_javascript(browser: Browser, site: Site) -> None:
    context = site.sign_in(browser.new_context(java_script_enabled=False))
    page = context.new_page()
    page.goto(site.url + "/pipelines")
    page.get_by_label("Status").select_option("failing")
    page.get_by_role("button", name="Apply").click()
    page.locator("main tbody input").check()

    page.get_by_role("button", name="Disable").click()
    expect(page.locator("h1")).to_have_text("Disable 1 pipeline?")
    page.get_by_role("button", name="Disable").click()

    expect(page.locator("#toasts")).to_contain_text("1 pipeline disabled.")
    with site.app.app_context():
        db.session.expire_all()
        assert not get_pipeline(pipeline_id=site.failing.id).is_active
    context.close()


def test_form_of_a_pipeline_leads_to_what_is_wrong_and_then_to_its_page(page: Page, site: Site) -> None:
    page.goto(site.url + f"/clients/{site.client.id}")
    page.get_by_role("link", name="New pipeline").click()
    page.get_by_label("Name").fill("stock_levels")
    page.get_by_label("Platform", exact=True).select_option("dbt")
    page.get_by_role("button", name="Create pipeline").click()

    expect(page.get_by_role("alert").filter(has_text="1 field needs")).to_be_visible()
    expect(page.get_by_label("Type")).to_be_focused()
    expect(page.get_by_label("Name")).to_have_value("stock_levels")

    page.get_by_label("Type").select_option("transform")
    page.get_by_role("button", name="Create pipeline").click()

    expect(page.locator("h1")).to_have_text("stock_levels")
    expect(page.locator("#toasts")).to_contain_text("stock_levels is created.")


def test_pipeline_is_disabled_and_enabled_again_on_its_page(page: Page, site: Site) -> None:
    page.goto(site.url + site.paths["pipeline"])

    page.get_by_role("button", name="Disable").click()
    page.get_by_role("dialog").get_by_role("button", name="Disable").click()
    expect(page.locator("h1")).to_contain_text("Disabled")
    page.get_by_role("button", name="Enable").click()

    expect(page.get_by_role("button", name="Disable")).to_be_visible()
    expect(page.locator("h1")).not_to_contain_text("Disabled")


def test_client_is_created_and_renamed(page: Page, site: Site) -> None:
    page.goto(site.url + "/clients")
    page.get_by_role("link", name="New client").click()
    page.get_by_label("Name").fill("Tallowmere Bank")
    page.get_by_role("button", name="Create client").click()
    expect(page.get_by_label("Name")).to_be_focused()
    expect(page.locator("#name-problem")).to_contain_text("exists already")

    page.get_by_label("Name").fill("Larkspindle")
    page.get_by_role("button", name="Create client").click()
    expect(page.locator("h1")).to_have_text("Larkspindle")
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Name").fill("Larkspindle Travel")
    page.get_by_role("button", name="Save").click()

    expect(page.locator("h1")).to_have_text("Larkspindle Travel")


def test_order_can_be_chosen_on_a_phone(browser: Browser, site: Site) -> None:
    context = site.sign_in(browser.new_context(viewport={"width": 390, "height": 844}))
    page = context.new_page()
    page.goto(site.url + "/pipelines")

    page.get_by_label("Order", exact=True).select_option("health")

    expect(page.locator("main tbody th a").first).to_have_text("orders_daily")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()
