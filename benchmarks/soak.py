"""``python -m benchmarks.soak --minutes 60``: the whole stack under a mixed load, a part of it restarted all the time.

Two web processes of gunicorn's, two workers, the schedule, PostgreSQL and Redis, and a partner that has more to tell as
time goes by. Parts are restarted in turn, asked to end the first time, killed the next. At the end every run that was
confirmed or served has to be in the database, once, and no other one; answers may have failed during restarts alone.
It runs in a temporary directory and writes nothing else; the exit code is 1 where something did not hold.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import flask_migrate
import requests
from rich.console import Console
from rich.table import Table

from benchmarks.environment import PARTNER_TOKEN, SESSION_NAME, Bench, BenchError
from benchmarks.http_api import with_token
from benchmarks.pages import sign_in, with_user
from benchmarks.partner import external_id
from benchmarks.processes import finish_job, start_server
from benchmarks.soak_load import Answer, Kept, Load
from benchmarks.soak_parts import EmbeddedServer, Part, Program, web_server
from benchmarks.soak_watch import Watch
from chm_web import create_app
from chm_web.commands.processes import ProcessError
from chm_web.config import ROOT, Config
from chm_web.embedded import EmbeddedError
from chm_web.ingestion.progress import JobState, SyncScope
from chm_web.models import PipelineType, Platform
from chm_web.services.clients import create_client
from chm_web.services.pipelines import create_pipeline

PIPELINES, PAGE_SIZE, PAGE_EVERY_SECONDS = 10, 100, 20.0
INGEST_EVERY_SECONDS = 15
# What a restart may leave behind in answers that were under way when it was over.
_AFTER_SECONDS = 2.0
_JOB_TRIES = 5
_MOST_GROWTH, _MOST_GROWTH_MIB, _MOST_GROWTH_CONNECTIONS = 0.15, 10.0, 5.0


@dataclass(frozen=True)
class Restart:
    """When a part was away, in seconds of the monotonic clock."""

    part: str
    begun: float
    ended: float


@dataclass
class Stack:
    """Everything that runs, and what it was filled with. ``served`` and ``reported`` are ids of pipelines."""

    bench: Bench
    port: int
    token: str
    parts: list[Part]
    client_id: UUID
    served: dict[str, str]
    reported: list[str]
    restarts: list[Restart] = field(default_factory=list)


def main() -> int:
    """Run for as long as the command line says; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description="A mixed load with restarts.")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--restart-every", type=float, default=60.0, help="seconds between restarts (default: 60)")
    options = parser.parse_args()
    console = Console()
    try:
        with ExitStack() as stack:
            return _soak(stack, console, seconds=options.minutes * 60, pause=options.restart_every)
    except (BenchError, EmbeddedError, ProcessError) as err:
        console.print(str(err), style="red", markup=False)
        return 1


def _soak(stack: ExitStack, console: Console, *, seconds: float, pause: float) -> int:
    here = _start(stack, console, seconds)
    load = Load(here.port, here.token, sign_in(here.port), [str(here.client_id)], here.reported)
    urls = {"database_url": here.bench.database_url, "redis_url": here.bench.redis_url}
    with load, Watch(here.parts, **urls) as watch:
        _restart_in_turn(here, seconds=seconds, pause=pause)
    _finish(here)
    problems = [*load.wrong, *_compare(here, load)]
    _print_answers(console, here, load, seconds)
    problems += _bad_answers(here, load.answers)
    problems += _print_growth(console, watch)
    for problem in problems[:20]:
        console.print(problem, style="red", markup=False)
    if problems:
        console.print(f"{len(problems)} things did not hold. What the parts wrote is in {_keep_logs(here)}.")
        return 1
    console.print("Everything held.")
    return 0


def _keep_logs(here: Stack) -> Path:
    """Keep the logs of all parts where they outlive this process, and give the folder."""
    return Path(shutil.copytree(here.bench.data_dir / "logs", ROOT / "build" / "soak-logs", dirs_exist_ok=True))


@contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="chm-soak-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        # PostgreSQL, which does not run as root, has to get through.
        directory.chmod(0o711)
        (directory / "logs").mkdir()
        yield directory


