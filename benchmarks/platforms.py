"""Cycles over many pipelines: an account's feed with thousands of changes, and a partner asked for each pipeline."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

import requests
from sqlalchemy import insert

from benchmarks.environment import BENCH_MARK, SESSION_NAME, Bench, BenchError
from benchmarks.memory import MemoryWatch
from benchmarks.platform_server import PAGE_SIZE, external_id
from benchmarks.processes import finish_job, start_server, start_workers, sweep
from benchmarks.reading import Nowhere
from benchmarks.report import Line, Report, at_most
from benchmarks.statements import count_statements
from chm_web import create_app
from chm_web.config import Config
from chm_web.extensions import db
from chm_web.ingestion.account import ingest_account
from chm_web.ingestion.feeds import open_feed
from chm_web.ingestion.job import open_client
from chm_web.ingestion.progress import Counts, IngestionJob, JobState, SyncScope, UnmappedReport
from chm_web.ingestion.sources_config import sources_of
from chm_web.ingestion.targets import targets_of
from chm_web.models import Pipeline, PipelineType, Platform
from chm_web.services.clients import create_client

CLIENT = "Benchmark platforms"
ACCOUNT, PARTNER = "bench-account", "bench-partner"
DELAY_SECONDS = 0.05
PARTNER_WORKERS = 4
_SOURCES = """
[sources.{account}]
kind = "airflow"
base_url = "{address}"
username = "bench"
password = "file:platforms.password"
client = "{client}"

[sources.{partner}]
kind = "partner"
base_url = "{address}"
client = "{client}"
"""
_TARGET_SECONDS, _TARGET_QUERIES, _TARGET_MIB = 5.0, 3.0, 200.0


@dataclass(frozen=True, kw_only=True)
class Load:
    """How much there is to read: pipelines on each platform, and runs that changed in the account."""

    pipelines: int
    changed: int


@dataclass(frozen=True, kw_only=True)
class Cycle:
    """What one reading took."""

    seconds: float
    requests: int
    memory: float
    counts: Counts


def run(bench: Bench) -> Report:
    """Measure one cycle of each kind with real workers, and count the statements of the account's pages."""
    load = Load(pipelines=200, changed=500) if bench.quick else Load(pipelines=10_000, changed=5_000)
    with ExitStack() as stack:
        options = {"pipelines": load.pipelines, "changed": load.changed, "delay": DELAY_SECONDS}
        address = start_server(stack, bench, "platform_server", options)
        bench = _with_sources(bench, address)
        with create_app(Config.from_env(bench.environ), session_name=SESSION_NAME).app_context():
            sweep(bench)
            with _inventory(bench, load):
                account = _measure_account(bench, load, address)
                partner = _measure_partner(bench, load, address)
                statements, pages = _statements(bench, load)
    method = (
        f"{load.pipelines:,} pipelines on each platform. The account: an Airflow 3 with {load.changed:,} changed runs "
        f"in pages of {PAGE_SIZE}, one worker. The partner: {DELAY_SECONDS * 1000:.0f} ms a request, a run a pipeline, "
        f"{PARTNER_WORKERS} workers. From `request_sync` to the job's end."
    )
    return Report(title="Platforms", method=method, lines=_lines(account, partner, statements, pages))


def _with_sources(bench: Bench, address: str) -> Bench:
    path = bench.data_dir / "sources.toml"
    names = {"account": ACCOUNT, "partner": PARTNER, "client": CLIENT, "address": address}
    path.write_text(_SOURCES.format(**names), encoding="utf-8")
    path.with_name("platforms.password").write_text("made-up", encoding="ascii")
    return replace(bench, environ=bench.environ | {"CHM_SOURCES_FILE": str(path)})


@contextmanager
def _inventory(bench: Bench, load: Load) -> Iterator[None]:
    """Have pipelines on both platforms for the length of the block: other benchmarks count the fleet's."""
    _take_away(bench)
    client = create_client(name=CLIENT)
    rows = [
        {
            "client_id": client.id,
            "name": f"{platform} {external_id(number)}",
            "platform": platform,
            "pipeline_type": PipelineType.INGESTION,
            "external_id": external_id(number),
        }
        for platform in (Platform.AIRFLOW, Platform.VENDOR_API)
        for number in range(load.pipelines)
    ]
    db.session.execute(insert(Pipeline), rows)
    db.session.commit()
    bench.vacuum()
    try:
        yield
    finally:
        db.session.rollback()
        _take_away(bench)


def _take_away(bench: Bench) -> None:
    with bench.connect() as connection:
        mine = "SELECT id FROM clients WHERE name = %s"
        pipelines = f"SELECT id FROM pipelines WHERE client_id IN ({mine})"
        connection.execute(f"DELETE FROM runs WHERE pipeline_id IN ({pipelines})", (CLIENT,))
        connection.execute(f"DELETE FROM pipelines WHERE client_id IN ({mine})", (CLIENT,))
        connection.execute("DELETE FROM clients WHERE name = %s", (CLIENT,))
    bench.vacuum()


