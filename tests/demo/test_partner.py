"""The partner's HTTP contract, on a real server on the loopback interface."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from chm_web.demo.fleet import PIPELINES
from chm_web.demo.history import history_start
from chm_web.demo.partner import PartnerServer
from tests.demo.seen import runs_between

NOW = datetime(2026, 3, 11, 12, 7, 30, tzinfo=UTC)
TOKEN = "s3cret-of-the-tests"
BUSY = "quillhaven/événements"


@dataclass
class Clock:
    """A clock that stands still until a test moves it."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now


class Caller:
    """One keep-alive connection to the partner."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def ask(
        self, path: str, token: str | None = TOKEN, method: str = "GET"
    ) -> tuple[int, dict[str, Any], http.client.HTTPMessage]:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._connection.request(method, path, headers=headers)
        response = self._connection.getresponse()
        return response.status, json.loads(response.read()), response.headers

    def runs(self, external_id: str, **query: object) -> dict[str, Any]:
        status, body, _ = self.ask(runs_path(external_id, **query))
        assert status == 200, body
        return body

    def all_runs(self, external_id: str, **query: object) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self.runs(external_id, cursor=cursor, **query)
            found += page["runs"]
            cursor = page["next_cursor"]
        return found

    def close(self) -> None:
        self._connection.close()


def runs_path(external_id: str, **query: object) -> str:
    return f"/pipelines/{quote(external_id, safe='')}/runs?{urlencode(query)}"


@contextmanager
def serving(clock: Clock) -> Iterator[Caller]:
    with PartnerServer(TOKEN, clock=clock) as server:
        threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True).start()
        caller = Caller(server.server_address[1])
        yield caller
        caller.close()
        server.shutdown()


@pytest.fixture(scope="module")
def partner() -> Iterator[Caller]:
    with serving(Clock(NOW)) as caller:
        yield caller


def test_health_needs_no_token(partner: Caller) -> None:
    assert partner.ask("/healthz", token=None)[0] == 200


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x", "Ünicode"])
def test_runs_need_the_token(partner: Caller, token: str | None) -> None:
    status, body, headers = partner.ask(runs_path(BUSY), token=token)
    assert (status, body["error"]["code"]) == (401, "unauthorized")
    assert headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/", "/pipelines", "/pipelines/none/runs", "/pipelines/a/b/runs", "/pipelines//runs"])
def test_unknown_paths_and_pipelines_are_not_found(partner: Caller, path: str) -> None:
    status, body, _ = partner.ask(path)
    assert (status, body["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=ten",
        "limit=-1",
        "limit=%C2%B2",
        "updated_since=yesterday",
        "updated_since=2026-13-01",
        "cursor=abc",
        "cursor=%00",
        "cursor=WzEsMl0",
        "cursor=bnVsbA",
        "since=2026-01-01",
        "limit=5&limit=6",
        "cursor=%FF",
    ],
)
def test_bad_parameters_are_refused(partner: Caller, query: str) -> None:
    status, body, _ = partner.ask(f"/pipelines/{quote(BUSY, safe='')}/runs?{query}")
    assert (status, body["error"]["code"]) == (400, "bad_request")


def test_id_that_is_not_utf8_is_refused(partner: Caller) -> None:
    assert partner.ask("/pipelines/%FF/runs")[0] == 400


def test_other_methods_are_refused_as_json() -> None:
    with serving(Clock(NOW)) as caller:
        status, body, headers = caller.ask(runs_path(BUSY), method="POST")
        assert (status, headers["Allow"]) == (405, "GET")
        assert body["error"]["code"] == "method_not_allowed"


def test_every_external_id_is_reached(partner: Caller) -> None:
    for pipeline in PIPELINES:
        found = partner.runs(pipeline.external_id, updated_since=(NOW - timedelta(days=3)).isoformat(), limit=1000)
        expected = [
            run.external_run_id
            for run in runs_between(pipeline, NOW - timedelta(days=6), NOW, NOW)
            if run.updated_at >= NOW - timedelta(days=3)
        ]
        assert sorted(run["external_run_id"] for run in found["runs"]) == sorted(expected)
        assert found["next_cursor"] is None


def test_a_page_has_a_hundred_runs_by_default_and_the_headers_of_keep_alive(partner: Caller) -> None:
    status, body, headers = partner.ask(runs_path(BUSY))
    assert status == 200
    assert len(body["runs"]) == 100
    assert body["next_cursor"]
    assert headers["Content-Length"]
    assert headers["Date"]
    assert headers.get("Connection") != "close"


@pytest.mark.parametrize("limit", [7, 100, 241, 1000])
def test_pages_add_up_to_the_whole_list(partner: Caller, limit: int) -> None:
    pipeline = next(pipeline for pipeline in PIPELINES if pipeline.external_id == BUSY)
    found = partner.all_runs(BUSY, limit=limit)
    keys = [(run["updated_at"], run["external_run_id"]) for run in found]
    assert keys == sorted(set(keys))
    start = history_start(NOW)
    expected = runs_between(pipeline, start - timedelta(days=1), NOW, NOW)
    assert {key[1] for key in keys} == {run.external_run_id for run in expected if run.updated_at >= start}


def test_a_run_carries_the_contract_and_extras(partner: Caller) -> None:
    run = partner.runs(BUSY, limit=1)["runs"][0]
    assert set(run) == {
        "external_run_id",
        "status",
        "started_at",
        "finished_at",
        "duration_seconds",
        "rows_processed",
        "error_message",
        "status_reason",
        "updated_at",
        "attempt",
        "trigger",
        "worker_host",
        "log_url",
    }
    started, finished = (datetime.fromisoformat(run[name]) for name in ("started_at", "finished_at"))
    assert (finished - started).total_seconds() == pytest.approx(run["duration_seconds"])
    assert run["updated_at"] == run["finished_at"]


def test_updated_since_is_inclusive(partner: Caller) -> None:
    some = partner.runs(BUSY, limit=50)["runs"]
    edge = some[20]["updated_at"]
    assert partner.runs(BUSY, updated_since=edge, limit=1)["runs"][0] == some[20]
    just_after = (datetime.fromisoformat(edge) + timedelta(microseconds=1)).isoformat()
    assert partner.runs(BUSY, updated_since=just_after, limit=1)["runs"][0] == some[21]


def test_updated_since_reads_other_zones_and_none(partner: Caller) -> None:
    utc, elsewhere, bare = (
        partner.runs(BUSY, updated_since=text, limit=1)["runs"]
        for text in ("2026-03-01T10:00:00Z", "2026-03-01T12:00:00+02:00", "2026-03-01T10:00:00")
    )
    assert utc == elsewhere == bare


def test_reading_on_as_time_goes_by_misses_nothing() -> None:
    clock = Clock(NOW)
    with serving(clock) as caller:
        known: dict[str, dict[str, Any]] = {}
        watermark = NOW - timedelta(hours=6)
        changed = 0
        for _ in range(60):
            for run in caller.all_runs("bramblegate/pos feed", updated_since=watermark.isoformat(), limit=3):
                before = known.get(run["external_run_id"])
                changed += before is not None and before != run
                assert before is None or before["finished_at"] is None or before == run
                known[run["external_run_id"]] = run
            watermark = clock.now - timedelta(minutes=5)
            clock.now += timedelta(minutes=1)
        whole = caller.all_runs("bramblegate/pos feed", updated_since=(NOW - timedelta(hours=6)).isoformat())
    assert changed >= 3
    assert {run["external_run_id"] for run in whole} == set(known)


def test_a_partner_started_later_tells_the_same_story() -> None:
    later = NOW + timedelta(days=2, hours=3)
    clock = Clock(NOW)
    with serving(clock) as old, serving(Clock(later)) as new:
        old.all_runs(BUSY)
        clock.now = later
        assert old.all_runs(BUSY, limit=1000) == new.all_runs(BUSY, limit=1000)


def test_it_serves_ten_thousand_runs_a_second(partner: Caller) -> None:
    busy = "bramblegate/pos feed"
    partner.runs(busy, limit=1)
    begin = time.perf_counter()
    count = len(partner.all_runs(busy, limit=500))
    assert count / (time.perf_counter() - begin) > 10_000


def test_the_command_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    port_file = tmp_path / "port"
    command = [sys.executable, "-m", "chm_web.demo.partner", "--port", "0", "--token-env", "A_TOKEN"]
    with subprocess.Popen(
        [*command, "--port-file", str(port_file)],
        env={**os.environ, "A_TOKEN": TOKEN},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            port = int(port_file.read_text())
            assert url == f"http://127.0.0.1:{port}"
            caller = Caller(port)
            assert caller.runs(BUSY, limit=2)["next_cursor"]
            # The connection stays open: an idle client must not hold up the end.
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=5) == 0
            assert process.stderr is not None
            assert process.stderr.read() == ""
            caller.close()
        finally:
            process.kill()


def test_the_command_refuses_to_start_without_a_token() -> None:
    command = [sys.executable, "-m", "chm_web.demo.partner", "--token-env", "NOT_SET_ANYWHERE"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2
    assert "NOT_SET_ANYWHERE is not set" in done.stderr
