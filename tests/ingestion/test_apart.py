"""Two web processes and three workers, each on a machine of its own, which are killed and cut off in turn."""

from __future__ import annotations

import secrets
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import flask_migrate
import pytest
import sqlalchemy as sa
from pytest_httpserver import HTTPServer

from chm_web.access.permissions import Scope
from chm_web.config import Config
from chm_web.extensions import db
from chm_web.models import Pipeline, Platform
from tests.configured import app_of
from tests.factories import make_client, make_pipeline
from tests.ingestion.askers import HEALTH, READINESS, SYNC, Answer, Asker, asking
from tests.ingestion.conftest import wait_until
from tests.ingestion.house import (
    PAGES,
    SIZE,
    WORKER,
    Fed,
    press_until_finished,
    rows_of,
    serve_pages,
    undisturbed_rows,
)
from tests.ingestion.machines import SWITCH, WEB_PORT, Machine, WebMachine, address_of, open_servers, open_switch
from tests.ingestion.partners import TOKEN, base_url, stored
from tests.processes import bare_environ

pytestmark = [pytest.mark.apart, pytest.mark.timeout(900)]

# Of six pages each; so many that they last for as long as machines are troubled.
PIPELINES = 240
PAGE_SECONDS = 1.0
# The last one longer than a worker may be silent before others do its work over again.
WORKER_CUTS_SECONDS = (6, 6, 30)
# A web machine that is cut off has to find out that connections which stand are worth nothing, and that no new one can
# be had, once for each thing that it looks at.
HONEST_WITHIN_SECONDS = 90
GOOD = {HEALTH: {200}, READINESS: {200}, SYNC: {202}, "PUT": {200, 201}}


@dataclass
class Site(Fed):
    """All machines, and a partner beside the servers."""

    webs: list[WebMachine] = field(default_factory=list)
    workers: list[Machine] = field(default_factory=list)


@pytest.fixture
def site(tmp_path: Path, tokens_file: Path) -> Iterator[Site]:
    """Everything, running, seen from within the network of the servers."""
    with ExitStack() as stack:
        stack.enter_context(open_switch())
        database_url, redis_url = stack.enter_context(open_servers(tmp_path))
        partner = stack.enter_context(HTTPServer(host=SWITCH, port=0, threaded=True))
        environ = {
            **bare_environ(),
            "CHM_DATABASE_URL": database_url,
            "CHM_REDIS_URL": redis_url,
            "CHM_SECRET_KEY": secrets.token_hex(32),
            "CHM_USERS_FILE": str(tmp_path / "users.json"),
            "CHM_TOKENS_FILE": str(tokens_file),
            "CHM_ALLOWED_HOSTS": f"127.0.0.1,{address_of(0)},{address_of(1)}",
            "CHM_PARTNER_API_BASE_URL": base_url(partner),
            "CHM_PARTNER_API_TOKEN": TOKEN,
            "CHM_PARTNER_PAGE_SIZE": str(SIZE),
            "CHM_HTTP_TIMEOUT_SECONDS": "5",
            "CHM_API_RATE_LIMIT_PER_MINUTE": "0",
        }
        found = Site(environ=environ)
        serve_pages(found, partner)
        with app_of(Config.from_env(environ)):
            flask_migrate.upgrade()
            start_machines(stack, found, tmp_path)
            yield found


def start_machines(stack: ExitStack, site: Site, directory: Path) -> None:
    """Start two web machines and three workers."""
    serve = [sys.executable, "-m", "gunicorn", "wsgi:app", "--workers", "1", "--bind", f"0.0.0.0:{WEB_PORT}"]
    site.webs = [WebMachine(f"web-{n}", n, serve, site.environ, directory) for n in range(2)]
    work = [sys.executable, "-c", WORKER]
    site.workers = [Machine(f"worker-{n}", 2 + n, work, site.environ, directory) for n in range(3)]
    for machine in (*site.webs, *site.workers):
        machine.start()
        stack.callback(machine.close)
    for web in site.webs:
        web.wait_until_it_answers(READINESS)


