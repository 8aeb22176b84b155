"""The app behind gunicorn, the server that deployments run, as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from chm_web.config import ROOT
from tests.http import answers, free_port
from tests.ingestion.conftest import wait_until


@contextmanager
def running_gunicorn(
    environ: Mapping[str, str],
    log: Path,
    *,
    app: str = "wsgi:app",
    directory: Path = ROOT,
    arguments: Sequence[str] = ("--workers", "1"),
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """An app on a free port of the loopback interface: the port, and the process, which writes to ``log``."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", app, "--bind", f"127.0.0.1:{port}", *arguments]
    with log.open("wb") as output:
        server = subprocess.Popen(command, cwd=directory, env=dict(environ), stdout=output, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{port}/healthz"
        wait_until(lambda: answers(url) or server.poll() is not None, seconds=180)
        assert server.poll() is None, log.read_text()
        yield port, server
    finally:
        server.terminate()
        server.wait(30)
