"""Doing an ingestion: a part of a job in RQ's work horse, under its source's lock."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import LockError, RedisError
from redis.lock import Lock
from rq import Retry, Worker
from rq.exceptions import StopRequested
from rq.job import Job
from sqlalchemy.exc import OperationalError

from chm_web.embedded.processes import die_with_launcher
from chm_web.extensions import db
from chm_web.ingestion.account import ingest_account
from chm_web.ingestion.client import SourceBusy, SourceError
from chm_web.ingestion.feeds import open_feed
from chm_web.ingestion.job import ingest_pipelines, open_client
from chm_web.ingestion.progress import Counts, RejectedRun, SyncScope, UnmappedReport, UnreadPipeline
from chm_web.ingestion.queue.connection import KEEP, REDIS_AWAY, rq_queue, state, text
from chm_web.ingestion.queue.ending import end_part, note_broken_off
from chm_web.ingestion.queue.places import places_of
from chm_web.ingestion.queue.scopes import scope_of
from chm_web.ingestion.queue.signs import ANSWERED, SILENT, give_sign, note_error
from chm_web.ingestion.queue.unmapped import note_unmapped
from chm_web.ingestion.queue.watermarks import RedisWatermarks
from chm_web.ingestion.sources import Source
from chm_web.ingestion.targets import targets_of
from chm_web.services.exceptions import ServiceError, Unavailable

log = logging.getLogger(__name__)

MAX_REJECTED_KEPT = 1000
MAX_UNREAD_KEPT = 1000
PART_TIMEOUT = timedelta(hours=6)
# How long a dead worker's source stays locked, and how often a living one renews its lock.
LOCK_SECONDS = 30
LOCK_RENEWAL_SECONDS = 10
WAIT_FOR_LOCK_SECONDS = 2
WAIT_FOR_DATABASE_SECONDS = 5
GIVE_DATABASE_UP_AFTER = timedelta(minutes=30)
# A worker that is alive gives a sign at least this often.
WORKER_TTL_SECONDS = 45
# A worker gives its job's sign of life every few seconds; after this much silence somebody else takes the job up.
HORSE_SIGN_SECONDS = 5
HORSE_SILENT_SECONDS = 20


class _PartReporter:
    """Writes a part's progress to Redis, one round trip a page."""

    def __init__(self, redis: Redis, part_id: str, *, source: str, scope: SyncScope) -> None:
        self._redis = redis
        self._part_id = part_id
        self._source = source
        self._scope = scope
        self._key = f"chm:part:{part_id}"
        self._done: set[str] = set()

    def begin(self, pipelines: int) -> None:
        """Start counting, or go on: a part that comes back keeps what its earlier visits counted."""
        with self._redis.pipeline() as pipe:
            pipe.hset(self._key, "pipelines_total", pipelines)
            pipe.hsetnx(self._key, "started_at", _now_text())
            pipe.hdel(self._key, "waiting_for", "waiting_until", "waiting_since")
            pipe.expire(self._key, KEEP)
            pipe.execute()
        self._done = {text(raw) for raw in self._redis.smembers(f"{self._key}:done")}

    def wait(self, reason: str, seconds: int) -> timedelta:
        """Note what the part waits for and until when; give for how long it has been waiting without a break."""
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        with self._redis.pipeline() as pipe:
            pipe.hsetnx(self._key, "waiting_since", _now_text())
            pipe.hset(self._key, mapping={"waiting_for": reason, "waiting_until": until.isoformat()})
            pipe.expire(self._key, KEEP)
            pipe.hget(self._key, "waiting_since")
            since = text(pipe.execute()[-1])
        return datetime.now(UTC) - datetime.fromisoformat(since)

    def page(self, counts: Counts, rejected: Sequence[RejectedRun]) -> None:
        """Add a page's counts and rejected runs."""
        with self._redis.pipeline() as pipe:
            for name, count in asdict(counts).items():
                if count:
                    pipe.hincrby(self._key, name, count)
            if rejected:
                pipe.rpush(f"{self._key}:rejected", *(json.dumps(asdict(item), default=str) for item in rejected))
                pipe.ltrim(f"{self._key}:rejected", 0, MAX_REJECTED_KEPT - 1)
                pipe.expire(f"{self._key}:rejected", KEEP)
            # Again on each page: a Redis that was emptied meanwhile knows of no end.
            pipe.expire(self._key, KEEP)
            pipe.execute()

    def pipeline_done(self, pipeline_id: UUID) -> None:
        """Count one pipeline as done, and remember which."""
        with self._redis.pipeline() as pipe:
            pipe.hincrby(self._key, "pipelines_done", 1)
            pipe.sadd(f"{self._key}:done", str(pipeline_id))
            pipe.expire(f"{self._key}:done", KEEP)
            pipe.execute()

    def unread(self, pipeline: UnreadPipeline) -> None:
        """Count one pipeline as one that could not be read, and keep why."""
        reason = f"{pipeline.external_id} could not be read: {pipeline.reason}"
        note_error(self._redis, source=pipeline.source, error=reason)
        with self._redis.pipeline() as pipe:
            pipe.hincrby(self._key, "pipelines_unread", 1)
            pipe.hsetnx(self._key, "unread_example", f"{pipeline.external_id}: {pipeline.reason}")
            pipe.rpush(f"{self._key}:unread", json.dumps(asdict(pipeline), default=str))
            pipe.ltrim(f"{self._key}:unread", 0, MAX_UNREAD_KEPT - 1)
            pipe.expire(f"{self._key}:unread", KEEP)
            pipe.execute()

    def is_done(self, pipeline_id: UUID) -> bool:
        """Whether an earlier visit has done this pipeline."""
        return str(pipeline_id) in self._done

    def source_done(self, pipelines: int) -> None:
        """Count all pipelines of a feed as done."""
        self._redis.hset(self._key, "pipelines_done", pipelines)

    def unmapped(self, source: str, reports: Sequence[UnmappedReport]) -> None:
        """Keep names that no pipeline bears."""
        note_unmapped(source=source, reports=reports)

    def end(self, error: str | None, answer: str = "") -> None:
        """Close the account: see ``end_part``."""
        end_part(self._redis, part_id=self._part_id, source=self._source, scope=self._scope, error=error, answer=answer)


