"""The pages in a real browser: their looks, their console, their accessibility."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, Page, expect

from chm_web.extensions import db
from chm_web.models import Client, Pipeline
from tests.browser.conftest import ROOT, Site, watched

pytestmark = pytest.mark.browser

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
PAGES = [
    "overview",
    "healthy",
    "changes",
    "clients",
    "client",
    "report",
    "insights",
    "pipeline",
    "profile",
    "search",
    "help",
    "alert rules",
    "alert rule",
    "ingestion",
    "runs",
    "no runs",
    "run",
    "record a run",
    "client form",
    "pipelines",
    "pipeline form",
    "sign-in",
    "not found",
]
SIZES = {"desktop": (1440, 900), "phone": (390, 844)}
# What a reader would have to scroll sideways for, and what a card cuts off at its edge.
TOO_WIDE = """() => {
  const cut = Array.from(document.querySelectorAll(".card *")).filter(part => {
    const room = part.parentElement.closest(".card, .scroll, pre");
    if (!room.matches(".card") || part.closest("svg, .visually-hidden, thead")) return false;
    return part.getBoundingClientRect().right > room.getBoundingClientRect().right + 1;
  });
  const page = document.documentElement;
  const wide = page.scrollWidth > window.innerWidth ? ["page of " + page.scrollWidth] : [];
  return wide.concat(cut.slice(0, 3).map(part => part.outerHTML.slice(0, 120)));
}"""


# As long as names may be: one that could break nowhere, and one that could at every space.
LONG_NAMES = {"unbroken": "w" * 200, "of words": ("many a word " * 17)[:200]}


def open_browser(browser: Browser, site: Site, size: str, theme: Any) -> tuple[Page, Page]:
    """Open a browser of a size and theme: a page of somebody who is signed in, and one of nobody."""
    width, height = (SIZES | {"laptop": (1280, 800), "tablet": (768, 1024)})[size]
    looks = {"viewport": {"width": width, "height": height}, "color_scheme": theme}
    signed_in = site.sign_in(browser.new_context(**looks))
    return watched(signed_in.new_page(), site), watched(browser.new_context(**looks).new_page(), site)


def open_all(browser: Browser, site: Site, size: str, theme: Any) -> Iterator[tuple[str, Page]]:
    """Open every page, one after the other."""
    somebody, nobody = open_browser(browser, site, size, theme)
    for name in PAGES:
        page = nobody if name == "sign-in" else somebody
        page.goto(site.url + site.paths[name])
        # Parts that a page asks for once it is shown belong to it.
        expect(page.locator("[hx-trigger=load]")).to_have_count(0)
        yield name, page
    somebody.context.close()
    nobody.context.close()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_is_free_of_axe_violations(browser: Browser, site: Site, size: str, theme: str) -> None:
    axe = AXE.read_text(encoding="utf-8")
    found = []
    for name, page in open_all(browser, site, size, theme):
        # The tests read the page from outside its policy; what the page itself does stays under it.
        page.evaluate(axe)
        result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        found += [(name, violation["id"], violation["nodes"][0]["html"][:200]) for violation in result["violations"]]

    assert found == []


def test_every_page_keeps_the_console_clean(page: Page, site: Site) -> None:
    for name in PAGES:
        page.goto(site.url + site.paths[name], wait_until="networkidle")

    # Chromium notes the status of the page that is not there.
    assert [text for text in site.complaints if "404" not in text] == []


@pytest.mark.parametrize(
    ("size", "long_name"),
    [("tablet", None), *((size, name) for size in ("laptop", "phone") for name in (None, *LONG_NAMES.values()))],
    ids=["tablet", *(f"{size}-{names}" for size in ("laptop", "phone") for names in ("ordinary names", *LONG_NAMES))],
)
def test_nothing_is_wider_than_its_window(browser: Browser, site: Site, size: str, long_name: str | None) -> None:
    if long_name:
        rename_all(site, long_name)

    wide = {name: found for name, page in open_all(browser, site, size, "light") if (found := page.evaluate(TOO_WIDE))}

    assert wide == {}


@pytest.mark.parametrize("size", ["laptop", "phone"])
def test_long_names_are_clipped_in_rows_and_whole_at_the_head_of_their_page(
    browser: Browser, site: Site, size: str
) -> None:
    rename_all(site, LONG_NAMES["unbroken"])
    page, _ = open_browser(browser, site, size, "light")
    for path in ("/", "/clients", "/pipelines", "/runs", "/alert-rules", "/search?q=www"):
        page.goto(site.url + path)
        name = page.locator("main").get_by_role("link", name=re.compile("^w{199}[a-z]$")).first
        box = name.bounding_box()
        assert box is not None
        assert box["height"] < 60, path
        assert len(name.get_attribute("title") or "") == 200

    page.goto(site.url + site.paths["pipeline"])
    head = page.locator("h1").first.evaluate("head => [head.scrollWidth - head.clientWidth, head.innerText.length]")
    assert head == [0, 200]
    page.context.close()


def test_navigation_is_not_clipped_on_a_phone(browser: Browser, site: Site) -> None:
    page, _ = open_browser(browser, site, "phone", "light")
    page.goto(site.url)
    page.get_by_role("button", name="Menu").click()

    controls = page.locator(".topbar a:visible, .topbar button:visible, .topbar input:visible").all()
    assert len(controls) > 5
    for control in controls:
        box = control.bounding_box()
        assert box is not None
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    page.context.close()


def test_theme_choice_is_kept_on_the_next_page(page: Page, site: Site) -> None:
    page.goto(site.url)
    theme = page.locator('[data-action="theme"]')
    theme.click()
    theme.click()

    page.goto(site.url + "/clients")

    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")


def test_theme_is_set_before_the_page_is_painted(page: Page, site: Site) -> None:
    page.goto(site.url)
    page.evaluate("localStorage.setItem('chm-theme', 'dark')")
    page.add_init_script(
        "new MutationObserver((_, me) => { if (document.body) { me.disconnect();"
        " window.atFirst = document.documentElement.dataset.bsTheme; } })"
        ".observe(document, {childList: true, subtree: true});"
    )

    page.goto(site.url)

    assert page.evaluate("window.atFirst") == "dark"


def test_times_turn_to_the_readers_zone(browser: Browser, site: Site) -> None:
    context = site.sign_in(browser.new_context(timezone_id="Asia/Kolkata"))
    page = context.new_page()
    page.goto(site.url + site.paths["pipeline"])
    started = page.locator("time[data-moment=short]").first
    moment = started.get_attribute("datetime") or ""
    in_utc = started.inner_text()

    page.locator('[data-action="zone"]').click()

    assert moment[11:19] in in_utc
    assert started.inner_text() != in_utc
    assert "GMT+5:30" in (started.get_attribute("title") or "")
    assert "GMT+5:30" in page.locator("main thead").last.inner_text()
    context.close()


def test_title_and_icon_show_the_number_failing(page: Page, site: Site) -> None:
    page.goto(site.url)

    expect(page).to_have_title("(1) Overview - CHM")
    assert (page.locator('link[rel="icon"]').get_attribute("href") or "").startswith("data:image/svg+xml")


def test_keyboard_reaches_the_content_by_the_skip_link(page: Page, site: Site) -> None:
    page.goto(site.url)

    page.keyboard.press("Tab")
    expect(page.locator(".skip-link")).to_be_focused()
    page.keyboard.press("Enter")

    expect(page.locator("main")).to_be_focused()


def test_hidden_tab_asks_for_nothing(page: Page, site: Site) -> None:
    page.goto(site.url)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    page.evaluate("htmx.trigger(document.body, 'chm:visible')")
    page.wait_for_timeout(300)

    assert asked == []


def test_tab_that_is_seen_again_refreshes_itself(page: Page, site: Site) -> None:
    page.goto(site.url)

    with page.expect_response("**/overview/health"):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_refresh_that_fails_keeps_the_content_and_says_so(page: Page, site: Site) -> None:
    page.goto(site.url)
    page.route("**/overview/health", lambda route: route.abort())

    page.evaluate("htmx.trigger(document.body, 'chm:visible')")

    expect(page.locator("#notice")).to_contain_text("cannot be reached")
    expect(page.locator("#failing-title")).to_be_visible()


def rename_all(site: Site, long_name: str) -> None:
    """Call every client and pipeline by a long name, whose last letter alone tells them apart."""
    for letter, client in zip(string.ascii_lowercase, db.session.scalars(sa.select(Client)), strict=False):
        client.name = long_name[:-1] + letter
    for letter, pipeline in zip(string.ascii_lowercase, db.session.scalars(sa.select(Pipeline)), strict=False):
        pipeline.name = long_name[:-1] + letter
    db.session.commit()
