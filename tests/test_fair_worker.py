"""How gunicorn shares requests among its processes, by ``gunicorn.conf.py``."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from chm_web.config import ROOT
from tests.ingestion.conftest import wait_until
from tests.processes import bare_environ
from tests.web_server import running_gunicorn

pytestmark = pytest.mark.slow

PROCESSES, THREADS, ROUNDS = 2, 2, 10
CROWD = PROCESSES * THREADS

# Who asks for a round is answered once as many are at it as there are threads, or that it waited in vain.
APP = f"""
import pathlib, time, uuid

def app(environ, start_response):
    meeting = pathlib.Path(environ["PATH_INFO"].strip("/") or "nobody")
    if meeting.is_dir():
        (meeting / uuid.uuid4().hex).touch()
        until = time.monotonic() + 20
        while len(list(meeting.iterdir())) < {CROWD} and time.monotonic() < until:
            time.sleep(0.01)
    met = not meeting.is_dir() or len(list(meeting.iterdir())) == {CROWD}
    start_response("200 OK" if met else "503 Service Unavailable", [("Content-Type", "text/plain")])
    return [b""]
"""


@contextmanager
def serving(tmp_path: Path, *arguments: str) -> Iterator[str]:
    """Serve the app above with what CHM tells gunicorn; gives its address."""
    (tmp_path / "waiting.py").write_text(APP)
    told = ["--config", str(ROOT / "gunicorn.conf.py"), "--workers", str(PROCESSES), "--threads", str(THREADS)]
    log = tmp_path / "gunicorn.log"
    environ = bare_environ()
    with running_gunicorn(environ, log, app="waiting:app", directory=tmp_path, arguments=[*told, *arguments]) as (
        port,
        _,
    ):
        wait_until(lambda: log.read_text().count("Booting worker") == PROCESSES)
        yield f"http://127.0.0.1:{port}/"


def test_no_request_waits_for_one_process_while_another_has_a_thread(tmp_path: Path) -> None:
    with serving(tmp_path) as url, ThreadPoolExecutor(CROWD) as pool:
        for number in range(ROUNDS):
            (tmp_path / f"round-{number}").mkdir()
            asked = [pool.submit(requests.get, f"{url}round-{number}", timeout=60) for _ in range(CROWD)]
            assert [each.result().status_code for each in asked] == [200] * CROWD


def test_connections_that_are_kept_open_keep_nobody_out(tmp_path: Path) -> None:
    with serving(tmp_path, "--keep-alive", "30") as url:
        kept = [requests.Session() for _ in range(5 * CROWD)]
        for session in kept:
            assert session.get(url, timeout=10).status_code == 200

        assert [session.get(url, timeout=10).status_code for session in kept] == [200] * len(kept)
        for session in kept:
            session.close()