def _now_text() -> str:
    return datetime.now(UTC).isoformat()


def perform_part(*, part_id: str, source: str, shard: int, scope: dict[str, str | None]) -> Retry | None:
    """Read one shard of a source within a scope. Run by RQ in a forked work horse.

    Returns:
        None when it is done, successfully or not (the part's record says which); a Retry when it must come again:
        the platform or the database asks for time, or another job is reading the same shard.
    """
    # Connections must not be shared across the fork.
    db.engine.dispose(close=False)
    here = state()
    configured = here.sources.get(source)
    asked_for = scope_of(scope)
    reporter = _PartReporter(here.redis, part_id, source=source, scope=asked_for)
    if configured is None:
        # Removed, or added since this worker began. Asking more seldom would help in neither case.
        reporter.end(f"The worker has no source {source!r} in its configuration. If there is one, restart the worker.")
        return None
    with _exclusive(here.redis, f"{source}:{shard}", part_id) as mine:
        if not mine:
            return _again_in(reporter, "Another ingestion is reading this source.", WAIT_FOR_LOCK_SECONDS)
        return _read(configured, asked_for, shard, reporter)


def _read(source: Source, scope: SyncScope, shard: int, reporter: _PartReporter) -> Retry | None:
    here = state()
    try:
        # An account's feed is read for all its pipelines, whoever asked for one of them: its watermark is theirs all.
        targets = targets_of(source, SyncScope() if source.is_account else scope, shard)
        reporter.begin(len(targets))
        marks = RedisWatermarks(here.redis, source.name)
        places = places_of(source, redis=here.redis, config=here.config)
        with open_client(source, here.config, place=places.take) as client:
            if source.is_account:
                feed = open_feed(source, client)
                ingest_account(
                    source=source,
                    feed=feed,
                    targets=targets,
                    reporter=reporter,
                    watermarks=marks,
                    is_alone=not any(source.may_share_pipelines_with(other) for other in here.sources.values()),
                )
            else:
                ingest_pipelines(source=source, client=client, targets=targets, reporter=reporter, watermarks=marks)
    except SourceBusy as busy:
        log.info("source %s: %s", source.name, busy)
        return _again_in(reporter, str(busy), max(1, round(busy.retry_after)))
    except (Unavailable, OperationalError) as err:
        log.warning("source %s: the database is away (%s)", source.name, type(err).__name__)
        reason = "The database does not answer."
        return _again_in(reporter, reason, WAIT_FOR_DATABASE_SECONDS, at_most=GIVE_DATABASE_UP_AFTER)
    except (SourceError, ServiceError) as err:
        log.warning("source %s: %s", source.name, err)
        reporter.end(str(err), _answer_behind(err))
        return None
    reporter.end(None, ANSWERED)
    return None


def _answer_behind(err: SourceError | ServiceError) -> str:
    """Tell whether it was the platform that could not be read; anything else says nothing of it."""
    return SILENT if isinstance(err, SourceError) else ""


