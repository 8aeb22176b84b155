"""The pages through gunicorn, as somebody who is signed in meets them: time, queries and weight of each."""

from __future__ import annotations

import gzip
import random
import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

import requests

from benchmarks.environment import Bench, BenchError
from benchmarks.http_load import THREADS, WORKERS, Request, Targets, ask, lines_of, said, served
from benchmarks.report import Line, Report, at_most
from benchmarks.yardsticks import Yardsticks
from chm_web.access.permissions import Role
from chm_web.access.users import UserFile
from chm_web.web.shared_looks import FRESH_HEADER

_USER = "bench"
_PASSWORD = "a password of no value"  # noqa: S105 - guards made-up data on the loopback interface
_HTML_WEIGHT_KB = 25
_SAMPLES = 8
_ROUNDS = 3

_PAGE = Targets(None, 60, 250)
_OVERVIEW = Targets(None, 150, 500)
_NONE = Targets(None, None, None)


@dataclass(frozen=True)
class Case:
    """One page. ``make`` gives the path of the next one to ask for; ``limit_kb`` holds for lists of fifty rows.

    ``is_anew``: no look at the fleet is shared.
    """

    name: str
    make: Callable[[], str]
    targets: Targets = _PAGE
    limit_kb: float | None = _HTML_WEIGHT_KB
    is_anew: bool = False


def run(bench: Bench) -> Report:
    """Measure every page, alone and eight at a time, in rounds that are minutes apart."""
    count, rounds = (24, 1) if bench.quick else (120, _ROUNDS)
    found: dict[tuple[str, int], list[list[float]]] = {}
    weights: dict[str, Line] = {}
    with ExitStack() as stack:
        yardsticks = Yardsticks(stack.enter_context(bench.connect()))
        bench = with_user(stack, bench)
        cases = _cases(bench)
        port = stack.enter_context(served(bench))
        cookie = sign_in(port)
        for case in cases * rounds:
            yardsticks.measure()
            for concurrency in (1, 8):
                for size in (2 * concurrency, count):  # the first warms up
                    asked = [Request("GET", case.make(), None, _headers(cookie, case)) for _ in range(size)]
                    times = ask(port, asked, concurrency=concurrency)
                found.setdefault((case.name, concurrency), []).append(times)
                bench.say(f"{case.name}, {concurrency} at a time: {said(times)}")
            if case.name not in weights:
                weights[case.name] = _weighed(port, cookie, case)
    lines = yardsticks.lines()
    for case in cases:
        for concurrency in (1, 8):
            rounds_of_it = found[case.name, concurrency]
            lines += lines_of(case.name, case.targets, concurrency, rounds_of_it, yardsticks.slowness)
        lines.append(weights[case.name])
    with ExitStack() as stack:
        # The same once more, telling what each page has cost: that is not for every day.
        bench = with_user(stack, replace(bench, environ=bench.environ | {"FLASK_DEBUG": "1"}))
        port = stack.enter_context(served(bench))
        cookie = sign_in(port)
        lines += [_counted(port, cookie, case) for case in cases]
    method = (
        f"gunicorn with {WORKERS} workers of {THREADS} threads, {count} requests a page from one process on the same "
        "cores, each by a connection of its own, another client, pipeline or run each time; p50 / p95 in ms, the body "
        "read. The overview and the clients share their looks at the fleet as they do by default, unless it says anew. "
        f"{rounds} rounds, minutes apart, of which the one with the lowest median counts: at times this machine gives "
        "Python half of what it gives it at others, as the table of 2,400 cells tells. "
        f"Weight and queries: the most of {_SAMPLES} requests. {yardsticks.words()}"
    )
    return Report(title="Pages", method=method, lines=lines)


def with_user(stack: ExitStack, bench: Bench) -> Bench:
    """Let somebody be able to sign in, for as long as ``stack`` is open."""
    path = bench.data_dir / "users.json"
    path.unlink(missing_ok=True)
    UserFile(path).add(name=_USER, role=Role.OPERATOR, password=_PASSWORD)
    stack.callback(path.unlink)
    return replace(bench, environ=bench.environ | {"CHM_USERS_FILE": str(path)})


def _headers(cookie: str, case: Case) -> dict[str, str]:
    return {"Cookie": cookie, **({FRESH_HEADER: "1"} if case.is_anew else {})}


