"""Secrets of twelve kinds, planted wherever a partner can put them: found in no row, log, error, page or job."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from pytest_httpserver import HTTPServer
from redis import Redis
from werkzeug import Request, Response

from chm_web.extensions import db
from chm_web.ingestion.progress import JobState, SyncScope
from chm_web.ingestion.queue import request_sync
from chm_web.ingestion.sources import SHARDS
from chm_web.models import Pipeline
from tests.factories import make_pipeline
from tests.http import PREFIX, bearing, client_of
from tests.ingestion.conftest import WorkerProcess, wait_for
from tests.ingestion.partners import TOKEN, run

pytestmark = pytest.mark.slow

CORE = "Zx9kQ2vLm4Tt7Rw1"
"""Part of every planted secret: where it is found, one came through."""

KINDS: dict[str, str] = {
    "bearer token": f"Authorization: Bearer {CORE}",
    "basic credentials": f"Authorization: Basic {CORE}==",
    "password in an address": f"https://etl:{CORE}@warehouse.example/db",
    "connection string": f"Server=db;User Id=etl;Password={CORE};Encrypt=yes",
    "libpq connection": f"could not connect: host=db user=etl password={CORE}",
    "AWS secret key": f"aws_secret_access_key={CORE}",
    "signed address": f"https://bucket.example/x?X-Amz-Signature={CORE}&X-Amz-Date=20261101",
    "JSON web token": f"token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.{CORE}",
    "private key": f"-----BEGIN RSA PRIVATE KEY-----\n{CORE}\n{CORE}\n-----END RSA PRIVATE KEY-----",
    "GitHub token": f"remote said ghp_{CORE}{CORE}abcd",
    "Slack webhook": f"https://hooks.slack.example/services/T000/B000/{CORE}",
    "cookie": f"Set-Cookie: session={CORE}; Path=/",
    "token of our own": f"chm_{CORE}{CORE}{CORE}",
}


def planted(number: int, text: str) -> dict[str, object]:
    """A failed run whose every free place holds a secret."""
    return run(
        number,
        status="failed",
        error_message=f"task failed\n{text}\nend",
        status_reason=text,
        details={"log": [text, {"inner": f"before {text} after"}], "password": CORE, "Api-Key": [CORE]},
        headers={"Authorization": CORE, "cookie": CORE},
        our_own_token=f"you sent {TOKEN}",
    )


@pytest.fixture
def leaky(partner_app: Flask, httpserver: HTTPServer) -> Iterator[tuple[Pipeline, Pipeline]]:
    """Two pipelines of a partner that tells everything it knows: in its runs, and in its error answers."""
    client = make_pipeline(external_id="runs")
    other = make_pipeline(external_id="errors")

    def runs(request: Request) -> Response:
        found = [planted(number, text) for number, text in enumerate(KINDS.values())]
        # One that is rejected: its reason repeats what was sent.
        found.append({**planted(99, "x"), "started_at": f"password={CORE}", "finished_at": None})
        return Response(json.dumps({"runs": found, "next_cursor": None}), content_type="application/json")

    def errors(request: Request) -> Response:
        echoed = " ".join([request.headers["Authorization"], *KINDS.values()])
        return Response(echoed, status=400, content_type="text/plain")

    httpserver.expect_request(re.compile("/pipelines/runs/runs")).respond_with_handler(runs)
    httpserver.expect_request(re.compile("/pipelines/errors/runs")).respond_with_handler(errors)
    yield client, other


def test_no_planted_secret_comes_through(
    partner_app: Flask,
    leaky: tuple[Pipeline, Pipeline],
    start_worker: Callable[[], WorkerProcess],
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker = start_worker()
    job, _ = request_sync(scope=SyncScope())

    job = wait_for(job)

    assert job.counts.created == len(KINDS)
    assert job.counts.rejected == 1
    # One pipeline's error answer: it fails the part that has no other, and is told of where another one is read.
    is_alone = len({pipeline.id.int % SHARDS for pipeline in leaky}) == 2
    assert job.state is (JobState.FAILED if is_alone else JobState.FINISHED)
    assert job.error or job.warning
    seen = {
        **everywhere(partner_app, leaky, job.id),
        "log of the worker": worker.log.read_text(),
        "log of the app": "\n".join(str(vars(record)) for record in caplog.records),
    }
    assert all(len(text) > 20 for name, text in seen.items() if "log of" not in name), seen.keys()
    for secret in (CORE, TOKEN, partner_app.config["CHM"].secret_key):
        assert [name for name, text in seen.items() if secret in text] == [], secret


def everywhere(app: Flask, pipelines: tuple[Pipeline, Pipeline], job_id: str) -> dict[str, str]:
    """All that CHM keeps and shows."""
    rows = [row[0] for row in db.session.execute(sa.text("SELECT t::text FROM runs t"))]
    assert len(rows) == len(KINDS)
    browser = client_of(app)
    client_id, pipeline_id = pipelines[0].client_id, pipelines[0].id
    pages = ["/", "/overview/changes", "/insights", "/runs", "/runs.csv", "/search?q=task", "/ingestion", "/metrics"]
    pages += [f"/clients/{client_id}", f"/clients/{client_id}/report", f"/pipelines/{pipeline_id}/runs.csv"]
    pages += [f"/ingestion/jobs/{job_id}", f"/ingestion/jobs/{job_id}/rejected.csv"]
    pages += [f"/pipelines/{pipeline.id}" for pipeline in pipelines]
    pages += [f"/runs/{run_id}" for run_id in db.session.scalars(sa.text("SELECT id FROM runs"))]
    answers = [f"{PREFIX}/runs", f"{PREFIX}/ingestion/jobs/{job_id}", f"{PREFIX}/pipelines/{pipeline_id}/runs"]
    answers += [
        f"{PREFIX}/ingestion/sources",
        f"{PREFIX}/ingestion/unmapped",
        f"{PREFIX}/pipelines/{pipeline_id}/health",
    ]
    return {
        "rows": "\n".join(rows),
        "Redis": _everything_in(Redis.from_url(app.config["CHM"].redis_url)),
        **{path: _shown(browser, path) for path in pages + answers},
    }


def _shown(browser: FlaskClient, path: str) -> str:
    response = browser.get(path)
    assert response.status_code == 200, path
    return response.text


def _everything_in(redis: Redis) -> str:
    """Every value that Redis holds, of each kind of key."""
    readers: dict[bytes, Callable[[Any], Any]] = {
        b"string": redis.get,
        b"hash": redis.hgetall,
        b"list": lambda key: redis.lrange(key, 0, -1),
        b"set": redis.smembers,
        b"zset": lambda key: redis.zrange(key, 0, -1),
        b"stream": redis.xrange,
    }
    kinds: dict[Any, Any] = {key: redis.type(key) for key in redis.scan_iter()}
    return "\n".join(f"{key!r} {readers[kind](key)!r}" for key, kind in kinds.items())


def test_token_of_a_request_is_in_no_log_and_no_answer(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    browser = bearing(app.test_client(), f"chm_{CORE}{CORE}{CORE}")

    with caplog.at_level("DEBUG"):
        answers = [browser.get(f"{PREFIX}{path}").text for path in ("/clients", "/nothing", f"/runs?{CORE}=1")]

    assert CORE not in caplog.text
    assert CORE not in "".join(answers)
