"""The app with something to find in it, whose names and messages would do harm themselves if they were not text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from flask import Flask

from chm_web.access.permissions import Role, Scope
from chm_web.access.ping_keys import ping_key
from chm_web.access.users import UserFile
from chm_web.config import Config
from chm_web.ingestion import queue
from chm_web.ingestion.progress import SyncScope, UnmappedReport
from chm_web.models import Channel, Platform, RuleType, RunStatus
from chm_web.services.runs import record_runs
from tests.configured import NOBODY_LISTENS, reconfigured
from tests.conftest import rolled_back
from tests.factories import find_run, make_alert_rule, make_client, make_pipeline, make_record
from tests.fuzz.answers import Answer
from tests.fuzz.crawl import Crawl, Target, field_names
from tests.fuzz.sending import PASSWORD, Sending, send, undone
from tests.fuzz.values import FORMULAS, MARKUP, hostile_values

PARTNER_TOKEN = "planted-token-of-the-partner"
_HARM = f"{MARKUP[2]} {MARKUP[0]} {{{{7919*7907}}}}"
# Nothing on the pages leads there: people come by them, or are sent.
_UNLINKED = (
    *("/sign-in?next=/clients", "/overview/changes", "/ingestion/panel", "/ingestion/banner"),
    "/ingestion/jobs/nothing/rejected.csv",
)


@dataclass(frozen=True)
class Site:
    """The app, and what a walk over it has found.

    ``names``: of every field and parameter. ``hostile``: what is put into them. ``secrets``: what no answer may hold.
    """

    app: Flask
    crawl: Crawl
    targets: tuple[Target, ...]
    names: tuple[bytes, ...]
    hostile: tuple[bytes, ...]
    secrets: tuple[str, ...]


@pytest.fixture(scope="module")
def site(base_app: Flask, config: Config, tokens: dict[Scope, str]) -> Iterator[Site]:
    """The app as all roles have seen it."""
    source = {"partner_api_base_url": f"http://{NOBODY_LISTENS}", "partner_api_token": PARTNER_TOKEN}
    with rolled_back(base_app), contextmanager(reconfigured)(base_app, **source), users_of_each_role(base_app) as users:
        ids = make_scene()
        queue.request_sync(scope=SyncScope(), requested_by=_HARM)
        crawl = Crawl(base_app, lambda role, sending: _ask(base_app, role, sending))
        link = f"/sign-in/link/{users.make_link(name=Role.VIEWER)}"
        with base_app.test_request_context():
            ping = f"/ping/{ping_key(ids[0])}?rid=nightly"
        crawl.walk(None, (*_UNLINKED, link, ping, "/healthz"))
        for role in Role:
            crawl.walk(role, ("/", *_UNLINKED))
        # Whoever signs in has a name: what the form holds by itself leads nowhere.
        crawl.targets["POST", "/sign-in", ("name", "next", "password")].know({"name": list(Role)})
        targets = tuple(crawl.targets.values())
        hashes = [user.password_hash or "" for user in users.list()]
        secrets = [*config.secrets(), PARTNER_TOKEN, PASSWORD, *tokens.values(), *hashes]
        yield Site(
            app=base_app,
            crawl=crawl,
            targets=targets,
            names=tuple(name.encode() for name in field_names(crawl.targets)),
            hostile=hostile_values(ids),
            secrets=tuple(secret for secret in secrets if secret),
        )


def make_scene() -> tuple[UUID, ...]:
    """Clients, pipelines, runs in every state and rules of both types, more than a page of runs.

    Returns:
        The ids of some rows of each table, that of a pipeline first.
    """
    client, former = make_client(name=_HARM), make_client(name="=Brightwater", is_active=False)
    orders = make_pipeline(client, name=f"orders {_HARM}", external_id=_HARM, expected_every_minutes=60)
    cron = make_pipeline(client, name=FORMULAS[1], platform=Platform.CRON, description=_HARM)
    make_pipeline(former, name="ledger_export", is_active=False, external_id=_HARM)
    make_pipeline(client, name=FORMULAS[0], platform=Platform.DBT)
    now = datetime.now(UTC)
    records = [
        make_record(
            orders,
            external_run_id=f"{_HARM} {number}",
            status=RunStatus.FAILED,
            started_at=now - timedelta(hours=number),
            finished_at=now - timedelta(hours=number - 1),
            error_message=f"{MARKUP[1]}\n{_HARM} {number}",
            status_reason=_HARM,
            payload={_HARM: [_HARM, number]},
        )
        for number in range(1, 53)
    ]
    records += [
        make_record(
            cron,
            status=status,
            started_at=now - timedelta(minutes=5),
            finished_at=None if status is RunStatus.RUNNING else now,
        )
        for status in RunStatus
    ]
    assert not record_runs(records=records).rejected
    rule = make_alert_rule(client_id=client.id, destination=f"#{_HARM}")
    make_alert_rule(client_id=client.id, channel=Channel.EMAIL, destination="ops@example.com", is_enabled=False)
    make_alert_rule(
        pipeline_id=orders.id,
        rule_type=RuleType.FAILURES_IN_WINDOW,
        threshold=3,
        window_minutes=60,
        channel=Channel.WEBHOOK,
        destination=f"https://hooks.example.com/{MARKUP[3]}",
    )
    report = UnmappedReport(name=_HARM, reason=_HARM, status=RunStatus.FAILED, sample={"job": _HARM})
    queue.note_unmapped(source="openlineage", reports=[report])
    return (orders.id, client.id, former.id, rule.id, find_run(orders.id, f"{_HARM} 1").id)


@contextmanager
def users_of_each_role(app: Flask) -> Iterator[UserFile]:
    """A local user of each role, who is called as the role is."""
    users: UserFile = app.extensions["chm_users"]
    for role in Role:
        users.add(name=role.value, role=role, password=PASSWORD)
    try:
        yield users
    finally:
        users.path.unlink()


def _ask(app: Flask, role: Role | None, sending: Sending) -> list[Answer]:
    with undone():
        return send(app, role, sending)
