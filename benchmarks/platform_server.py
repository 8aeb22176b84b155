"""An Airflow 3 whose account has changed runs of many pipelines, and a partner that takes its time for each of them.

    python -m benchmarks.platform_server --pipelines 10000 --changed 5000 --delay 0.05 --port-file PATH

Airflow tells nothing to who asks for everything, and all changed runs to who asks for what changed. The partner has one
run of each pipeline. ``/requests`` gives how many requests there were since it was asked last.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from benchmarks.environment import BENCH_MARK
from benchmarks.serving import Handler, serve

PAGE_SIZE = 100
"""Airflow gives no more at once."""


def external_id(number: int) -> str:
    """How a pipeline is called on both."""
    return f"{BENCH_MARK}{number:05}"


def make_dag_run(number: int, pipelines: int) -> dict[str, Any]:
    """Make up a run that succeeded a while ago."""
    started = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=90, seconds=number % 3600)
    return {
        "dag_id": external_id(number % pipelines),
        "dag_run_id": f"{BENCH_MARK}scheduled__{number:07}",
        "state": "success",
        "start_date": started.isoformat(),
        "end_date": (started + timedelta(seconds=75)).isoformat(),
        "queued_at": started.isoformat(),
        "run_after": started.isoformat(),
        "duration": 75.0,
        "run_type": "scheduled",
        "conf": {"mode": "full", "number": number},
    }


def make_pages(pipelines: int, changed: int) -> list[bytes]:
    """Make the pages of what changed, as bytes: making them must cost nothing while it is measured."""
    runs = [make_dag_run(number, pipelines) for number in range(changed)]
    pages = []
    for first in range(0, changed, PAGE_SIZE):
        following = str(first // PAGE_SIZE + 1) if first + PAGE_SIZE < changed else None
        page = {"dag_runs": runs[first : first + PAGE_SIZE], "total_entries": changed, "next_cursor": following}
        pages.append(json.dumps(page).encode())
    return pages


class _Handler(Handler):
    pages: list[bytes]
    delay: float
    asked = itertools.count()
    told = 0

    def do_POST(self) -> None:  # noqa: N802 - the base class's name
        """Sign anybody in."""
        next(self.asked)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._send({"access_token": "made-up"}, 201)

    def do_GET(self) -> None:  # noqa: N802 - the base class's name
        """Answer as what the path belongs to."""
        url = urlsplit(self.path)
        asked = parse_qs(url.query, keep_blank_values=True)
        if url.path == "/requests":
            # This very request is not one of them.
            count = next(self.asked)
            self._send(count - _Handler.told)
            _Handler.told = count + 1
            return
        next(self.asked)
        if url.path == "/api/v2/version":
            self._send({"version": "3.3.2"})
        elif url.path.endswith("/dagRuns"):
            page = int(asked["cursor"][0] or 0)
            self._send(self.pages[page] if "updated_at_gte" in asked else {"dag_runs": [], "next_cursor": None})
        else:
            time.sleep(self.delay)
            name = url.path.split("/")[2]
            started = "2026-11-01T06:00:00Z"
            run = {"external_run_id": f"{name}-1", "status": "success", "started_at": started}
            self._send({"runs": [run], "next_cursor": None})

    def _send(self, body: Any, status: int = 200) -> None:
        self.answer(body if isinstance(body, bytes) else json.dumps(body).encode(), status)


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.platform_server")
    for name in ("--pipelines", "--changed"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--delay", type=float, required=True)
    parser.add_argument("--port-file", type=Path, required=True)
    options = parser.parse_args()
    _Handler.pages = make_pages(options.pipelines, options.changed)
    _Handler.delay = options.delay
    serve(_Handler, options.port_file)


if __name__ == "__main__":
    main()
