"""Pages show nobody a control that they may not use: every link, form and request that a page offers, by who looks."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from flask import Flask
from werkzeug.exceptions import HTTPException

from chm_web.access.permissions import ROLES, Permission, Role, Scope
from chm_web.models import Platform
from tests.access.test_routes import API, TABLE
from tests.factories import make_alert_rule, make_client, make_pipeline, make_run
from tests.http import client_of, client_with_token
from tests.web.scenes import make_failing

NO_PAGES = ("/api/", "/static", "/ping", "/sign-in", "/healthz", "/readyz", "/metrics")
CHANGING = {Permission.OPERATE, Permission.ADMINISTER}


class Offers(HTMLParser):
    """What a page offers: methods and addresses."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[tuple[str, str]] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note where an element leads."""
        has = {name: value or "" for name, value in attrs}
        if tag == "a" and "href" in has:
            self.found.add(("GET", has["href"]))
        if tag == "form" and "action" in has:
            self.found.add((has.get("method", "get").upper(), has["action"]))
        if "formaction" in has:
            self.found.add((has.get("formmethod", "post").upper(), has["formaction"]))
        for method in ("get", "post", "put", "patch", "delete"):
            if f"hx-{method}" in has:
                self.found.add((method.upper(), has[f"hx-{method}"]))


@pytest.fixture
def pages(app: Flask, with_partner: None, tokens: dict[Scope, str]) -> list[str]:
    """A page of every kind, with things in each state that has controls of its own."""
    client, disabled = make_client(), make_client(is_active=False)
    pipeline = make_failing(client=client, platform=Platform.VENDOR_API)
    stopped = make_pipeline(client, is_active=False)
    run = make_run(pipeline)
    rule = make_alert_rule(pipeline_id=pipeline.id)
    make_alert_rule(client_id=client.id, is_enabled=False)
    service = client_with_token(app, tokens[Scope.WRITE])
    job = service.post(f"{API}/ingestion/runs/sync").get_json()["id"]
    event = {
        "eventType": "START",
        "eventTime": "2026-11-01T00:00:00Z",
        "run": {"runId": "a"},
        "job": {"name": "nobodys"},
    }
    assert service.post(f"{API}/lineage", json=event).get_json()["unmapped"] == 1
    things: dict[str, list[UUID | str]] = {
        "client_id": [client.id, disabled.id],
        "pipeline_id": [pipeline.id, stopped.id],
        "run_id": [run.id],
        "rule_id": [rule.id],
        "job_id": [job],
    }
    return [path for rule in _page_rules() for path in _filled(rule, things)]


def _page_rules() -> list[str]:
    gets = [route.removeprefix("GET ") for route in TABLE if route.startswith("GET ")]
    return [rule for rule in gets if not rule.startswith(NO_PAGES) and ".csv" not in rule]


def _filled(rule: str, things: dict[str, list[UUID | str]]) -> list[str]:
    for name, values in things.items():
        for converter in (f"<uuid:{name}>", f"<{name}>"):
            if converter in rule:
                return [rule.replace(converter, str(value)) for value in values]
    return [rule]


def offered(app: Flask, pages: list[str], role: Role) -> set[str]:
    """The routes that pages offer to somebody of a role."""
    adapter = app.url_map.bind("localhost")
    browser = client_of(app, role=role)
    found = set()
    for path in pages:
        response = browser.get(path)
        assert response.status_code in (200, 403), (path, response.status_code)
        if response.status_code == 403:
            continue
        for method, address in Offers(response.text).found:
            parts = urlsplit(address)
            if parts.netloc or parts.scheme or not (parts.path or address == ""):
                continue
            try:
                rule, _ = adapter.match(parts.path or path, method=method, return_rule=True)
            except HTTPException as err:
                pytest.fail(f"{path} leads to {method} {address}: {err.code}")
            found.add(f"{method} {rule.rule}")
    return found


@pytest.mark.parametrize("role", Role)
def test_nothing_is_offered_that_may_not_be_used(app: Flask, pages: list[str], role: Role) -> None:
    may = {*ROLES[role], Permission.PUBLIC}

    refused = {route for route in offered(app, pages, role) if TABLE[route] not in may}

    assert refused == set()


def test_who_may_use_a_control_is_shown_it(app: Flask, pages: list[str]) -> None:
    by_viewer, by_operator, by_admin = (offered(app, pages, role) for role in Role)
    changing = {route for route, permission in TABLE.items() if permission in CHANGING and API not in route}

    assert by_viewer & changing == set()
    assert by_operator & changing == {route for route in changing if TABLE[route] is Permission.OPERATE}
    assert by_admin & changing == changing
