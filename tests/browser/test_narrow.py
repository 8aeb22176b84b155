"""What differs with the width: what a phone folds and leaves out, and heads that stay in sight on a desktop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Site, watched
from tests.factories import make_pipeline

pytestmark = pytest.mark.browser


@pytest.fixture
def phone(browser: Browser, site: Site) -> Iterator[Page]:
    """A phone on which an admin is signed in."""
    context = site.sign_in(browser.new_context(viewport={"width": 390, "height": 844}))
    yield watched(context.new_page(), site)
    context.close()


def test_help_is_in_the_menu_of_a_phone(phone: Page, site: Site) -> None:
    phone.goto(site.url)
    phone.get_by_role("button", name="Menu").click()
    phone.locator(".topnav").get_by_role("link", name="Help").click()

    expect(phone.get_by_role("heading", name="Help", exact=True)).to_be_visible()


def test_filters_wait_behind_a_button_but_for_those_in_use(phone: Page, site: Site) -> None:
    phone.goto(site.url + "/runs?status=failed")
    expect(phone.get_by_label("Status")).to_be_visible()
    expect(phone.get_by_label("Platform")).to_be_hidden()

    button = phone.get_by_role("button", name="Filters")
    button.click()
    expect(phone.get_by_label("Platform")).to_be_visible()
    expect(button).to_have_attribute("aria-expanded", "true")

    # The list comes anew with its filters: they stay open.
    phone.get_by_label("Platform").select_option("airflow")
    phone.wait_for_url("**platform=airflow**")
    expect(phone.get_by_label("Client", exact=True)).to_be_visible()


def test_what_comes_second_is_folded_and_stays_as_the_reader_has_it(phone: Page, site: Site) -> None:
    phone.goto(site.url + site.paths["pipeline"])
    durations = phone.get_by_role("heading", name="Duration", exact=True)
    expect(durations).to_be_hidden()

    phone.locator("[data-fold=history] > summary").click()
    expect(durations).to_be_visible()
    with phone.expect_response(lambda response: "/pipelines/" in response.url):
        phone.evaluate("htmx.trigger(document.body, 'chm:visible')")
    expect(durations).to_be_visible()

    phone.set_viewport_size({"width": 1280, "height": 800})
    expect(durations).to_be_visible()
    expect(phone.locator("[data-fold=history] > summary")).to_be_hidden()


def test_all_of_it_is_there_without_javascript(browser: Browser, site: Site) -> None:
    context = site.sign_in(browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 844}))
    page = context.new_page()
    page.goto(site.url + site.paths["pipeline"])
    expect(page.get_by_role("heading", name="Duration", exact=True)).to_be_visible()
    page.goto(site.url + "/runs")
    expect(page.get_by_label("Platform")).to_be_visible()
    context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_heads_of_a_long_list_stay_below_the_top_bar(browser: Browser, site: Site, theme: str) -> None:
    for _ in range(30):
        make_pipeline(site.client)
    context = site.sign_in(browser.new_context(viewport={"width": 1280, "height": 600}, color_scheme=theme))  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(site.url + "/pipelines")
    page.evaluate("window.scrollTo(0, 900)")
    head, bar = page.locator("main thead th").nth(1).bounding_box(), page.locator(".topbar").bounding_box()

    assert head is not None and bar is not None
    assert 0 <= head["y"] - (bar["y"] + bar["height"]) < 2
    on_top = "([x, y]) => document.elementFromPoint(x, y).closest('thead') !== null"
    assert page.evaluate(on_top, [head["x"] + 20, head["y"] + head["height"] / 2])

    # A row that the keyboard goes back to does not hide below them.
    for _ in range(12):
        page.keyboard.press("k")
    # Once it has scrolled there: a busy browser takes its time.
    is_below = "least => document.querySelector('main tbody tr:focus-within').getBoundingClientRect().top >= least"
    page.wait_for_function(is_below, arg=head["y"] + head["height"] - 1, timeout=5_000)
    context.close()