def _start(stack: ExitStack, console: Console, seconds: float) -> Stack:
    directory = stack.enter_context(_directory())
    servers = EmbeddedServer("PostgreSQL", directory / "p"), EmbeddedServer("Redis", directory / "r")
    for server in servers:
        server.start()
        stack.callback(server.stop)
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CHM_")},
        "CHM_DATABASE_URL": servers[0].url,
        "CHM_REDIS_URL": servers[1].url,
        "CHM_SECRET_KEY": "a key of no value, for a database that is thrown away",
        "CHM_INGEST_EVERY_SECONDS": str(INGEST_EVERY_SECONDS),
    }
    app = create_app(Config.from_env(environ), session_name=SESSION_NAME)
    bench = Bench(app=app, environ=environ, data_dir=directory, console=console, quick=False, profile=False)
    options = {
        "pipelines": PIPELINES,
        # The last page is there some time before the end.
        "pages": max(2, int(seconds * 0.9 / PAGE_EVERY_SECONDS)),
        "page-size": PAGE_SIZE,
        "page-every": PAGE_EVERY_SECONDS,
    }
    address = start_server(stack, bench, "partner", options)
    partner = {"CHM_PARTNER_API_BASE_URL": address, "CHM_PARTNER_API_TOKEN": PARTNER_TOKEN}
    bench = replace(bench, environ=environ | partner | {"CHM_PARTNER_PAGE_SIZE": str(PAGE_SIZE)})
    bench, token = with_token(stack, with_user(stack, bench))
    app = create_app(Config.from_env(bench.environ), session_name=SESSION_NAME)
    stack.enter_context(app.app_context())
    flask_migrate.upgrade()
    client_id, served, reported = _inventory()
    web, port = web_server(bench.environ, directory)
    workers = [Program(f"worker {n}", ["worker.py"], bench.environ, directory) for n in (1, 2)]
    schedule = Program("schedule", ["-m", "chm_web.commands", "schedule"], bench.environ, directory)
    for program in (web, *workers, schedule):
        stack.callback(program.stop)
        program.start()
    return Stack(bench, port, token, [web, *workers, schedule, *servers], client_id, served, reported)


def _inventory() -> tuple[UUID, dict[str, str], list[str]]:
    """Make a client, pipelines that the partner serves, and pipelines of which runs are reported."""
    client = create_client(name="Soak")

    def make(name: str, platform: Platform, external: str | None) -> str:
        pipeline = create_pipeline(
            client_id=client.id,
            name=name,
            platform=platform,
            pipeline_type=PipelineType.INGESTION,
            external_id=external,
        )
        return str(pipeline.id)

    names = [external_id(number) for number in range(PIPELINES)]
    served = {name: make(name, Platform.VENDOR_API, name) for name in names}
    return client.id, served, [make(f"reported {number}", Platform.CUSTOM, None) for number in range(PIPELINES)]


def _restart_in_turn(here: Stack, *, seconds: float, pause: float) -> None:
    deadline = time.monotonic() + seconds
    number = 0
    # The last one early enough for what it disturbed to be over.
    while time.monotonic() + 2 * pause < deadline:
        time.sleep(pause)
        part = here.parts[number % len(here.parts)]
        is_killed = number // len(here.parts) % 2 == 1
        begun = time.monotonic()
        part.kill() if is_killed else part.stop()
        part.start()
        here.restarts.append(Restart(part.name, begun, time.monotonic()))
        how = "killed" if is_killed else "stopped"
        here.bench.say(f"{part.name} {how} and started again within {time.monotonic() - begun:.1f} s")
        number += 1
    time.sleep(max(0.0, deadline - time.monotonic()))


def _finish(here: Stack) -> None:
    """Let everything be read that the partner tells by now."""
    for _ in range(_JOB_TRIES):
        # One that was under way when the last page came may have passed it: the second reads all.
        jobs = [finish_job(SyncScope(client_id=here.client_id)) for _ in range(2)]
        if all(job.state is JobState.FINISHED for job in jobs):
            return
    raise BenchError(f"No ingestion finishes: {jobs[-1].error}")


