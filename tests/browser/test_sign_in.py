"""Signing in and out in a real browser, and what another site can make it do."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, Page, expect

from chm_web.access.permissions import Role
from chm_web.access.users import UserFile
from chm_web.ingestion.queue import latest_jobs
from tests.browser.conftest import Site
from tests.http import serving

pytestmark = pytest.mark.browser

NAME, PASSWORD = "mira", "correct horse battery"


@pytest.fixture
def users(site: Site) -> Iterator[UserFile]:
    """The site's users: one viewer."""
    file: UserFile = site.app.extensions["chm_users"]
    file.add(name=NAME, role=Role.VIEWER, password=PASSWORD)
    yield file
    file.path.unlink()


@pytest.fixture
def stranger(browser: Browser) -> Iterator[Page]:
    """A browser in which nobody is signed in."""
    context = browser.new_context()
    yield context.new_page()
    context.close()


def fill_in(page: Page, password: str = PASSWORD) -> None:
    """Sign in by keyboard alone, from where the page has put the cursor."""
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type(NAME)
    page.keyboard.press("Tab")
    page.keyboard.type(password)
    page.keyboard.press("Enter")


@pytest.mark.usefixtures("users")
def test_signing_in_leads_to_the_page_that_was_asked_for(stranger: Page, site: Site) -> None:
    stranger.goto(site.url + site.paths["pipeline"])
    fill_in(stranger)

    expect(stranger.get_by_role("heading", name="orders_daily")).to_be_visible()
    assert stranger.url == site.url + site.paths["pipeline"]


@pytest.mark.usefixtures("users")
def test_wrong_password_is_told_and_the_name_is_kept(stranger: Page, site: Site) -> None:
    stranger.goto(site.url)
    fill_in(stranger, "wrong")

    expect(stranger.get_by_role("alert").filter(has_text="The name or the password is wrong.")).to_be_visible()
    assert stranger.get_by_label("Name").input_value() == NAME
    expect(stranger.get_by_label("Password")).to_be_focused()


def test_link_signs_in_with_one_press(stranger: Page, site: Site, users: UserFile) -> None:
    stranger.goto(f"{site.url}/sign-in/link/{users.make_link(name=NAME)}")
    expect(stranger.get_by_role("button", name=f"Sign in as {NAME}")).to_be_focused()
    stranger.keyboard.press("Enter")

    expect(stranger.get_by_role("heading", name="Overview")).to_be_visible()


@pytest.mark.usefixtures("users")
def test_viewer_is_shown_no_control_and_signs_out(stranger: Page, site: Site) -> None:
    stranger.goto(site.url)
    fill_in(stranger)
    expect(stranger.get_by_role("heading", name="Overview")).to_be_visible()
    assert stranger.get_by_role("button", name="Ingest now").count() == 0

    stranger.get_by_role("link", name=NAME).click()
    stranger.get_by_role("button", name="Sign out", exact=True).click()

    expect(stranger.get_by_role("heading", name="Sign in to CHM")).to_be_visible()
    stranger.goto(site.url + "/clients")
    expect(stranger.get_by_role("heading", name="Sign in to CHM")).to_be_visible()


def test_theme_and_time_zone_are_chosen_on_the_profile(page: Page, site: Site) -> None:
    page.goto(site.url + "/profile")
    page.get_by_role("radio", name="Dark").check()
    page.get_by_role("radio", name="Your time zone").check()

    page.goto(site.url)
    assert page.locator("html").get_attribute("data-bs-theme") == "dark"
    expect(page.locator("[data-zone-label]")).to_have_text("Local")
    page.goto(site.url + "/profile")
    expect(page.get_by_role("radio", name="Dark")).to_be_checked()
    assert site.complaints == []


# -- another site -------------------------------------------------------------------------------------------------


@pytest.fixture
def evil(site: Site) -> Iterator[str]:
    """A page of another origin that sends a form and a request to the site as soon as it is opened."""
    html = f"""
        <form id="f" method="post" action="{site.url}/ingestion/sync"><input name="source" value="partner"></form>
        <script>
          fetch("{site.url}/api/v1/clients", {{method: "POST", credentials: "include", mode: "no-cors", body: "{{}}"}});
          document.getElementById("f").submit();
        </script>"""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_request(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with serving(server):
        # Another name is another site; another port of the same name is the same site to SameSite cookies.
        yield f"http://localhost:{server.server_port}/"


def test_page_of_another_site_starts_nothing(page: Page, site: Site, evil: str) -> None:
    page.goto(site.url)

    page.goto(evil)
    page.wait_for_url(site.url + "/**")

    assert latest_jobs() == []


def test_page_of_the_same_host_on_another_port_starts_nothing(page: Page, site: Site, evil: str) -> None:
    page.goto(site.url)

    # To the browser this is the same site: the cookie comes along, and the missing token is what refuses.
    page.goto(evil.replace("localhost", "127.0.0.1"))
    page.wait_for_url(site.url + "/ingestion/sync")

    assert "Error 400" in page.content()
    assert latest_jobs() == []


def test_injected_script_does_not_run(page: Page, site: Site) -> None:
    page.goto(site.url)

    page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'window.pwned = 1';"
        " document.body.append(s);"
        " const i = document.createElement('img'); i.setAttribute('onerror', 'window.pwned = 2'); i.src = 'x:';"
        " document.body.append(i); }"
    )
    page.wait_for_timeout(200)

    assert page.evaluate("window.pwned") is None
    assert any("policy" in complaint for complaint in site.complaints)
