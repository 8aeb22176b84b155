"""Whoever uses a web machine all the time: reports runs, asks for ingestions, and notes what is answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import requests

from tests.http import PREFIX
from tests.ingestion.machines import WEB_PORT, WebMachine

REPORT = {
    "status": "success",
    "started_at": "2026-10-01T00:00:00Z",
    "finished_at": "2026-10-01T01:00:00Z",
    "rows_processed": 7,
}
HEALTH, READINESS, SYNC = "/healthz", "/readyz", f"{PREFIX}/ingestion/runs/sync"
# Longer than any statement of a web process may take.
PATIENCE_SECONDS = 45


@dataclass(frozen=True)
class Answer:
    """What came of a request, and when. ``status`` 0: nothing."""

    what: str
    status: int
    begun: float
    ended: float


@dataclass
class Asker:
    """Asks one machine in a thread of its own, from the network in which it is made."""

    machine: WebMachine
    token: str
    pipeline_id: UUID
    answers: list[Answer] = field(default_factory=list)
    confirmed: list[str] = field(default_factory=list)
    troubles: list[tuple[float, float]] = field(default_factory=list)
    is_finishing: bool = False
    is_given_up: bool = False
    _thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    @contextmanager
    def in_trouble(self) -> Iterator[None]:
        """Note that the machine cannot be counted on for the length of the block."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.troubles.append((begun, time.monotonic()))

    def finish(self) -> None:
        """Report the last run until it is confirmed, and end."""
        self.is_finishing = True
        self._thread.join(120)
        assert not self._thread.is_alive()

    def troubled(self, answer: Answer, *, after: float) -> bool:
        """Whether the machine was in trouble meanwhile, or up to so many seconds before."""
        return any(begun <= answer.ended and answer.begun <= ended + after for begun, ended in self.troubles)

    def ask(self, what: str, method: str, path: str, *, host: str, patience: float, json: Any = None) -> int:
        """Send a request to the machine and note what comes of it; gives the status, 0 for no answer."""
        begun = time.monotonic()
        try:
            response = requests.request(
                method,
                f"http://{host}:{WEB_PORT}{path}",
                json=json,
                headers={"Authorization": f"Bearer {self.token}"},
                timeout=(3, patience),
            )
            status = response.status_code
        except requests.RequestException:
            status = 0
        self.answers.append(Answer(what, status, begun, time.monotonic()))
        return status

    def report(self, number: int, *, host: str | None = None, patience: float = PATIENCE_SECONDS) -> int:
        """Report a run of this machine's own; a repeated report is the same."""
        name = f"{self.machine.name}-{number}"
        path = f"{PREFIX}/pipelines/{self.pipeline_id}/runs/{name}"
        status = self.ask("PUT", "PUT", path, json=REPORT, host=host or self.machine.address, patience=patience)
        if status in (200, 201):
            self.confirmed.append(name)
        return status

    def _work(self) -> None:
        number, host = 0, self.machine.address
        while not self.is_given_up:
            if self.report(number) in (200, 201):
                number += 1
                if self.is_finishing:
                    return
            for method, path in (("GET", HEALTH), ("GET", READINESS), ("POST", SYNC)):
                self.ask(path, method, path, host=host, patience=PATIENCE_SECONDS)
            time.sleep(0.2)


@contextmanager
def asking(machines: Sequence[WebMachine], token: str, pipeline_id: UUID) -> Iterator[list[Asker]]:
    """Use web machines for the length of the block, or until one is told to finish."""
    askers = [Asker(machine, token, pipeline_id) for machine in machines]
    try:
        yield askers
    finally:
        for asker in askers:
            asker.is_given_up = True
