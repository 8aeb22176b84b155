"""The keyboard, the search and the menu, in a real browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import Site, watched

pytestmark = pytest.mark.browser


def test_slash_leads_to_the_search_and_finds_while_typing(page: Page, site: Site) -> None:
    page.goto(site.url)

    page.keyboard.press("/")
    page.keyboard.type("orders")
    expect(page.locator("#suggestions a")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")

    page.wait_for_url(f"**/pipelines/{site.failing.id}")


@pytest.mark.parametrize("last", ["s", "z"], ids=["still there", "gone"])
def test_answer_that_comes_while_the_suggestions_are_walked_leaves_the_focus(page: Page, site: Site, last: str) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(f"**/search/suggestions?q=order{last}", hold)
    page.goto(site.url)
    page.keyboard.press("/")
    page.keyboard.type("order")
    expect(page.locator("#suggestions a")).to_have_count(1)
    with page.expect_request(f"**/search/suggestions?q=order{last}"):
        page.keyboard.type(last)

    page.keyboard.press("ArrowDown")
    expect(page.locator("#suggestions a")).to_be_focused()
    page.evaluate("document.querySelector('#suggestions').setAttribute('data-old', '')")
    held[0].continue_()
    expect(page.locator("#suggestions[data-old]")).to_have_count(0)

    if last == "z":
        expect(page.locator("#search")).to_be_focused()
    else:
        expect(page.locator("#suggestions a")).to_be_focused()
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/pipelines/{site.failing.id}")


def test_escape_closes_the_suggestions(page: Page, site: Site) -> None:
    page.goto(site.url)
    page.keyboard.press("/")
    page.keyboard.type("orders")
    expect(page.locator("#suggestions a")).to_have_count(1)

    page.keyboard.press("Escape")

    expect(page.locator("#suggestions a")).to_have_count(0)


def test_enter_in_the_search_leads_to_all_results(page: Page, site: Site) -> None:
    page.goto(site.url)
    page.keyboard.press("/")
    page.keyboard.type("orders")
    page.keyboard.press("Enter")

    page.wait_for_url("**/search?q=orders")
    expect(page.locator("main")).to_contain_text("orders_daily")


def test_rows_are_walked_and_opened_by_key(page: Page, site: Site) -> None:
    page.goto(site.url)

    page.keyboard.press("j")
    expect(page.locator("main tbody tr").first.locator("a.name")).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("Enter")

    page.wait_for_url(f"**/pipelines/{site.failing.id}")


def test_letters_are_letters_where_one_types(page: Page, site: Site) -> None:
    page.goto(site.url)
    page.locator("#search").focus()

    page.keyboard.type("jk?g")

    expect(page.locator("#search")).to_have_value("jk?g")
    expect(page.locator("#keys")).not_to_be_visible()


def test_question_mark_shows_the_keys_and_escape_hides_them(page: Page, site: Site) -> None:
    page.goto(site.url)

    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    expect(page.locator("#keys").get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Escape")

    expect(page.locator("#keys")).not_to_be_visible()


def test_g_and_a_letter_go_to_a_section(page: Page, site: Site) -> None:
    page.goto(site.url)

    page.keyboard.press("g")
    page.keyboard.press("c")

    page.wait_for_url("**/clients")


def test_menu_of_a_phone_opens_and_leads_on(browser: Browser, site: Site) -> None:
    context = site.sign_in(browser.new_context(viewport={"width": 390, "height": 844}))
    page = watched(context.new_page(), site)
    page.goto(site.url)
    expect(page.locator(".topnav")).not_to_be_visible()

    page.get_by_role("button", name="Menu").click()
    page.locator(".topnav").get_by_role("link", name="Clients").click()

    page.wait_for_url("**/clients")
    context.close()


@pytest.mark.parametrize("width", [390, 1440])
def test_navigation_and_search_need_no_script(browser: Browser, site: Site, width: int) -> None:
    context = site.sign_in(browser.new_context(viewport={"width": width, "height": 844}, java_script_enabled=False))
    page = context.new_page()
    page.goto(site.url)

    expect(page.locator(".topnav").get_by_role("link", name="Clients")).to_be_visible()
    page.locator("#search").fill("orders")
    page.locator("#search").press("Enter")

    page.wait_for_url("**/search?q=orders")
    context.close()
