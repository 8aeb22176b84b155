"""``make pictures``: runs the demo and takes every page, in each of its states, at two sizes in both themes.

All of them go to a directory to be looked through; ``--docs`` renews those in docs/ instead. It needs Chromium.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.sync_api import (
    Browser,
    BrowserContext,
    Page,
    StorageState,
    ViewportSize,
    expect,
    sync_playwright,
)
from urllib3 import PoolManager
from urllib3.exceptions import HTTPError

from pictures.states import STATES, State

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = "/usr/bin/chromium"
PASSWORD = "pictures"  # noqa: S105 - of a demo that lives for minutes on the loopback interface
START_SECONDS = 600.0

Theme = Literal["light", "dark"]
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
THEMES: tuple[Theme, ...] = ("light", "dark")

# Name: (page, size, theme), as docs/pages.md and the README show them.
DOCS: dict[str, tuple[str, str, Theme]] = {
    "overview": ("overview", "desktop", "light"),
    "pages-changes": ("changes", "desktop", "light"),
    "pages-client": ("client", "desktop", "light"),
    "pages-pipeline": ("pipeline", "desktop", "dark"),
    "pages-run": ("run", "desktop", "light"),
    "pages-pipelines": ("pipelines", "desktop", "light"),
    "pages-insights": ("insights", "desktop", "light"),
    "pages-phone": ("overview", "phone", "dark"),
}


@dataclass(frozen=True)
class Camera:
    """A browser that shows the demo to somebody who is signed in."""

    browser: Browser
    url: str
    state: StorageState

    def open(self, size: str, theme: Theme, *, signed_in: bool = True, script: bool = True) -> BrowserContext:
        """Open a window of a size in a theme."""
        width, height = SIZES[size]
        viewport: ViewportSize = {"width": width, "height": height}
        return self.browser.new_context(
            viewport=viewport,
            color_scheme=theme,
            storage_state=self.state if signed_in else None,
            java_script_enabled=script,
            timezone_id="Asia/Tokyo",  # the reader's own, where it is asked for: not UTC, or it could not be seen
            reduced_motion="reduce",
        )

    def take(self, path: str, file: Path, *, size: str, theme: Theme, state: State) -> None:
        """Take one page, once all of its parts are there and what its state asks for is done."""
        context = self.open(size, theme, signed_in=state.signed_in, script=state.script)
        page = context.new_page()
        page.goto(self.url + path)
        if state.script:
            expect(page.locator("[hx-trigger=load]")).to_have_count(0)
        if state.act is not None:
            state.act(page)
        page.wait_for_timeout(300)  # charts draw themselves in their own time
        page.screenshot(path=file, full_page=state.whole)
        print(f"{file.name}: {file.stat().st_size / 1000:.0f} kB")
        context.close()


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(prog="python -m pictures", description=__doc__)
    parser.add_argument("--into", type=Path, default=ROOT / "build" / "pictures", help="where all pictures go")
    parser.add_argument("--docs", action="store_true", help="renew the pictures in docs/ instead")
    parser.add_argument("--only", nargs="*", metavar="PAGE", help="only these pages or states of pages")
    parser.add_argument("--url", help="of a demo that runs already, with the password " + PASSWORD)
    asked = parser.parse_args()
    with demo(asked.url) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        camera = Camera(browser, url, sign_in(browser, url))
        paths = find_paths(camera)
        if asked.docs:
            for name, (page, size, theme) in DOCS.items():
                file = ROOT / "docs" / f"{name}.png"
                camera.take(paths[page], file, size=size, theme=theme, state=State(page, whole=False))
        else:
            take_all(camera, paths, asked.into, asked.only)
        browser.close()


@contextmanager
def demo(url: str | None) -> Iterator[str]:
    """Run the demo in a directory of its own, unless one runs at ``url``; give its address."""
    if url is not None:
        yield url.rstrip("/")
        return
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="chm-pictures-") as directory:
        command = [sys.executable, "-m", "chm_web.commands", "demo", "--port", str(port)]
        command += ["--data-dir", f"{directory}/demo", "--password", PASSWORD]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        try:
            wait_until_ready(f"http://127.0.0.1:{port}/readyz", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=60)


def wait_until_ready(address: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the demo answers."""
    deadline = time.monotonic() + START_SECONDS
    with PoolManager(timeout=2.0, retries=False) as http:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                sys.exit("The demo has ended: run `make demo` to see why.")
            try:
                if http.request("GET", address).status == 200:
                    return
            except HTTPError:
                pass
            time.sleep(0.5)
    sys.exit(f"The demo did not answer within {START_SECONDS:g} s.")


