"""Two people edit one pipeline: the later one sees what differs, and decides."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from chm_web.models import Platform
from chm_web.services.pipelines import update_pipeline
from tests.browser.conftest import Site

pytestmark = pytest.mark.browser


def test_their_value_is_taken_at_a_press_and_one_of_ones_own_is_kept(page: Page, site: Site) -> None:
    page.goto(site.url + site.paths["pipeline form"])
    page.get_by_label("Name", exact=True).fill("orders_mine")
    theirs = {"name": "orders_theirs", "platform": Platform.DBT}
    update_pipeline(pipeline_id=site.failing.id, changes=theirs, updated_by="anna")

    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert").filter(has_text="Somebody else")).to_be_visible()
    expect(page.locator("#name-theirs")).to_contain_text("Theirs: orders_theirs")
    expect(page.locator("#platform-theirs")).to_contain_text("Theirs: dbt")
    expect(page.locator(".form-stale")).to_contain_text("by anna")

    page.locator("#platform-theirs").get_by_role("button", name="Take theirs").click()
    expect(page.get_by_label("Platform", exact=True)).to_have_value("dbt")
    expect(page.get_by_label("Platform", exact=True)).to_be_focused()
    page.get_by_role("button", name="Save").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("orders_mine")
    expect(page.locator(".page-facts")).to_contain_text("dbt")
    assert site.complaints == [
        "Failed to load resource: the server responded with a status of 422 (UNPROCESSABLE ENTITY)"
    ]
