"""gunicorn on the loopback interface, and requests to it: one at a time or several."""

from __future__ import annotations

import http.client
import statistics
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

from benchmarks.environment import Bench, BenchError
from benchmarks.report import Line, at_most
from chm_web.commands.processes import Child
from chm_web.config import ROOT

WORKERS, THREADS = 2, 4


@dataclass(frozen=True)
class Targets:
    """The p95 in ms that the customer asked for, and ours at one and at eight requests at a time."""

    customer: float | None
    alone: float | None
    eight: float | None


@dataclass(frozen=True)
class Request:
    """One request."""

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def served(bench: Bench) -> Iterator[int]:
    """Run gunicorn on a free port of the loopback interface; gives the port."""
    port_file = bench.data_dir / "http.port"
    port_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.gunicorn_on_a_free_port", str(port_file), str(WORKERS), str(THREADS)]
    log = bench.data_dir / "logs" / "http.log"
    web = Child("web", command, environ=bench.environ, log=log, cwd=ROOT)
    try:
        web.wait_until(port_file.exists, seconds=60)
        yield int(port_file.read_text())
    finally:
        web.stop()


def ask(port: int, requests: Sequence[Request], *, concurrency: int, accept: Sequence[int] = (200,)) -> list[float]:
    """Send requests, ``concurrency`` at once; gives how long each took, in ms, the connection included.

    Each on a connection of its own, as nginx sends them on unless told otherwise: connections that are kept open stay
    with the worker that took them, and eight of them are mostly shared out unevenly between two.

    Raises:
        BenchError: an answer's status is none of ``accept``.
    """
    waiting = list(requests)
    times: list[float] = []
    problems: list[str] = []
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if not waiting or problems:
                    break
                request = waiting.pop()
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            began = perf_counter()
            connection.request(request.method, request.path, body=request.body, headers=dict(request.headers))
            response = connection.getresponse()
            answer = response.read()
            took = (perf_counter() - began) * 1000
            connection.close()
            with lock:
                times.append(took)
                if response.status not in accept:
                    problems.append(f"{request.method} {request.path} answered {response.status}: {answer[:200]!r}")

    threads = [threading.Thread(target=work) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise BenchError(problems[0])
    return times


def lines_of(
    name: str, targets: Targets, concurrency: int, rounds: Sequence[list[float]], slowness: float
) -> list[Line]:
    """Give the figures of one kind of request at one concurrency, and what they are held against.

    Args:
        name: what was asked for.
        targets: in ms.
        concurrency: how many at a time.
        rounds: what requests took in each round, in ms: the one that was disturbed least counts, by its median.
        slowness: how many times as long this machine may take as our targets say (``Yardsticks``).
    """
    target = targets.alone if concurrency == 1 else targets.eight
    times = min(rounds, key=statistics.median)
    slowest = max(map(statistics.median, rounds))
    spread = f", in other rounds up to {slowest:,.1f}" if len(rounds) > 1 else ""
    lines = [Line(what=f"{name}, {concurrency} at a time", measured=f"{said(times)}{spread}")]
    p95 = percentile(times, 95)
    if target is not None:
        lines.append(at_most("— p95 against our target", p95, target * slowness, unit=" ms", digits=1))
    if targets.customer is not None:
        lines.append(at_most("— p95 against what the customer asked for", p95, targets.customer, unit=" ms", digits=1))
    return lines


def said(times: list[float]) -> str:
    """Say p50 and p95."""
    return f"{statistics.median(times):,.1f} / {percentile(times, 95):,.1f} ms"


def percentile(times: list[float], percent: int) -> float:
    """Give a percentile of some times."""
    return statistics.quantiles(times, n=100, method="inclusive")[percent - 1]