def sign_in(browser: Browser, url: str) -> StorageState:
    """Sign in as the demo's admin, make the alert rules that the demo has none of, and give the session."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{url}/sign-in")
    page.get_by_label("Name").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{url}/")
    page.goto(f"{url}/alert-rules")
    if page.locator("main tbody tr").count() == 0:
        make_rules(page, url)
    state = context.storage_state()
    context.close()
    return state


def make_rules(page: Page, url: str) -> None:
    """Make an alert rule for each of three clients."""
    for number, destination in enumerate(("#data-oncall", "#orders", "#night-shift"), start=1):
        page.goto(f"{url}/alert-rules/new")
        page.get_by_label("Client", exact=True).select_option(index=number)
        page.get_by_label("Destination").fill(destination)
        page.get_by_role("button", name="Create rule").click()
        expect(page.locator(".toast").last).to_contain_text("created")


def find_paths(camera: Camera) -> dict[str, str]:
    """Give the path of every page by its name, those of single things found as a reader would: by their links."""
    context = camera.open("desktop", "light")
    page = context.new_page()

    def link(path: str, selector: str) -> str:
        page.goto(camera.url + path)
        return page.locator(selector).first.get_attribute("href") or ""

    pipeline = link("/pipelines?order=health", "main tbody th a.name")
    client = link(pipeline, ".crumbs li:last-child a")
    found = {
        "overview": "/",
        "changes": "/overview/changes?changed=24h",
        "clients": "/clients",
        "client": client,
        "client-new": "/clients/new",
        "report": f"{client}/report?window=30d",
        "pipelines": "/pipelines?order=health",
        "pipeline": pipeline,
        "pipeline-edit": f"{pipeline}/edit",
        "runs": "/runs",
        "run": link("/runs?status=failed", "main tbody th a.name"),
        "run-new": f"{pipeline}/runs/new",
        "insights": "/insights?window=30d",
        "alert-rules": "/alert-rules",
        "alert-rule": link("/alert-rules", 'main tbody a[href$="/edit"]'),
        "ingestion": "/ingestion",
        "ingestion-job": link("/ingestion", "#jobs tbody a.name"),
        "search": "/search?q=orders",
        "profile": "/profile",
        "sign-in": "/sign-in",
        "api-docs": "/api/v1/docs",
        "help": "/help",
        "not-found": "/no/such/page",
    }
    context.close()
    return found


def take_all(camera: Camera, paths: dict[str, str], into: Path, only: list[str] | None) -> None:
    """Take each page and state at each size and in each theme, and the report as it is printed."""
    into.mkdir(parents=True, exist_ok=True)
    states = {name: State(name) for name in paths} | STATES
    for name in only or states:
        for size in SIZES:
            for theme in THEMES:
                file = into / f"{name}-{size}-{theme}.png"
                camera.take(states[name].path(paths), file, size=size, theme=theme, state=states[name])
    if not only or "report" in only:
        context = camera.open("desktop", "light")
        page = context.new_page()
        page.goto(camera.url + paths["report"])
        page.pdf(path=into / "report.pdf", prefer_css_page_size=True)
        context.close()


if __name__ == "__main__":
    main()
