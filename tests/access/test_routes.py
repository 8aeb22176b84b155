"""Every route and method of the app, as no one, as each role and with each token: one table says who may.

A route without an entry fails, and so does an entry without a route.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from chm_web.access import guard
from chm_web.access.permissions import ROLES, SCOPES, Permission, Role, Scope
from tests.http import client_of, client_with_token

ANYONE, READ, REPORT, OPERATE, ADMINISTER = Permission

API = "/api/v1"
TABLE: dict[str, Permission] = {
    # open to anyone
    "GET /healthz": ANYONE,
    "GET /readyz": ANYONE,
    "GET /static/<path:filename>": ANYONE,
    "GET /sign-in": ANYONE,
    "POST /sign-in": ANYONE,
    "GET /sign-in/link/<secret>": ANYONE,
    "POST /sign-in/link/<secret>": ANYONE,
    "GET /sign-in/oidc": ANYONE,
    "GET /sign-in/oidc/callback": ANYONE,
    # figures, for services and people
    "GET /metrics": READ,
    # open to whoever has a pipeline's key, which is a part of the address
    "GET /ping/<key>": ANYONE,
    "POST /ping/<key>": ANYONE,
    "GET /ping/<key>/start": ANYONE,
    "POST /ping/<key>/start": ANYONE,
    "GET /ping/<key>/fail": ANYONE,
    "POST /ping/<key>/fail": ANYONE,
    "GET /ping/<key>/<int:exit_status>": ANYONE,
    "POST /ping/<key>/<int:exit_status>": ANYONE,
    # pages
    "GET /": READ,
    "GET /alert-rules": READ,
    "GET /alert-rules/export.csv": READ,
    "GET /alert-rules/new": OPERATE,
    "POST /alert-rules/new": OPERATE,
    "GET /alert-rules/scope": OPERATE,
    "GET /alert-rules/preview": OPERATE,
    "GET /alert-rules/<uuid:rule_id>/edit": OPERATE,
    "POST /alert-rules/<uuid:rule_id>/edit": OPERATE,
    "POST /alert-rules/<uuid:rule_id>/enable": OPERATE,
    "POST /alert-rules/<uuid:rule_id>/disable": OPERATE,
    "POST /alert-rules/<uuid:rule_id>/delete": OPERATE,
    "GET /overview/health": READ,
    "GET /overview/changes": READ,
    "GET /clients": READ,
    "GET /clients/export.csv": READ,
    "GET /clients/new": ADMINISTER,
    "POST /clients/new": ADMINISTER,
    "GET /clients/<uuid:client_id>/edit": ADMINISTER,
    "POST /clients/<uuid:client_id>/edit": ADMINISTER,
    "POST /clients/<uuid:client_id>/enable": ADMINISTER,
    "POST /clients/<uuid:client_id>/disable": ADMINISTER,
    "GET /clients/<uuid:client_id>": READ,
    "GET /clients/<uuid:client_id>/health": READ,
    "GET /clients/<uuid:client_id>/report": READ,
    "GET /insights": READ,
    "GET /insights/<table>.csv": READ,
    "GET /pipelines": READ,
    "GET /pipelines/export.csv": READ,
    "POST /pipelines/bulk": OPERATE,
    "GET /pipelines/new": OPERATE,
    "POST /pipelines/new": OPERATE,
    "GET /pipelines/<uuid:pipeline_id>/edit": OPERATE,
    "POST /pipelines/<uuid:pipeline_id>/edit": OPERATE,
    "POST /pipelines/<uuid:pipeline_id>/enable": OPERATE,
    "POST /pipelines/<uuid:pipeline_id>/disable": OPERATE,
    "GET /pipelines/<uuid:pipeline_id>": READ,
    "GET /ingestion": READ,
    "GET /ingestion/state": READ,
    "GET /ingestion/banner": READ,
    "GET /ingestion/jobs/<job_id>/rejected.csv": READ,
    "GET /pipelines/<uuid:pipeline_id>/runs.csv": READ,
    "GET /pipelines/<uuid:pipeline_id>/runs/new": OPERATE,
    "POST /pipelines/<uuid:pipeline_id>/runs/new": OPERATE,
    "GET /runs": READ,
    "GET /runs.csv": READ,
    "GET /runs/<uuid:run_id>": READ,
    "GET /ingestion/panel": READ,
    "GET /ingestion/jobs/<job_id>": READ,
    "GET /ingestion/jobs/<job_id>/progress": READ,
    "POST /ingestion/sync": OPERATE,
    "GET /search": READ,
    "GET /search/suggestions": READ,
    "GET /help": READ,
    "GET /profile": READ,
    "POST /profile/password": READ,
    "POST /profile/sign-out-everywhere": READ,
    "POST /sign-out": READ,
    # the REST API
    f"GET {API}/openapi.json": READ,
    f"GET {API}/docs": READ,
    f"GET {API}/clients": READ,
    f"POST {API}/clients": ADMINISTER,
    f"GET {API}/clients/<uuid:client_id>": READ,
    f"PATCH {API}/clients/<uuid:client_id>": ADMINISTER,
    f"DELETE {API}/clients/<uuid:client_id>": ADMINISTER,
    f"GET {API}/clients/<uuid:client_id>/pipelines": READ,
    f"POST {API}/clients/<uuid:client_id>/pipelines": OPERATE,
    f"GET {API}/clients/<uuid:client_id>/runs/summary": READ,
    f"GET {API}/pipelines": READ,
    f"GET {API}/pipelines/<uuid:pipeline_id>": READ,
    f"PATCH {API}/pipelines/<uuid:pipeline_id>": OPERATE,
    f"DELETE {API}/pipelines/<uuid:pipeline_id>": OPERATE,
    f"GET {API}/pipelines/<uuid:pipeline_id>/health": READ,
    f"GET {API}/pipelines/<uuid:pipeline_id>/runs": READ,
    f"POST {API}/pipelines/<uuid:pipeline_id>/runs": OPERATE,
    f"GET {API}/pipelines/<uuid:pipeline_id>/runs/latest": READ,
    f"GET {API}/pipelines/<uuid:pipeline_id>/runs/<external_id:external_run_id>": READ,
    f"PUT {API}/pipelines/<uuid:pipeline_id>/runs/<external_id:external_run_id>": REPORT,
    f"POST {API}/pipelines/<uuid:pipeline_id>/dbt-run-results": REPORT,
    f"GET {API}/runs": READ,
    f"GET {API}/runs/<uuid:run_id>": READ,
    f"POST {API}/runs/batch": REPORT,
    f"GET {API}/alert_rules": READ,
    f"POST {API}/alert_rules": OPERATE,
    f"GET {API}/alert_rules/<uuid:alert_rule_id>": READ,
    f"PATCH {API}/alert_rules/<uuid:alert_rule_id>": OPERATE,
    f"DELETE {API}/alert_rules/<uuid:alert_rule_id>": OPERATE,
    f"POST {API}/ingestion/runs/sync": OPERATE,
    f"GET {API}/ingestion/jobs": READ,
    f"GET {API}/ingestion/jobs/<job_id>": READ,
    f"GET {API}/ingestion/sources": READ,
    f"GET {API}/ingestion/unmapped": READ,
    f"POST {API}/lineage": REPORT,
    f"POST {API}/lineage/batch": REPORT,
}


@dataclass(frozen=True)
class Visitor:
    """Somebody who tries every door."""

    name: str
    permissions: frozenset[Permission]
    role: Role | None = None
    scope: Scope | None = None


NOBODY = Visitor("nobody", frozenset())
VISITORS = [
    NOBODY,
    *(Visitor(f"role {role}", held, role=role) for role, held in ROLES.items()),
    *(Visitor(f"token {scope}", held, scope=scope) for scope, held in SCOPES.items()),
]


def routes(app: Flask) -> Iterator[tuple[str, str]]:
    """Every method and rule. HEAD goes with GET; OPTIONS is tried by itself."""
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield method, rule.rule


def path_of(rule: str) -> str:
    """An address of a rule, of things that are not there."""
    path = re.sub(r"<uuid:\w+>", "0190a5b4-7e1c-7c3a-8f7e-1234567890ab", rule)
    return re.sub(r"<[^>]+>", "nothing", path)


def enter(app: Flask, visitor: Visitor, tokens: dict[Scope, str]) -> FlaskClient:
    """A client of a visitor's; a person's sends the CSRF token, as our pages do."""
    if visitor.scope is not None:
        return client_with_token(app, tokens[visitor.scope])
    if visitor.role is None:
        return app.test_client()
    client = client_of(app, role=visitor.role)
    found = re.search(r'name="csrf-token" content="([^"]+)"', client.get("/profile").text)
    assert found
    client.environ_base["HTTP_X_CSRFTOKEN"] = found[1]
    return client


def verdict(response: TestResponse) -> str:
    """What the guard made of a request: let in, sent to identify itself, or refused."""
    if response.status_code == 401 or (response.status_code == 303 and "/sign-in" in response.location):
        return "unknown"
    return "refused" if response.status_code == 403 else "let in"


def expected(visitor: Visitor, permission: Permission, rule: str) -> str:
    """What the table says."""
    if permission is ANYONE:
        return "let in"
    # Pages know people alone: to them a token is nobody's.
    is_page = (not rule.startswith("/api/") and rule != "/metrics") or rule == f"{API}/docs"
    if visitor is NOBODY or (visitor.scope is not None and is_page):
        return "unknown"
    return "let in" if permission in visitor.permissions else "refused"


def test_every_route_has_an_entry_and_every_entry_a_route(app: Flask) -> None:
    assert {f"{method} {rule}" for method, rule in routes(app)} == set(TABLE)


def test_every_route_declares_what_the_table_says(app: Flask) -> None:
    declared = {}
    rule: Rule
    for rule in app.url_map.iter_rules():
        access = guard.access_of(app, rule.endpoint)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            declared[f"{method} {rule.rule}"] = access.permission if access else None

    assert declared == TABLE


@pytest.mark.parametrize("visitor", VISITORS, ids=lambda visitor: visitor.name)
def test_visitor_gets_where_the_table_says(app: Flask, tokens: dict[Scope, str], visitor: Visitor) -> None:
    found, wanted = {}, {}
    for route, permission in TABLE.items():
        method, rule = route.split(" ", 1)
        # Signing out ends a session: each door is tried by a visitor who has just come.
        response = enter(app, visitor, tokens).open(path_of(rule), method=method)
        found[route] = verdict(response)
        wanted[route] = expected(visitor, permission, rule)
        if rule in ("/sign-out", "/profile/sign-out-everywhere") and visitor.role:
            found[route] = "let in"  # it leads to the sign-in page because it was done
            assert response.status_code == 303

    assert found == wanted


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
def test_method_that_comes_by_itself_opens_nothing_that_is_closed(app: Flask, method: str) -> None:
    browser = app.test_client()
    rules = {rule.rule for rule in app.url_map.iter_rules() if method in (rule.methods or ())}
    open_rules = {route.split(" ", 1)[1] for route, permission in TABLE.items() if permission is ANYONE}

    let_in = {rule for rule in rules if verdict(browser.open(path_of(rule), method=method)) == "let in"}

    assert let_in == rules & open_rules


def test_person_without_the_csrf_token_changes_nothing_through_the_api(app: Flask) -> None:
    client = client_of(app, role=Role.ADMIN)

    assert client.post(f"{API}/clients", json={"name": "a"}).status_code == 400
    assert client.get(f"{API}/clients").get_json()["items"] == []


def test_person_with_the_csrf_token_uses_the_api_under_their_name(app: Flask) -> None:
    client = enter(app, Visitor("", frozenset(), role=Role.ADMIN), {})

    response = client.post(f"{API}/clients", json={"name": "a"})

    assert (response.status_code, response.get_json()["updated_by"]) == (201, "oidc:somebody")


@pytest.mark.parametrize(("role", "shown"), [(Role.VIEWER, False), (Role.OPERATOR, True), (Role.ADMIN, True)])
def test_control_is_shown_to_those_who_may_use_it(app: Flask, role: Role, shown: bool) -> None:
    page = client_of(app, role=role).get("/").text

    assert ("Ingest now" in page) is shown


def test_refusal_of_a_page_is_a_page_that_says_why(app: Flask) -> None:
    client = enter(app, Visitor("", frozenset(), role=Role.VIEWER), {})

    response = client.post("/ingestion/sync")

    assert response.status_code == 403
    assert "This takes the role operator or admin." in response.text