def _compare(here: Stack, load: Load) -> list[str]:
    """Tell what the database has less, more or otherwise than was confirmed and served."""
    expected = load.confirmed | _served(here)
    with here.bench.connect() as connection:
        rows = connection.execute(
            "SELECT pipeline_id, external_run_id, status, started_at, rows_processed FROM runs"
        ).fetchall()
    found = [(str(row[0]), str(row[1])) for row in rows]
    kept = {key: Kept(row[2], _text(row[3]), row[4]) for key, row in zip(found, rows, strict=True)}
    problems = [f"lost: {key}" for key in expected.keys() - kept.keys()]
    problems += [f"nobody told of: {key}" for key in kept.keys() - expected.keys()]
    problems += [f"more than once: {key}" for key, count in Counter(found).items() if count > 1]
    differing = [key for key in expected.keys() & kept.keys() if expected[key] != kept[key]]
    problems += [f"otherwise than told: {key}: {expected[key]}, {kept[key]}" for key in differing]
    here.bench.say(
        f"\n{len(load.confirmed):,} runs reported and confirmed, {len(expected) - len(load.confirmed):,} served by the "
        f"partner, {len(rows):,} in the database; {len(problems)} lost, twice or otherwise."
    )
    return problems


def _served(here: Stack) -> dict[tuple[str, str], Kept]:
    """What the partner tells now."""
    address = here.bench.environ["CHM_PARTNER_API_BASE_URL"]
    told: dict[tuple[str, str], Kept] = {}
    for name, pipeline_id in here.served.items():
        cursor: str | None = "0"
        while cursor is not None:
            page: dict[str, Any] = requests.get(
                f"{address}/pipelines/{name}/runs", params={"cursor": cursor}, timeout=30
            ).json()
            told |= {(pipeline_id, str(run["external_run_id"])): Kept.of(run) for run in page["runs"]}
            cursor = page["next_cursor"]
    return told


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _during(here: Stack, answer: Answer) -> set[str]:
    """The parts that were away while an answer was waited for."""
    return {
        restart.part
        for restart in here.restarts
        if restart.begun <= answer.ended and answer.begun <= restart.ended + _AFTER_SECONDS
    }


def _is_good(answer: Answer) -> bool:
    return 200 <= answer.status < 300


def _bad_answers(here: Stack, answers: Sequence[Answer]) -> list[str]:
    """Tell of answers that are none of: good; 503 during a restart; none at all during a restart of the web server."""
    bad = []
    for answer in answers:
        away = _during(here, answer)
        if _is_good(answer) or (answer.status == 503 and away) or (answer.status == 0 and "web" in away):
            continue
        bad.append(f"{answer.kind} was answered {answer.status or 'not at all'} while {away or 'nothing'} was away")
    return bad


def _print_answers(console: Console, here: Stack, load: Load, seconds: float) -> None:
    table = Table(title=f"Answers in {seconds / 60:.0f} minutes with {len(here.restarts)} restarts")
    for column in ("request", "good", "503", "none", "other", "parts away where it was not good"):
        table.add_column(column, justify="left" if column[0] in "rp" else "right")
    for kind in sorted({answer.kind for answer in load.answers}):
        answers = [answer for answer in load.answers if answer.kind == kind]
        counts = Counter("good" if _is_good(answer) else answer.status for answer in answers)
        away = Counter(
            " and ".join(sorted(_during(here, answer))) or "nothing" for answer in answers if not _is_good(answer)
        )
        good, unavailable, none = counts.pop("good", 0), counts.pop(503, 0), counts.pop(0, 0)
        said = ", ".join(f"{part} {count}" for part, count in away.most_common())
        table.add_row(kind, f"{good:,}", str(unavailable), str(none), str(counts.total()), said)
    console.print(table)


def _print_growth(console: Console, watch: Watch) -> list[str]:
    """Print what each figure was at first and at last; tell which have grown."""
    table = Table(title="Medians of the first quarter and the last")
    for column in ("figure", "first", "last", "peak"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    problems = []
    for name, (first, last, peak) in watch.quarters().items():
        table.add_row(name, f"{first:.1f}", f"{last:.1f}", f"{peak:.1f}")
        most = _MOST_GROWTH_MIB if name.startswith("memory") else _MOST_GROWTH_CONNECTIONS
        if last > first * (1 + _MOST_GROWTH) + most:
            problems.append(f"{name} has grown from {first:.1f} to {last:.1f}")
    console.print(table)
    return problems


if __name__ == "__main__":
    sys.exit(main())