def test_each_process_killed_and_cut_off_in_turn_while_ingesting(site: Site, tokens: dict[Scope, str]) -> None:
    client = make_client()
    pipelines = [make_pipeline(client) for _ in range(PIPELINES)]
    reported = make_pipeline(client, platform=Platform.CUSTOM)
    reference = undisturbed_rows(site)
    db.session.remove()
    site.on_page = lambda number: time.sleep(PAGE_SECONDS)
    with asking(site.webs, tokens[Scope.WRITE], reported.id) as askers:
        for asker in askers:
            trouble_web(asker)
        for worker, seconds in zip(site.workers, WORKER_CUTS_SECONDS, strict=True):
            trouble_worker(worker, seconds)
        trouble_for_good(site.workers[2])
        assert stored() < PIPELINES * PAGES * SIZE, "the ingestion was over before the troubles were"
        site.on_page = lambda number: None
        for asker in askers:
            asker.finish()
    press_until_finished()
    assert_rows(pipelines, reference)
    assert_reports(reported, askers)
    for asker in askers:
        assert_answers(asker)


def trouble_web(asker: Asker) -> None:
    """Kill a web process and start it again; cut it off until it has told those beside it that it is cut off."""
    web = asker.machine
    with asker.in_trouble():
        web.kill()
        web.start()
        web.wait_until_it_answers(HEALTH)
    time.sleep(2)
    with asker.in_trouble():
        web.cut()
        assert statuses_within(asker) == {HEALTH: 200, READINESS: 503, "PUT": 503}
        web.join()
    wait_until(lambda: any(answer.what == READINESS and answer.status == 200 for answer in since_trouble(asker)))


def statuses_within(asker: Asker) -> dict[str, int]:
    """What a web process answers those who are cut off with it, all asking at once."""
    here = "127.0.0.1"
    statuses: dict[str, int] = {}

    def ask(what: str) -> None:
        with asker.machine.network.entered():
            if what == "PUT":
                statuses[what] = asker.report(10**6, host=here, patience=HONEST_WITHIN_SECONDS)
            else:
                statuses[what] = asker.ask(what, "GET", what, host=here, patience=HONEST_WITHIN_SECONDS)

    threads = [threading.Thread(target=ask, args=(what,)) for what in (HEALTH, READINESS, "PUT")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def since_trouble(asker: Asker) -> list[Answer]:
    """The answers to what was asked after the last trouble ended."""
    return [answer for answer in asker.answers if answer.begun > asker.troubles[-1][1]]


def trouble_worker(worker: Machine, seconds: float) -> None:
    """Kill a worker that has the database open and start it again; then cut it off."""
    wait_until(lambda: sessions_of(worker), seconds=120)
    worker.kill()
    worker.start()
    wait_until(lambda: sessions_of(worker), seconds=120)
    worker.cut()
    time.sleep(seconds)
    worker.join()


def trouble_for_good(worker: Machine) -> None:
    """Cut a worker off and kill it, so that nobody hears of its end; the database must find out by itself."""
    wait_until(lambda: sessions_of(worker), seconds=180)
    worker.cut()
    worker.kill()
    assert sessions_of(worker)
    wait_until(lambda: not sessions_of(worker), seconds=60)


def sessions_of(machine: Machine) -> int:
    """How many sessions the database holds open for a machine."""
    query = sa.text("SELECT count(*) FROM pg_stat_activity WHERE client_addr = CAST(:address AS inet)")
    with db.engine.connect() as connection:
        return connection.scalar(query, {"address": machine.address}) or 0


def assert_rows(pipelines: list[Pipeline], reference: list[tuple[object, ...]]) -> None:
    """Assert that every pipeline has the rows of an undisturbed run."""
    assert [pipeline.name for pipeline in pipelines if rows_of(pipeline) != reference] == []


def assert_reports(reported: Pipeline, askers: list[Asker]) -> None:
    """Assert that what was confirmed is there, once each, as it was reported, and nothing else."""
    rows = rows_of(reported)
    confirmed = [name for asker in askers for name in asker.confirmed]
    # What the machines were asked from within while they were cut off was never confirmed, and must not be there.
    assert Counter(row[0] for row in rows) == Counter(confirmed)
    assert {(row[1], row[5]) for row in rows} == {("success", 7)}


def assert_answers(asker: Asker) -> None:
    """Assert that each answer was right or an honest 503, and that only a machine in trouble left one out."""
    wrong = [
        answer
        for answer in asker.answers
        if answer.status not in GOOD[answer.what] | {503}
        and not (answer.status == 0 and asker.troubled(answer, after=0))
    ]
    assert wrong == []
    # A web process that was killed may have held the lock under which ingestions are asked for, for half a minute.
    unneeded = [
        answer
        for answer in asker.answers
        if answer.status == 503 and answer.what != SYNC and not asker.troubled(answer, after=5)
    ]
    assert unneeded == []
    assert {answer.what for answer in asker.answers if answer.status in GOOD[answer.what]} == set(GOOD)
