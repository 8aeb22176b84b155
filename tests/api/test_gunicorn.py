"""The API behind the server that deployments run: ids of any characters there and back, bodies of any size."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
import sqlalchemy as sa
from flask import Flask

from chm_web.access.permissions import Scope
from chm_web.config import Config
from chm_web.extensions import db
from tests.factories import make_client, make_pipeline
from tests.http import PREFIX, answers
from tests.ingestion.conftest import wait_until
from tests.processes import environ_of
from tests.web_server import running_gunicorn

pytestmark = pytest.mark.slow

IDS = [
    "scheduled__2026-11-23T01:58:40.203141+00:00",
    "nightly/2026-11-01",
    "/leading",
    "trailing/",
    "a//b",
    "100%",
    "%2F",
    "a%20b",
    "two words",
    "plus+plus",
    "ümlaut 日本",
    "a?b#c&d=e;f",
    "latest",
    "..",
    ".",
    "a/../b",
    "two\nlines",
    ".hidden",
    "back\\slash",
    "'quoted\"",
    "x" * 512,
]


MAX_BYTES = 50_000


@dataclass(frozen=True)
class Service:
    """A service that uses the API over HTTP."""

    address: str
    token: str
    server: subprocess.Popen[bytes]

    def ask(self, method: str, path: str, json: object = None) -> requests.Response:
        """Send a request; the path is sent as it is given."""
        request = requests.Request(method, self.address, json=json, headers={"Authorization": f"Bearer {self.token}"})
        prepared = request.prepare()
        prepared.url = self.address + PREFIX + path
        with requests.Session() as session:
            return session.send(prepared, timeout=30)


@pytest.fixture
def service(committed_app: Flask, config: Config, tokens: dict[Scope, str], tmp_path: Path) -> Iterator[Service]:
    """The app behind gunicorn."""
    environ = environ_of(
        config,
        CHM_USERS_FILE=str(tmp_path / "users.json"),
        CHM_TOKENS_FILE=str(config.tokens_file),
        CHM_MAX_REQUEST_BYTES=str(MAX_BYTES),
    )
    with running_gunicorn(environ, tmp_path / "gunicorn.log") as (port, server):
        yield Service(f"http://127.0.0.1:{port}", tokens[Scope.WRITE], server)


def test_ids_of_any_characters_come_back_unchanged(service: Service) -> None:
    pipeline = make_pipeline()
    base = f"/pipelines/{pipeline.id}/runs"
    for external_id in IDS:
        # Dots too: alone they would be taken for steps up and down before they are sent.
        path = f"{base}/{quote(external_id, safe='').replace('.', '%2E')}"
        put = service.ask("PUT", path, {"status": "success"})
        assert (put.status_code, put.json()["external_run_id"]) == (201, external_id), external_id
        assert service.ask("PUT", path, {"status": "success"}).status_code == 200, external_id
        # One that is called latest is reached by its own id: the plain address means the latest run.
        run_path = f"/runs/{put.json()['id']}"
        assert service.ask("GET", run_path).json()["external_run_id"] == external_id
        if external_id != "latest":
            assert service.ask("GET", path).json()["id"] == put.json()["id"], external_id

    listed = service.ask("GET", f"{base}?limit=1000").json()["items"]
    assert sorted(run["external_run_id"] for run in listed) == sorted(IDS)


def test_refusals_are_told_by_the_envelope(service: Service) -> None:
    too_long = f"/pipelines/{make_pipeline().id}/runs/{'x' * 513}"

    assert service.ask("GET", "/nothing").json()["error"]["code"] == "not_found"
    assert service.ask("PUT", too_long, {"status": "success"}).json()["error"]["code"] == "validation_error"


def test_first_start_behind_gunicorn_says_the_password_once(service: Service, tmp_path: Path) -> None:
    assert (tmp_path / "gunicorn.log").read_text().count("sign in as admin with the password") == 1


WAITING_FOR_A_LOCK = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")


def test_a_request_under_way_is_answered_when_the_server_is_asked_to_stop(service: Service, tmp_path: Path) -> None:
    client = make_client()
    with db.engine.connect() as holder, db.engine.connect() as watcher, ThreadPoolExecutor() as pool:
        holder.execute(sa.text("SELECT 1 FROM clients FOR UPDATE"))
        answer = pool.submit(service.ask, "PATCH", f"/clients/{client.id}", {"name": "renamed"})
        wait_until(lambda: watcher.scalar(WAITING_FOR_A_LOCK))
        service.server.terminate()
        wait_until(lambda: "Handling signal: term" in (tmp_path / "gunicorn.log").read_text())
        assert not answer.done()
        holder.rollback()

        assert answer.result(30).json()["name"] == "renamed"
    assert service.server.wait(30) == 0


@pytest.mark.parametrize("how", ["told", "in chunks"])
def test_a_body_above_the_limit_is_refused_also_when_its_length_is_not_told(service: Service, how: str) -> None:
    body = b'{"name": "' + b"x" * MAX_BYTES + b'"}'
    headers = {"Authorization": f"Bearer {service.token}", "Content-Type": "application/json"}
    sent = body if how == "told" else iter([body[:20_000], body[20_000:]])
    answer = requests.post(f"{service.address}{PREFIX}/clients", data=sent, headers=headers, timeout=30)

    # Of chunks no more is read than is allowed, and what was read is no JSON.
    refusals = {"told": (413, "payload_too_large"), "in chunks": (400, "validation_error")}
    assert (answer.status_code, answer.json()["error"]["code"]) == refusals[how]
    assert service.ask("GET", "/clients").json()["items"] == []


def test_a_form_above_the_limit_is_refused_before_anybody_is_asked_for(service: Service) -> None:
    form = {"name": "mira", "password": "x" * MAX_BYTES}
    assert requests.post(f"{service.address}/sign-in", data=form, timeout=30).status_code == 413


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/healthz?" + "x" * 5_000, {}),
        ("/healthz", {"X-Long": "x" * 20_000}),
        ("/healthz", {f"X-{n}": "x" for n in range(200)}),
    ],
    ids=["a long address", "a long header", "many headers"],
)
def test_addresses_and_headers_have_limits_too(service: Service, path: str, headers: dict[str, str]) -> None:
    assert 400 <= requests.get(service.address + path, headers=headers, timeout=30).status_code < 500
    assert answers(f"{service.address}/healthz")
