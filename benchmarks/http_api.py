"""The REST API through gunicorn, as a service meets it: how long answers take, alone and eight at a time."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from benchmarks.environment import BENCH_MARK, Bench, BenchError
from benchmarks.http_load import THREADS, WORKERS, Request, Targets, ask, lines_of, said, served
from benchmarks.report import Report
from benchmarks.yardsticks import Yardsticks
from chm_web.access.permissions import Scope
from chm_web.access.tokens import TokenFile

BATCH = 500
# Enough to ask for every client of a size once: the targets are for a database that is at work.
WARM_UP = 100
_API = "/api/v1"
_TOKEN_NAME = "bench"  # noqa: S105 - a name


@dataclass(frozen=True)
class Case:
    """One kind of request. ``make`` gives method, path and body of the next one."""

    name: str
    make: Callable[[], tuple[str, str, bytes | None]]
    targets: Targets


def run(bench: Bench) -> Report:
    """Measure every case at both concurrencies. Once: what it writes slows down what comes after."""
    requests = 40 if bench.quick else 400
    found: list[tuple[Case, int, list[float]]] = []
    with ExitStack() as stack:
        yardsticks = Yardsticks(stack.enter_context(bench.connect()))
        bench, token = with_token(stack, bench)
        port = stack.enter_context(served(bench))
        for case in _cases(bench):
            yardsticks.measure()
            for concurrency in (1, 8):
                for count in (WARM_UP, requests):
                    asked = _requests(case, token, count)
                    times = ask(port, asked, concurrency=concurrency, accept=(200, 201, 404))
                found.append((case, concurrency, times))
                bench.say(f"{case.name}, {concurrency} at a time: {said(times)}")
        _sweep(bench)
    method = (
        f"gunicorn with {WORKERS} workers of {THREADS} threads, {requests} requests a case after {WARM_UP} others, "
        "from one process on the same cores, each by a connection of its own, with a token and counted against a "
        "limit, another thing asked for each time; p50 / p95 in ms, the body read. "
        f"{yardsticks.words()}"
    )
    lines = yardsticks.lines()
    for case, concurrency, times in found:
        lines += lines_of(case.name, case.targets, concurrency, [times], yardsticks.slowness)
    return Report(title="HTTP", method=method, lines=lines)


def with_token(stack: ExitStack, bench: Bench) -> tuple[Bench, str]:
    """Make an API token that may do everything, for as long as ``stack`` is open."""
    path = bench.data_dir / "tokens.json"
    path.unlink(missing_ok=True)
    token = TokenFile(path).create(name=_TOKEN_NAME, scope=Scope.WRITE)
    stack.callback(path.unlink)
    environ = bench.environ | {
        "CHM_TOKENS_FILE": str(path),
        "CHM_USERS_FILE": str(bench.data_dir / "users.json"),
        # High enough never to be met, so that counting is part of what is measured.
        "CHM_API_RATE_LIMIT_PER_MINUTE": "10000000",
    }
    return replace(bench, environ=environ), token


def _cases(bench: Bench) -> list[Case]:
    with bench.connect() as connection:
        counted = connection.execute(
            "SELECT client_id, count(*) FROM pipelines GROUP BY client_id ORDER BY count(*) DESC, client_id"
        ).fetchall()
        pipelines = [str(row[0]) for row in connection.execute("SELECT id FROM pipelines ORDER BY id").fetchall()]
        latest = connection.execute("SELECT max(event_at) FROM runs").fetchone() or (None,)
    now = latest[0] or datetime.now(UTC)
    chance = random.Random(1)
    cases = [
        Case(
            "latest run",
            _each(lambda: f"/pipelines/{chance.choice(pipelines)}/runs/latest"),
            Targets(250, 8, 40),
        ),
        Case(
            "run list of 100",
            _each(lambda: f"/pipelines/{chance.choice(pipelines)}/runs?limit=100"),
            Targets(None, 25, 120),
        ),
        Case(
            "failed in 24 h, 100 of all clients",
            _each(lambda: _query("/runs", status="failed", since=now - timedelta(hours=24), limit=100)),
            Targets(None, 25, 120),
        ),
    ]
    for size, alone, eight in ((50, 12, 60), (500, 30, 150)):
        clients = [str(client) for client, pipelines in counted if pipelines == size]
        if not clients:
            raise BenchError(f"No client has {size} pipelines. Seed the database with the usual 200 clients.")
        for days, window in ((1, "24 h"), (7, "7 d"), (30, "30 d")):
            since = now - timedelta(days=days)
            cases.append(
                Case(
                    f"client summary, {size} pipelines, {window}",
                    _each(_summaries(clients, since, now, chance)),
                    # Ours are for up to seven days; a month reads six times as many runs.
                    Targets(500, alone, eight) if days <= 7 else Targets(500, None, None),
                )
            )
    batches = _batches(pipelines, now, chance)
    return [*cases, Case(f"POST /runs/batch, {BATCH} new runs", batches, Targets(None, None, None))]


def _summaries(clients: Sequence[str], since: datetime, until: datetime, chance: random.Random) -> Callable[[], str]:
    return lambda: _query(f"/clients/{chance.choice(clients)}/runs/summary", since=since, until=until)


def _each(path: Callable[[], str]) -> Callable[[], tuple[str, str, None]]:
    return lambda: ("GET", path(), None)


def _query(path: str, **values: object) -> str:
    said = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}
    return f"{path}?{urlencode(said)}"


def _batches(
    pipelines: Sequence[str], now: datetime, chance: random.Random
) -> Callable[[], tuple[str, str, bytes | None]]:
    numbers = itertools.count(1)

    def make() -> tuple[str, str, bytes]:
        runs = []
        for _ in range(BATCH):
            started = now - timedelta(minutes=chance.randint(60, 3000))
            runs.append(
                {
                    "pipeline_id": chance.choice(pipelines),
                    "external_run_id": f"{BENCH_MARK}http-{next(numbers)}",
                    "status": "success",
                    "started_at": started.isoformat(),
                    "finished_at": (started + timedelta(seconds=chance.randint(5, 3000))).isoformat(),
                    "rows_processed": chance.randint(1, 10**6),
                }
            )
        return "POST", "/runs/batch", json.dumps({"runs": runs}).encode()

    return make


def _requests(case: Case, token: str, count: int) -> list[Request]:
    # Made before the clock starts: the load must not compete with what it measures for longer than it has to.
    requests = []
    for _ in range(count):
        method, path, body = case.make()
        more = {"Content-Type": "application/json"} if body else {}
        requests.append(Request(method, _API + path, body, {"Authorization": f"Bearer {token}", **more}))
    return requests


def _sweep(bench: Bench) -> None:
    with bench.connect() as connection:
        connection.execute("DELETE FROM runs WHERE starts_with(external_run_id, %s)", (BENCH_MARK,))
    bench.vacuum()