def sign_in(port: int) -> str:
    """Sign in as people do; gives the cookie of the session."""
    with requests.Session() as session:
        page = session.get(f"http://127.0.0.1:{port}/sign-in", timeout=30).text
        token = re.search(r'name="csrf_token" value="([^"]+)"', page)
        if token is None:
            raise BenchError("The sign-in page has no form.")
        form = {"name": _USER, "password": _PASSWORD, "csrf_token": token.group(1)}
        answer = session.post(f"http://127.0.0.1:{port}/sign-in", data=form, timeout=30, allow_redirects=False)
        if answer.status_code != 303:
            raise BenchError(f"Signing in was answered {answer.status_code}.")
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in session.cookies)


def _cases(bench: Bench) -> list[Case]:
    with bench.connect() as connection:
        clients = [str(row[0]) for row in connection.execute("SELECT id FROM clients ORDER BY id").fetchall()]
        counted = connection.execute(
            "SELECT client_id FROM pipelines GROUP BY client_id ORDER BY count(*) DESC, client_id LIMIT 1"
        ).fetchone()
        pipelines = [str(row[0]) for row in connection.execute("SELECT id FROM pipelines ORDER BY id").fetchall()]
        runs = [str(row[0]) for row in connection.execute("SELECT id FROM runs LIMIT 1000").fetchall()]
    largest = str(counted[0]) if counted else ""
    chance = random.Random(1)

    def each(pattern: str, ids: list[str]) -> Callable[[], str]:
        return lambda: pattern.format(chance.choice(ids))

    def always(path: str) -> Callable[[], str]:
        return lambda: path

    return [
        Case("Overview", always("/"), _OVERVIEW, None),
        Case("Overview, anew", always("/"), Targets(None, 150, None), None, is_anew=True),
        Case("Overview, what changed since yesterday", always("/overview/changes"), _OVERVIEW, None),
        Case("Overview, what changed since yesterday, anew", always("/overview/changes"), _NONE, None, is_anew=True),
        Case("Clients", always("/clients"), _OVERVIEW),
        Case("Clients, anew", always("/clients"), _NONE, is_anew=True),
        Case("Client", each("/clients/{}", clients), _PAGE, None),
        Case("Client of 500 pipelines", always(f"/clients/{largest}"), _OVERVIEW, None),
        Case("Client's report", each("/clients/{}/report", clients), _OVERVIEW, None),
        Case("Pipelines", always("/pipelines")),
        Case("Pipelines that fail", always("/pipelines?health=failing"), _OVERVIEW),
        Case("Pipelines by last finished", always("/pipelines?order=-finished"), _OVERVIEW),
        Case("Pipelines by a part of a name", always("/pipelines?q=orders")),
        Case("Pipeline", each("/pipelines/{}", pipelines), _PAGE, None),
        Case("Runs", always("/runs")),
        Case("Runs that failed", always("/runs?status=failed")),
        Case("Runs of a client", each("/runs?client_id={}", clients)),
        Case("Run", each("/runs/{}", runs), _PAGE, None),
        Case("Insights", always("/insights"), _NONE, None),
        Case("Alert rules", always("/alert-rules")),
        Case("Ingestion", always("/ingestion"), _PAGE, None),
        Case("Search", always("/search?q=orders"), _PAGE, None),
        # Twenty-five clients are half the fleet that it takes a look at.
        Case("Search that finds clients", always("/search?q=bench"), _OVERVIEW, None),
        Case("Suggestions of clients", always("/search/suggestions?q=bench"), _PAGE, None),
    ]


def _weighed(port: int, cookie: str, case: Case) -> Line:
    """Weigh the page's HTML as a proxy would pack it."""
    weights = []
    for _ in range(_SAMPLES):
        body = requests.get(f"http://127.0.0.1:{port}{case.make()}", headers=_headers(cookie, case), timeout=30).content
        weights.append(len(gzip.compress(body, compresslevel=6)) / 1000)
    heaviest = max(weights)
    if case.limit_kb is None:
        return Line(what="— HTML packed by gzip", measured=f"{heaviest:.1f} kB")
    return at_most("— HTML packed by gzip", heaviest, case.limit_kb, unit=" kB", digits=1)


def _counted(port: int, cookie: str, case: Case) -> Line:
    most, longest = 0, 0.0
    for _ in range(_SAMPLES):
        answer = requests.get(f"http://127.0.0.1:{port}{case.make()}", headers=_headers(cookie, case), timeout=30)
        found = re.search(r'db;dur=([\d.]+);desc="(\d+) queries"', answer.headers.get("Server-Timing", ""))
        if found is None:
            raise BenchError(f"{case.name} does not tell its queries.")
        most, longest = max(most, int(found.group(2))), max(longest, float(found.group(1)))
    return Line(what=f"{case.name}: queries", measured=f"{most}, {longest:.0f} ms together at the most")
