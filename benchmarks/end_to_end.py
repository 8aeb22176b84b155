"""A partner over HTTP, real RQ workers, committed rows: from the request for an ingestion to its end."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from redis import Redis

from benchmarks.environment import BENCH_MARK, PARTNER_TOKEN, SESSION_NAME, Bench, BenchError
from benchmarks.memory import MemoryWatch
from benchmarks.partner import external_id
from benchmarks.processes import finish_job, start_server, start_workers, sweep
from benchmarks.reading import Nowhere
from benchmarks.report import CUSTOMER_RUNS_PER_SECOND, Line, Report, at_least, at_most
from benchmarks.statements import count_statements
from chm_web import create_app
from chm_web.config import Config
from chm_web.extensions import db
from chm_web.ingestion.job import ingest_pipelines, open_client
from chm_web.ingestion.progress import IngestionJob, JobState, SyncScope
from chm_web.ingestion.sources_config import sources_of
from chm_web.models import Client, Pipeline, PipelineType, Platform
from chm_web.services.clients import create_client
from chm_web.services.pipelines import create_pipeline, list_ingest_targets

CLIENT = "Benchmark partner"
PAGE_SIZE = 500
# A worker and its work horse are two processes; the target is for the horse, where pages are held.
_TARGET_HORSE_MIB = 150.0


@dataclass(frozen=True, kw_only=True)
class Load:
    """How much the partner serves."""

    pipelines: int
    pages: int

    @property
    def runs(self) -> int:
        """All runs of one full read."""
        return self.pipelines * self.pages * PAGE_SIZE


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one number of workers reached."""

    fresh: list[float]
    replay: list[float]
    memory: list[MemoryWatch]


def run(bench: Bench) -> Report:
    """Measure with one worker and with two, and count the statements of a page."""
    load = Load(pipelines=40, pages=2 if bench.quick else 10)
    rounds = 1 if bench.quick else 3
    with ExitStack() as stack:
        bench = _with_partner(stack, bench, load)
        # The app of this process has to know the partner too: it asks for the ingestions.
        with create_app(Config.from_env(bench.environ), session_name=SESSION_NAME).app_context():
            sweep(bench)
            client_id = _inventory(load)
            try:
                figures = {number: _with_workers(bench, load, client_id, number, rounds) for number in (1, 2)}
                statements = _statements(bench, client_id)
            finally:
                _clear(bench, client_id)
    method = (
        f"{load.pipelines} pipelines of {load.pages * PAGE_SIZE:,} runs in pages of {PAGE_SIZE}, half of them with a "
        f"payload, from `request_sync` to the job's end; median of {rounds} rounds (lowest to highest)."
    )
    return Report(title="End to end", method=method, lines=_lines(figures, statements))


def _with_partner(stack: ExitStack, bench: Bench, load: Load) -> Bench:
    options = {"pipelines": load.pipelines, "pages": load.pages, "page-size": PAGE_SIZE}
    address = start_server(stack, bench, "partner", options)
    environ = bench.environ | {
        "CHM_PARTNER_API_BASE_URL": address,
        "CHM_PARTNER_API_TOKEN": PARTNER_TOKEN,
        "CHM_PARTNER_PAGE_SIZE": str(PAGE_SIZE),
    }
    return replace(bench, environ=environ)


def _inventory(load: Load) -> UUID:
    """Give the client whose pipelines the partner serves; make what is missing of it."""
    client = db.session.scalar(db.select(Client).filter_by(name=CLIENT)) or create_client(name=CLIENT)
    known = set(db.session.scalars(db.select(Pipeline.external_id).filter_by(client_id=client.id)))
    db.session.commit()
    for number in range(load.pipelines):
        if external_id(number) not in known:
            create_pipeline(
                client_id=client.id,
                name=external_id(number),
                platform=Platform.VENDOR_API,
                pipeline_type=PipelineType.INGESTION,
                external_id=external_id(number),
            )
    return client.id


