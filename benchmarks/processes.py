"""The processes that benchmarks start: servers to read from, and workers as a deployment runs them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from time import monotonic, sleep

from redis import Redis

from benchmarks.environment import Bench, BenchError
from chm_web.commands.processes import Child
from chm_web.config import ROOT
from chm_web.ingestion.progress import IngestionJob, SyncScope
from chm_web.ingestion.queue import count_live_workers, get_job, request_sync

_POLL_SECONDS = 0.1
_JOB_SECONDS = 1800.0
# Longer than a dead worker counts as alive.
_WORKERS_GONE_SECONDS = 100.0


class Process(Child):
    """A process whose id is known: its memory is looked at."""

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid


def start_process(stack: ExitStack, bench: Bench, name: str, *arguments: str) -> Process:
    """Start a Python process that ends with ``stack``."""
    log = bench.data_dir / "logs" / f"{name}.log"
    child = Process(name, [sys.executable, *arguments], environ=bench.environ, log=log, cwd=ROOT)
    stack.callback(child.stop)
    return child


def start_server(stack: ExitStack, bench: Bench, module: str, options: Mapping[str, object]) -> str:
    """Start a server of the benchmarks' own that writes its port to the file it is told, and give its address."""
    port_file = bench.data_dir / f"{module}.port"
    port_file.unlink(missing_ok=True)
    arguments = [
        word for key, value in {**options, "port-file": port_file}.items() for word in (f"--{key}", str(value))
    ]
    server = start_process(stack, bench, module, "-m", f"benchmarks.{module}", *arguments)
    server.wait_until(port_file.exists, seconds=120)
    return f"http://127.0.0.1:{port_file.read_text()}"


@contextmanager
def start_workers(bench: Bench, count: int) -> Iterator[list[int]]:
    """Run workers, as a deployment does, and give their process ids."""
    with ExitStack() as stack:
        started = [start_process(stack, bench, f"worker-{number}", "worker.py") for number in range(count)]
        for worker in started:
            worker.wait_until(lambda: count_live_workers() >= count, seconds=60)
        yield [worker.pid for worker in started]


def finish_job(scope: SyncScope) -> IngestionJob:
    """Ask for an ingestion, wait for its end, and give it as it ended.

    Raises:
        BenchError: it does not end.
    """
    job, _ = request_sync(scope=scope, requested_by="the benchmark")
    deadline = monotonic() + _JOB_SECONDS
    while job.state.is_live:
        if monotonic() > deadline:
            raise BenchError("The ingestion does not end; the workers' logs are in the data directory.")
        sleep(_POLL_SECONDS)
        job = get_job(job_id=job.id)
    return job


def sweep(bench: Bench) -> None:
    """Take away what a benchmark that was killed left in Redis: our workers would do its jobs beside ours.

    Raises:
        BenchError: workers are alive at this Redis.
    """
    deadline = monotonic() + _WORKERS_GONE_SECONDS
    while others := count_live_workers():
        if monotonic() > deadline:
            raise BenchError(f"{others} workers are at this Redis already; they would do part of the work.")
        sleep(1)
    with Redis.from_url(bench.redis_url) as redis:
        for pattern in ("rq:*", "chm:*"):
            for key in redis.scan_iter(pattern, count=1000):
                redis.delete(key)
