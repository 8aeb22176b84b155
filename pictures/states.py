"""States of pages that are not there when a page is opened: what is asked, refused, marked or found empty.

Each is reached as a user reaches it, and none saves anything: an ingestion that is asked for is all that stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from playwright.sync_api import Page, expect

Act = Callable[[Page], None]


@dataclass(frozen=True)
class State:
    """A state of a page: ``page`` by its name in the pictures, what its path ends in, and what is done there."""

    page: str
    ending: str = ""  # in place of the page's own query
    act: Act | None = None
    signed_in: bool = True
    script: bool = True
    whole: bool = True  # all of the page's length, or what is to be seen at once, as where a dialog lies over it

    def path(self, paths: dict[str, str]) -> str:
        """Give the path to open, ``paths`` being those of the pages."""
        path = paths[self.page]
        return path.partition("?")[0] + self.ending if self.ending else path


def press(name: str) -> Act:
    """Give what presses the first button of a name."""
    return lambda page: page.get_by_role("button", name=name, exact=True).first.click()


def _sign_in_wrongly(page: Page) -> None:
    page.get_by_label("Name").fill("admin")
    page.get_by_label("Password").fill("no such password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()


def _send_empty(page: Page) -> None:
    for field in page.locator("main form input:not([type=hidden]):not([type=checkbox]):visible").all():
        field.fill("")
    page.locator("main .form-actions button[type=submit]").first.click()
    expect(page.locator(".form-problem")).to_be_visible()


def _record_wrongly(page: Page) -> None:
    page.get_by_label("Duration in seconds").fill("soon")
    page.get_by_label("Rows").fill("-1")
    press("Record this run")(page)
    expect(page.locator(".form-problem")).to_be_visible()


def _choose_client(page: Page) -> None:
    page.get_by_label("Client", exact=True).select_option(index=1)
    expect(page.locator("#preview")).to_contain_text("Covers")


def _mark_three(page: Page) -> None:
    for mark in page.locator("main tbody input[type=checkbox]").all()[:3]:
        mark.check()


def _disable_marked(page: Page) -> None:
    _mark_three(page)
    press("Disable")(page)
    expect(page.get_by_role("dialog")).to_be_visible()


def _ask_for_keys(page: Page) -> None:
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()


def _open_menu(page: Page) -> None:
    menu = page.get_by_role("button", name="Menu")
    if menu.is_visible():
        menu.click()


def _search(page: Page) -> None:
    _open_menu(page)
    page.locator("#search").press_sequentially("orr")
    expect(page.locator("#suggestions li").first).to_be_visible()


def _open_all(page: Page) -> None:
    page.evaluate("document.querySelectorAll('main details').forEach(one => { one.open = true })")


def _ingest(page: Page) -> None:
    press("Ingest now")(page)
    expect(page.locator(".ingest-queued, .ingest-running")).to_be_visible()


def _ingest_to_its_end(page: Page) -> None:
    press("Ingest now")(page)
    expect(page.locator(".ingest-finished, .ingest-failed")).to_be_visible(timeout=60_000)


def _in_the_readers_zone(page: Page) -> None:
    page.locator("[data-action=zone]").click()


STATES: dict[str, State] = {
    "sign-in": State("sign-in", signed_in=False),
    "sign-in-wrong": State("sign-in", act=_sign_in_wrongly, signed_in=False),
    "client-new-wrong": State("client-new", act=_send_empty),
    "client-edit": State("client", "/edit"),
    "client-disable": State("client", act=press("Disable"), whole=False),
    "client-24h": State("client", "?window=24h"),
    "client-none": State("clients", "?q=nothing-like-it"),
    "pipeline-new": State("pipelines", "/new"),
    "pipeline-new-wrong": State("pipelines", "/new", act=_send_empty),
    "pipeline-edit-wrong": State("pipeline-edit", act=_send_empty),
    "pipeline-disable": State("pipeline", act=press("Disable"), whole=False),
    "pipeline-open": State("pipeline", act=_open_all),
    "pipeline-failed-runs": State("pipeline", "?status=failed"),
    "pipelines-none": State("pipelines", "?q=nothing-like-it"),
    "pipelines-late": State("pipelines", "?health=late"),
    "pipelines-marked": State("pipelines", act=_mark_three, whole=False),
    "pipelines-disable": State("pipelines", act=_disable_marked, whole=False),
    "pipelines-plainly": State("pipelines", script=False),
    "runs-none": State("runs", "?q=nothing-like-it"),
    "runs-failed": State("runs", "?status=failed"),
    "run-open": State("run", act=_open_all),
    "run-new-wrong": State("run-new", act=_record_wrongly),
    "alert-rule-new": State("alert-rules", "/new"),
    "alert-rule-preview": State("alert-rules", "/new", act=_choose_client),
    "alert-rule-wrong": State("alert-rules", "/new", act=_send_empty),
    "alert-rule-delete": State("alert-rule", act=press("Delete rule"), whole=False),
    "alert-rules-none": State("alert-rules", "?q=nothing-like-it"),
    "search-none": State("search", "?q=nothing-like-it"),
    "search-suggestions": State("overview", act=_search, whole=False),
    "keys": State("overview", act=_ask_for_keys, whole=False),
    "menu": State("overview", act=_open_menu, whole=False),
    "overview-open": State("overview", act=_open_all),
    "overview-zone": State("overview", act=_in_the_readers_zone, whole=False),
    "overview-plainly": State("overview", script=False),
    "changes-7d": State("changes", "?changed=7d"),
    "insights-7d": State("insights", "?window=7d"),
    "insights-open": State("insights", act=_open_all),
    "ingesting": State("ingestion", act=_ingest),
    "ingested": State("client", act=_ingest_to_its_end, whole=False),
}