def _measure_account(bench: Bench, load: Load, address: str) -> list[Cycle]:
    """Read the account when nothing has changed, then all that did, then the same once more."""
    with start_workers(bench, 1) as pids:
        cycles = [_cycle(pids, ACCOUNT, address) for _ in range(3)]
    read = [(cycle.counts.created, cycle.counts.unchanged) for cycle in cycles]
    if read != [(0, 0), (load.changed, 0), (0, load.changed)]:
        raise BenchError(f"The account's feed was not read as it was served: {read}")
    return cycles


def _measure_partner(bench: Bench, load: Load, address: str) -> Cycle:
    with start_workers(bench, PARTNER_WORKERS) as pids:
        cycle = _cycle(pids, PARTNER, address)
    if cycle.counts.created != load.pipelines:
        raise BenchError(f"The partner was not read as it served: {cycle.counts}")
    return cycle


def _cycle(pids: Sequence[int], source: str, address: str) -> Cycle:
    _requests(address)
    with MemoryWatch(pids) as memory:
        job = finish_job(SyncScope(source=source))
    _check(job)
    return Cycle(
        seconds=(_ended(job) - job.requested_at).total_seconds(),
        requests=_requests(address),
        memory=memory.child_peak,
        counts=job.counts,
    )


def _check(job: IngestionJob) -> None:
    if job.state is not JobState.FINISHED or job.counts.rejected:
        raise BenchError(f"The ingestion ended {job.state} with {job.counts}: {job.error}")


def _ended(job: IngestionJob) -> datetime:
    assert job.ended_at is not None  # noqa: S101 - a job that has ended has a time of it
    return job.ended_at


def _requests(address: str) -> int:
    """How many requests there were since the last time."""
    return int(requests.get(f"{address}/requests", timeout=10).json())


class _ReadBefore(Nowhere):
    """As if the account's feed was read just now, for these pipelines."""

    def __init__(self, known: Collection[UUID]) -> None:
        self._known = frozenset(known)

    def source_done(self, pipelines: int) -> None:
        """Nothing to do."""

    def unmapped(self, source: str, reports: Sequence[UnmappedReport]) -> None:
        """Nothing to do."""

    def get(self, pipeline_id: UUID) -> datetime | None:
        """Read what changed just now."""
        return datetime.now(UTC)

    def known(self) -> frozenset[UUID]:
        """All pipelines are."""
        return self._known

    def add_known(self, pipeline_id: UUID) -> None:
        """Remember nothing."""

    def set_known(self, pipeline_ids: Collection[UUID]) -> None:
        """Remember nothing."""


def _statements(bench: Bench, load: Load) -> tuple[dict[str, int], int]:
    """Count the statements of a cycle over the account, in this process, and its pages. The runs are new again."""
    with bench.connect() as connection:
        connection.execute("DELETE FROM runs WHERE starts_with(external_run_id, %s)", (f"{BENCH_MARK}scheduled",))
    config = Config.from_env(bench.environ)
    [source] = [one for one in sources_of(config) if one.name == ACCOUNT]
    targets = targets_of(source, SyncScope())
    before = _ReadBefore([target.pipeline_id for target in targets])
    with open_client(source, config) as client, count_statements() as seen:
        feed = open_feed(source, client)
        ingest_account(source=source, feed=feed, targets=targets, reporter=before, watermarks=before, is_alone=True)
    if before.pages != load.changed // PAGE_SIZE:
        raise BenchError(f"The account's feed had {before.pages} pages.")
    return dict(seen.most_common()), before.pages


def _lines(account: Sequence[Cycle], partner: Cycle, statements: dict[str, int], pages: int) -> list[Line]:
    quiet, changed, again = account
    # What is asked once a cycle is no page's.
    queries = sum(
        count // pages for words, count in statements.items() if words.startswith(("SELECT", "WITH", "INSERT", "COPY"))
    )
    listed = "; ".join(f"{count} × `{words}`" for words, count in statements.items())
    return [
        Line(what="account, nothing changed", measured=f"{quiet.seconds:.1f} s, {quiet.requests} requests"),
        at_most("account, all changed runs are new", changed.seconds, _TARGET_SECONDS, unit=" s", digits=1),
        Line(what="— requests", measured=f"{changed.requests:,}"),
        Line(what="account, the same once more", measured=f"{again.seconds:.1f} s"),
        at_most("— memory of the work horse, peak", changed.memory, _TARGET_MIB, unit=" MiB"),
        at_most("— queries a page", queries, _TARGET_QUERIES),
        Line(what=f"— all statements of its {pages} pages", measured=listed),
        Line(what="partner, one request a pipeline", measured=f"{partner.seconds:.1f} s"),
        Line(what="— requests", measured=f"{partner.requests:,}"),
        Line(what="— memory of a work horse, peak", measured=f"{partner.memory:.0f} MiB"),
    ]
