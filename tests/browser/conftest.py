"""The app behind a real server, with a real worker and a partner, and Debian's Chromium before it."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from werkzeug.serving import make_server

from chm_web import create_app
from chm_web.access.permissions import Role
from chm_web.config import Config
from chm_web.demo.fleet import CLIENTS
from chm_web.demo.partner import PartnerServer
from chm_web.ingestion.progress import UnmappedReport
from chm_web.ingestion.queue import note_unmapped
from chm_web.models import AlertRule, Client, Environment, Pipeline, PipelineType, Platform, Run, RunStatus
from tests.factories import make_alert_rule, make_client, make_pipeline, make_run
from tests.http import client_of, serving
from tests.processes import environ_of

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
TOKEN = "token-of-the-tests"

# Violations of the policy are events of the page, not only lines on the console.
_WATCH_POLICY = """
document.addEventListener("securitypolicyviolation", event => console.error("policy: " + event.violatedDirective));
"""


@dataclass
class Site:
    """A running app and what it shows."""

    url: str
    app: Flask
    client: Client
    failing: Pipeline
    readable: Pipeline
    rule: AlertRule
    failed_run: Run
    complaints: list[str] = field(default_factory=list)

    def sign_in(self, context: BrowserContext, role: Role = Role.ADMIN) -> BrowserContext:
        """Let a browser be one in which somebody is signed in."""
        name = self.app.config["SESSION_COOKIE_NAME"]
        cookie = client_of(self.app, role=role).get_cookie(name)
        assert cookie is not None
        context.add_cookies([{"name": name, "value": cookie.value, "url": self.url}])
        return context

    @property
    def paths(self) -> dict[str, str]:
        """Every page by name."""
        return {
            "overview": "/",
            "healthy": "/?health=healthy",
            "changes": "/overview/changes?changed=7d",
            "clients": "/clients",
            "client": f"/clients/{self.client.id}",
            "client form": f"/clients/{self.client.id}/edit",
            "pipelines": "/pipelines?active=all",
            "report": f"/clients/{self.client.id}/report?window=7d",
            "insights": "/insights",
            "pipeline": f"/pipelines/{self.failing.id}",
            "alert rules": "/alert-rules",
            "alert rule": f"/alert-rules/{self.rule.id}/edit",
            "ingestion": "/ingestion",
            "runs": "/runs",
            "no runs": "/runs?q=nothing+bears+this+name",
            "run": f"/runs/{self.failed_run.id}",
            "record a run": f"/pipelines/{self.failing.id}/runs/new",
            "pipeline form": f"/pipelines/{self.failing.id}/edit",
            "profile": "/profile",
            "search": "/search?q=orders",
            "help": "/help",
            "sign-in": "/sign-in?next=/clients",
            "not found": "/no/such/page",
        }


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, started once."""
    if not Path(CHROMIUM).exists():
        pytest.skip("Debian's Chromium is not installed")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield chromium
        chromium.close()


@pytest.fixture
def partner() -> Iterator[PartnerServer]:
    """The demo's partner."""
    server = PartnerServer(token=TOKEN)
    with serving(server):
        yield server


@pytest.fixture
def site(committed_app: Flask, config: Config, partner: PartnerServer) -> Iterator[Site]:
    """The app on a free port of the loopback interface, with a small inventory."""
    configured = dataclasses.replace(
        config, partner_api_base_url=partner.base_url, partner_api_token=TOKEN, partner_page_size=200
    )
    app = create_app(configured)
    client, failing, readable, failed_run = _make_inventory()
    rule = make_alert_rule(client_id=client.id)
    with app.app_context():
        _report_unmapped()
    server = make_server("127.0.0.1", 0, app, threaded=True)
    with serving(server):
        yield Site(f"http://127.0.0.1:{server.server_port}", app, client, failing, readable, rule, failed_run)


@pytest.fixture
def worker(config: Config, partner: PartnerServer) -> Iterator[None]:
    """A worker process on the same servers."""
    environment = environ_of(config, CHM_PARTNER_API_BASE_URL=partner.base_url, CHM_PARTNER_API_TOKEN=TOKEN)
    process = subprocess.Popen([sys.executable, str(ROOT / "worker.py")], env=environment, cwd=ROOT)
    yield
    process.terminate()
    process.wait(timeout=30)


@pytest.fixture
def context(browser: Browser, site: Site) -> Iterator[BrowserContext]:
    """A desktop browser in which an admin is signed in."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    yield site.sign_in(context)
    context.close()


@pytest.fixture
def page(context: BrowserContext, site: Site) -> Page:
    """A desktop page; what it complains of is noted in ``site.complaints``."""
    return watched(context.new_page(), site)


def watched(page: Page, site: Site) -> Page:
    """Note everything that the page's console complains of."""
    page.add_init_script(_WATCH_POLICY)
    page.on("console", lambda message: site.complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: site.complaints.append(str(error)))
    return page


def _report_unmapped() -> None:
    """Events of a job that nobody has registered."""
    report = UnmappedReport(
        name="vendor/nightly_orders",
        reason="No active pipeline has this external id.",
        status=RunStatus.FAILED,
        sample={"job": "nightly_orders", "platform": "airflow"},
    )
    note_unmapped(source="openlineage", reports=[report])


def _make_inventory() -> tuple[Client, Pipeline, Pipeline, Run]:
    """One client of the demo's: a pipeline that the partner knows, and one in each state of health."""
    known = next(pipeline for client in CLIENTS for pipeline in client.pipelines if pipeline.platform == "vendor_api")
    client = make_client(name=known.client)
    readable = make_pipeline(client, name=known.name, external_id=known.external_id)
    failing = make_pipeline(
        client,
        name="orders_daily",
        platform=Platform.AIRFLOW,
        pipeline_type=PipelineType.TRANSFORM,
        environment=Environment.STAGING,
        expected_every_minutes=60,
    )
    late = make_pipeline(client, name="customs_feed", platform=Platform.CRON, expected_every_minutes=60)
    healthy = make_pipeline(make_client(name="Tallowmere Bank"), name="ledger_export", platform=Platform.DBT)
    make_client(name="Brightwater", is_active=False)
    now = datetime.now(UTC)
    error = "psycopg.OperationalError: connection to server failed\n" + "  a line of the trace, and a long one\n" * 30
    for hours in range(1, 20):
        ended = now - timedelta(hours=hours)
        times = {
            "started_at": ended - timedelta(minutes=4, seconds=12),
            "finished_at": ended,
            "rows_processed": 48_200,
        }
        make_run(healthy, **times)
        if hours > 5:
            make_run(late, **times)
        if hours > 3:
            make_run(failing, **times)
        else:
            failed = make_run(
                failing, **times, status=RunStatus.FAILED, error_message=error, payload={"dag_id": "orders_daily"}
            )
    for status in (RunStatus.SKIPPED, RunStatus.CANCELED):
        make_run(
            failing,
            status=status,
            started_at=now - timedelta(hours=9),
            finished_at=now - timedelta(hours=8.5),
        )
    make_run(failing, status=RunStatus.RUNNING, started_at=now - timedelta(minutes=14))
    return client, failing, readable, failed
