"""The app behind a real server, with things to find in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from flask import Flask
from werkzeug.serving import make_server

from chm_web import create_app
from chm_web.access.permissions import Scope
from chm_web.config import Config
from chm_web.models import Channel, RuleType, RunStatus
from tests.factories import make_alert_rule, make_client, make_pipeline, make_run
from tests.http import serving

NOBODY_LISTENS = "http://127.0.0.1:9"


@dataclasses.dataclass(frozen=True)
class Service:
    """A running app: the address of its API, and the Authorization that requests must bear (None: none)."""

    url: str
    authorization: str | None


@pytest.fixture
def service(committed_app: Flask, config: Config, tokens: dict[Scope, str]) -> Iterator[Service]:
    """The app on a free port of the loopback interface, with a source that no worker reads."""
    app = create_app(
        dataclasses.replace(config, partner_api_base_url=NOBODY_LISTENS, partner_api_token="token-of-the-tests")
    )
    _make_inventory()
    server = make_server("127.0.0.1", 0, app, threaded=True)
    with serving(server):
        yield Service(f"http://127.0.0.1:{server.server_port}/api/v1", f"Bearer {tokens[Scope.WRITE]}")


def _make_inventory() -> None:
    """Two clients, one of them disabled, with pipelines, runs in every state and both types of rules."""
    client, former = make_client(name="Northwind Foods"), make_client(name="Brightwater", is_active=False)
    orders, stock = make_pipeline(client, name="orders_daily"), make_pipeline(client, name="stock_hourly")
    make_pipeline(former, name="ledger_export", is_active=False)
    for status in reversed(RunStatus):
        make_run(orders, external_run_id=f"nightly/2026-11-01 {status.value}", status=status)
    make_run(stock, status=RunStatus.FAILED, error_message="disk full", payload={"attempt": 2})
    make_alert_rule(client_id=client.id)
    make_alert_rule(
        pipeline_id=orders.id,
        rule_type=RuleType.FAILURES_IN_WINDOW,
        threshold=3,
        window_minutes=60,
        channel=Channel.EMAIL,
        destination="ops@example.com",
    )