def _again_in(reporter: _PartReporter, reason: str, seconds: int, *, at_most: timedelta = KEEP) -> Retry | None:
    """Tell why the part waits, and give what tells RQ to do it again; None when it has waited for too long."""
    if reporter.wait(reason, seconds) > at_most:
        # No failure of the platform's: what is waited for without end is our database, or another reading of ours.
        reporter.end(f"{reason} It was waited for in vain.")
        return None
    # The number of times has no meaning of its own, but RQ wants one.
    return Retry(max=1_000_000, interval=seconds)


@contextmanager
def _exclusive(redis: Redis, name: str, part_id: str) -> Iterator[bool]:
    """Hold a shard of a source for as long as it is read. Gives False at once when another part does.

    The lock ends by itself soon after its holder died; a thread renews it for a holder that lives. A part that is
    done again after its worker died takes its own lock over.
    """
    lock = redis.lock(f"chm:lock:source:{name}", timeout=LOCK_SECONDS, thread_local=False)
    if not lock.acquire(blocking=False, token=part_id) and not _take_over(lock, part_id):
        yield False
        return
    done = threading.Event()

    def renew() -> None:
        while not done.wait(LOCK_RENEWAL_SECONDS):
            try:
                lock.extend(LOCK_SECONDS, replace_ttl=True)
            except RedisError:
                # Redis was emptied or is away. Going on is safe: a run that is read twice is one row.
                log.warning("the lock on source %s could not be renewed", name)

    thread = threading.Thread(target=renew, name=f"lock {name}", daemon=True)
    thread.start()
    try:
        yield True
    finally:
        done.set()
        thread.join()
        try:
            lock.release()
        except (LockError, RedisError):
            log.warning("the lock on source %s was lost before its end", name)


def _take_over(lock: Lock, part_id: str) -> bool:
    lock.local.token = part_id.encode()
    try:
        return lock.reacquire()
    except LockError:
        return False


class _Worker(Worker):
    """RQ's worker, which knows whether it was asked to stop, and whose work is taken up soon after it died."""

    asked_to_stop = False
    # Seconds between looks for a Redis that is away, at the most.
    max_connection_wait_time = 10.0

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        """Give for how long a job counts as worked on after its worker's last sign of life, in seconds."""
        return HORSE_SILENT_SECONDS

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """Give a sign of life, to RQ and to the pages."""
        super().heartbeat(timeout, pipeline)
        give_sign(self.connection if pipeline is None else pipeline, worker=datetime.now(UTC))

    def handle_job_failure(self, job: Job, *arguments: Any, **named: Any) -> None:
        """Tell of what no exception handler is told: a horse that was killed, a part that was taken and never begun."""
        note_broken_off(job)
        super().handle_job_failure(job, *arguments, **named)

    def request_stop(self, signum: int, frame: Any) -> None:
        """Remember that the end was asked for."""
        self.asked_to_stop = True
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]


def _let_children_end_with_us() -> None:
    """Let the processes that this one forks, RQ's scheduler and work horses, not outlive it.

    They hold its connections. While one of them lives, Redis takes a worker that was killed for one that waits, and
    hands it a job that nobody will do.
    """
    worker, end_with_worker = os.getpid(), die_with_launcher(signal.SIGTERM)

    def prepare() -> None:
        if end_with_worker is not None and os.getppid() == worker:
            end_with_worker()

    os.register_at_fork(after_in_child=prepare)


def run_worker() -> None:
    """Work on ingestion jobs until SIGTERM or SIGINT; the current job is finished first. Needs the app's context.

    Also runs RQ's scheduler, which brings back jobs that asked for time. A Redis that goes away is waited for.
    """
    _let_children_end_with_us()
    # What is loaded stays: the processes of the jobs share it as long as no collection of theirs looks through it.
    gc.collect()
    gc.freeze()
    worker: _Worker | None = None
    while worker is None or not worker.asked_to_stop:
        try:
            if worker is not None:
                log.warning("the worker broke off; starting again")
                time.sleep(1)
            worker = _Worker(
                [rq_queue()],
                connection=state().redis,
                worker_ttl=WORKER_TTL_SECONDS,
                job_monitoring_interval=HORSE_SIGN_SECONDS,
                maintenance_interval=60,
                exception_handlers=[note_broken_off],
            )
            worker.work(with_scheduler=True)
        except REDIS_AWAY as err:
            log.warning("Redis does not answer: %s", err)
            time.sleep(1)
        except StopRequested:
            # The signal came while no job was waited for: RQ's handler raises wherever we are.
            return