def _with_workers(bench: Bench, load: Load, client_id: UUID, workers: int, rounds: int) -> Figures:
    figures = Figures(fresh=[], replay=[], memory=[])
    with start_workers(bench, workers) as pids:
        for _ in range(rounds):
            _clear(bench, client_id)
            with MemoryWatch(pids) as memory:
                figures.fresh.append(_ingest(client_id, load, created=load.runs))
            figures.memory.append(memory)
            _forget_watermarks(bench)
            figures.replay.append(_ingest(client_id, load, created=0))
    bench.say(f"{workers} workers: fresh {_rate(figures.fresh)}, replay {_rate(figures.replay)}")
    return figures


def _ingest(client_id: UUID, load: Load, *, created: int) -> float:
    """Ask for an ingestion, wait for its end, and give the runs a second."""
    job = finish_job(SyncScope(client_id=client_id))
    _check(job, load, created)
    ended = job.ended_at
    assert isinstance(ended, datetime)  # noqa: S101 - a job that has ended has a time of it
    return job.counts.read / (ended - job.requested_at).total_seconds()


def _check(job: IngestionJob, load: Load, created: int) -> None:
    counts = job.counts
    if job.state is not JobState.FINISHED or counts.created != created or counts.read != load.runs:
        raise BenchError(f"The ingestion ended {job.state} with {counts}: {job.error}")
    if counts.updated or counts.rejected:
        raise BenchError(f"The ingestion updated or rejected runs: {counts}")


def _clear(bench: Bench, client_id: UUID) -> None:
    """Take away the runs that the ingestions wrote, and what they remember."""
    with bench.connect() as connection:
        connection.execute(
            "DELETE FROM runs WHERE starts_with(external_run_id, %s) AND pipeline_id IN "
            "(SELECT id FROM pipelines WHERE client_id = %s)",
            (BENCH_MARK, client_id),
        )
    bench.vacuum()
    _forget_watermarks(bench)


def _forget_watermarks(bench: Bench) -> None:
    with Redis.from_url(bench.redis_url) as redis:
        redis.delete("chm:watermark:partner", "chm:position:partner")


def _statements(bench: Bench, client_id: UUID) -> dict[str, float]:
    """Count the statements of a page, by reading some pipelines in this process."""
    config = Config.from_env(bench.environ)
    source = sources_of(config)[0]
    targets = list_ingest_targets(platforms=source.platforms, client_id=client_id, pipeline_id=None)[:5]
    nowhere = Nowhere()
    with open_client(source, config) as client, count_statements() as seen:
        ingest_pipelines(source=source, client=client, targets=targets, reporter=nowhere, watermarks=nowhere)
    return {statement: count / nowhere.pages for statement, count in seen.most_common()}


def _rate(rates: Sequence[float]) -> str:
    return f"{statistics.median(rates):,.0f} runs/s ({min(rates):,.0f} to {max(rates):,.0f})"


def _lines(figures: dict[int, Figures], statements: dict[str, float]) -> list[Line]:
    one, two = statistics.median(figures[1].fresh), statistics.median(figures[2].fresh)
    memory = max((memory for part in figures.values() for memory in part.memory), key=lambda watch: watch.child_peak)
    before, after = memory.growth
    listed = "; ".join(f"{count:.1f} × `{statement}`" for statement, count in statements.items())
    return [
        Line(what="one worker, fresh", measured=_rate(figures[1].fresh)),
        at_least("— against our target", one, 4000, unit=" runs/s"),
        at_least("— against what the customer asked for", one, CUSTOMER_RUNS_PER_SECOND, unit=" runs/s"),
        Line(what="one worker, everything again", measured=_rate(figures[1].replay)),
        Line(what="two workers, fresh", measured=_rate(figures[2].fresh)),
        at_least("— two workers / one", two / one, 1.3, digits=2),
        Line(what="two workers, everything again", measured=_rate(figures[2].replay)),
        Line(what="memory of a worker", measured=f"{memory.worker_peak:.0f} MiB"),
        at_most("memory of its work horse, peak", memory.child_peak, _TARGET_HORSE_MIB, unit=" MiB"),
        at_most("— grown from early to late in its life", after - before, 5.0, unit=" MiB", digits=1),
        Line(what="statements a page", measured=f"{sum(statements.values()):.1f}: {listed}"),
    ]
