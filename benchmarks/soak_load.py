"""The soak's load: reports, reads and pages at a bounded rate, with every answer noted and every confirmed run kept."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any
from uuid import UUID

import requests

from benchmarks.environment import BENCH_MARK
from benchmarks.samples import as_json, make_record

API = "/api/v1"
_REPORTED_FIELDS = ("status", "started_at", "finished_at", "rows_processed", "error_message")
_LAST_REPORT_SECONDS = 120.0


@dataclass(frozen=True)
class Answer:
    """What came of a request, and when, in seconds of the monotonic clock. ``status`` 0: nothing."""

    kind: str
    status: int
    begun: float
    ended: float


@dataclass(frozen=True)
class Kept:
    """What is to be in the database of a run."""

    status: str
    started_at: str
    rows_processed: int | None

    @classmethod
    def of(cls, report: dict[str, Any]) -> Kept:
        """What a report, or an answer of the API, tells."""
        return cls(report["status"], report["started_at"], report["rows_processed"])


@dataclass
class Load(AbstractContextManager["Load"]):
    """Uses the web app from several threads for the length of the block. ``clients`` and ``pipelines`` are ids."""

    port: int
    token: str
    cookie: str
    clients: Sequence[str]
    pipelines: Sequence[str]
    answers: list[Answer] = field(default_factory=list)
    confirmed: dict[tuple[str, str], Kept] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    _confirming: threading.Lock = field(default_factory=threading.Lock)
    _done: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Load:
        chance = random.Random(1)
        loops: list[tuple[Callable[[], None], float]] = [
            (self._reporter("a"), 0.2),
            (self._reporter("b"), 0.2),
            (lambda: self._read_back(chance), 0.3),
            (lambda: self._read_list(chance), 0.5),
            (lambda: self._see_page(chance), 0.5),
            (lambda: self._see_page(chance), 0.5),
            (self._ask_for_ingestion, 20.0),
        ]
        self._threads = [threading.Thread(target=self._repeat, args=loop, daemon=True) for loop in loops]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, act: Callable[[], None], seconds: float) -> None:
        try:
            while not self._done.wait(seconds):
                act()
        except Exception as err:
            # Less load than there seems to be would prove less than it says.
            self.wrong.append(f"the load itself broke: {err!r}")
            raise

    def _reporter(self, name: str) -> Callable[[], None]:
        """Give what reports a run of its own each time, and again until it is confirmed."""
        chance, number = random.Random(name), 0

        def report() -> None:
            nonlocal number
            number += 1
            pipeline, run = chance.choice(self.pipelines), f"{BENCH_MARK}{name}-{number}"
            started = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=chance.randint(60, 3000))
            made = as_json(make_record(UUID(pipeline), run, started, chance))
            body = {key: made[key] for key in _REPORTED_FIELDS}
            deadline = time.monotonic() + _LAST_REPORT_SECONDS
            while self._ask("report", "PUT", f"{API}/pipelines/{pipeline}/runs/{run}", body)[0] not in (200, 201):
                if time.monotonic() > deadline:
                    self.wrong.append(f"{run} was not taken within {_LAST_REPORT_SECONDS:.0f} s")
                    return
                time.sleep(0.5)
            with self._confirming:
                self.confirmed[pipeline, run] = Kept.of(body)

        return report

    def _read_back(self, chance: random.Random) -> None:
        """Ask for a run that was confirmed: it has to be there at once, and for ever."""
        with self._confirming:
            known = list(self.confirmed.items())[-200:]
        if not known:
            return
        (pipeline, run), kept = chance.choice(known)
        status, body = self._ask("API, one run", "GET", f"{API}/pipelines/{pipeline}/runs/{run}")
        if status == 404 or (status == 200 and Kept.of(json.loads(body)) != kept):
            self.wrong.append(f"{run} was reported as {kept} and is given back as {status}: {body[:200]!r}")

    def _read_list(self, chance: random.Random) -> None:
        client, pipeline = chance.choice(self.clients), chance.choice(self.pipelines)
        paths = (f"/pipelines/{pipeline}/runs?limit=100", f"/clients/{client}/runs/summary", "/runs?status=failed")
        self._ask("API, lists", "GET", API + chance.choice(paths))

    def _see_page(self, chance: random.Random) -> None:
        client, pipeline = chance.choice(self.clients), chance.choice(self.pipelines)
        paths = ("/", "/clients", "/pipelines", "/runs", "/ingestion", "/insights", f"/clients/{client}")
        self._ask("page", "GET", chance.choice((*paths, f"/pipelines/{pipeline}")))

    def _ask_for_ingestion(self) -> None:
        self._ask("ingest now", "POST", f"{API}/ingestion/runs/sync", {})

    def _ask(self, kind: str, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        is_page = not path.startswith(API)
        begun = time.monotonic()
        try:
            response = requests.request(
                method,
                f"http://127.0.0.1:{self.port}{path}",
                json=body,
                headers={"Cookie": self.cookie} if is_page else {"Authorization": f"Bearer {self.token}"},
                timeout=(5, 60),
                allow_redirects=False,
            )
            status, answer = response.status_code, response.content
        except requests.RequestException:
            status, answer = 0, b""
        self.answers.append(Answer(kind, status, begun, time.monotonic()))
        return status, answer
