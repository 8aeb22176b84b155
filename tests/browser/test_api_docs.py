"""Swagger UI in a real browser, under its policy."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site

pytestmark = pytest.mark.browser


def test_api_can_be_read_in_the_browser(page: Page, site: Site) -> None:
    page.goto(site.url + "/api/v1/docs", wait_until="networkidle")

    operation = page.locator("#operations-Pipelines-list_pipelines")
    operation.locator(".opblock-summary-control").click()

    expect(operation).to_contain_text("Each with its health and its latest run.")
    expect(operation).to_contain_text("Only those in this health.")
    expect(operation).to_contain_text("orders_daily")
    assert site.complaints == []


def test_api_can_be_tried_in_the_browser(page: Page, site: Site) -> None:
    page.goto(site.url + "/api/v1/docs", wait_until="networkidle")

    operation = page.locator("#operations-Clients-list_clients")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()

    expect(operation.locator(".live-responses-table")).to_contain_text("x-request-id")
    assert [text for text in site.complaints if "policy" in text.lower()] == []


def test_api_is_read_without_asking_anybody_else(page: Page, site: Site) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    page.goto(site.url + "/api/v1/docs", wait_until="networkidle")

    expect(page.locator(".info .title")).to_contain_text("CHM")
    assert [url for url in asked if not url.startswith((site.url, "data:"))] == []
