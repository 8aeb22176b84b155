"""Ingestion jobs on RQ: asking for one, doing it, and telling how far it has come.

The only module that imports ``rq`` and ``redis``. A job is a scope and a time; its work is split into parts, one for
each shard of each source, and each part is an RQ job of its own. What is kept in Redis can be lost: the next cycle
reads again, and the runs themselves are in PostgreSQL.

Keys: ``chm:job:<id>`` what was asked for; ``chm:part:<id>`` a part's progress, ``:rejected`` its rejected runs;
``chm:jobs`` job ids by time; ``chm:live`` ids of jobs not seen to end; ``chm:watermark:<source>``;
``chm:lock:<...>``. All but the watermarks end by themselves after a week.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from flask import Flask, current_app
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import LockError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry as RedisRetry
from rq import Queue, Retry, Worker
from rq.job import Job, JobStatus
from rq.registry import StartedJobRegistry
from uuid_utils.compat import uuid7

from chm_web.config import Config
from chm_web.extensions import db
from chm_web.ingestion.client import SourceBusy, SourceError
from chm_web.ingestion.job import ingest_pipelines, open_client
from chm_web.ingestion.progress import Counts, IngestionJob, JobState, RejectedRun, SourceProgress, SyncScope, sum_up
from chm_web.ingestion.sources import SHARDS, Source, sources_of
from chm_web.services.clients import get_client
from chm_web.services.exceptions import Conflict, NotFound, Unavailable
from chm_web.services.pipelines import IngestTarget, get_pipeline, list_ingest_targets

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

QUEUE_NAME = "chm-ingestion"
KEEP = timedelta(days=7)
MAX_REJECTED_KEPT = 1000
PART_TIMEOUT = timedelta(hours=6)
# How long a dead worker's source stays locked, and how often a living one renews its lock.
LOCK_SECONDS = 30
LOCK_RENEWAL_SECONDS = 10
WAIT_FOR_LOCK_SECONDS = 2
WAIT_FOR_DATABASE_SECONDS = 5
# A worker that is alive gives a sign at least this often.
WORKER_TTL_SECONDS = 45
WORKER_SILENT_AFTER = timedelta(seconds=90)

_STATES = {
    JobStatus.QUEUED: JobState.QUEUED,
    JobStatus.CREATED: JobState.QUEUED,
    JobStatus.DEFERRED: JobState.QUEUED,
    JobStatus.SCHEDULED: JobState.QUEUED,
    JobStatus.STARTED: JobState.RUNNING,
    JobStatus.FINISHED: JobState.FINISHED,
    JobStatus.FAILED: JobState.FAILED,
    JobStatus.STOPPED: JobState.CANCELED,
    JobStatus.CANCELED: JobState.CANCELED,
}


@dataclass(frozen=True)
class _Part:
    """A piece of a job's work: one shard of one source."""

    id: str
    source: str
    shard: int


@dataclass(frozen=True)
class _State:
    """What ``init_app`` leaves with the app."""

    redis: Redis
    config: Config
    sources: dict[str, Source]


def init_app(app: Flask) -> None:
    """Bind the app to the configured Redis and sources. No connection is opened yet: workers fork."""
    config: Config = app.config["CHM"]
    redis = Redis.from_url(
        config.redis_url,
        socket_connect_timeout=2,
        socket_timeout=5,
        # Whoever waits for a page shall be told at once that Redis is away.
        retry=RedisRetry(NoBackoff(), 1),
        health_check_interval=30,
    )
    app.extensions["chm_queue"] = _State(redis, config, {source.name: source for source in sources_of(config)})


def _state() -> _State:
    state: _State = current_app.extensions["chm_queue"]
    return state


def _queue() -> Queue:
    return Queue(QUEUE_NAME, connection=_state().redis)


def _needs_redis(function: Callable[P, R]) -> Callable[P, R]:
    """Say in the domain's words that Redis does not answer."""

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (RedisConnectionError, RedisTimeoutError) as err:
            raise Unavailable("The job queue (Redis) does not answer. Try again in a moment.") from err

    return wrapped


# -- asking -------------------------------------------------------------------------------------------------------


@_needs_redis
def request_sync(*, scope: SyncScope) -> tuple[IngestionJob, bool]:
    """Ask for an ingestion; a live job that covers the scope is given back instead of a second one.

    Returns:
        The job, and whether it is a new one.

    Raises:
        NotFound: there is no such client, pipeline or source.
        Conflict: there is nothing to read in this scope.
        Unavailable: Redis does not answer.
    """
    _check_scope(scope)
    # However often the button is pressed, and on however many machines: look and enqueue as one.
    with _state().redis.lock("chm:lock:request", timeout=10, blocking_timeout=5):
        live = find_live_job(scope=scope)
        if live is not None:
            return live, False
        return get_job(job_id=_enqueue(scope, _plan(scope))), True


def _check_scope(scope: SyncScope) -> None:
    sources = _state().sources
    if not sources:
        raise Conflict("No source of runs is configured. Set CHM_PARTNER_API_BASE_URL and CHM_PARTNER_API_TOKEN.")
    if scope.source is not None and scope.source not in sources:
        raise NotFound(f"There is no source {scope.source!r}. There is: {', '.join(sources)}.")
    if scope.client_id is not None and not get_client(client_id=scope.client_id).is_active:
        raise Conflict("This client is disabled. Enable it before ingesting its runs.")
    if scope.pipeline_id is not None:
        pipeline = get_pipeline(pipeline_id=scope.pipeline_id)
        if not pipeline.is_active:
            raise Conflict("This pipeline is disabled. Enable it before ingesting its runs.")
        if scope.client_id not in (None, pipeline.client_id):
            raise Conflict("This pipeline belongs to another client.")


def _targets(source: Source, scope: SyncScope, shard: int | None = None) -> list[IngestTarget]:
    targets = list_ingest_targets(platforms=source.platforms, client_id=scope.client_id, pipeline_id=scope.pipeline_id)
    return [target for target in targets if shard is None or target.pipeline_id.int % SHARDS == shard]


def _plan(scope: SyncScope) -> list[tuple[str, int, int]]:
    """The parts of a job: source, shard, number of pipelines. Shards with nothing to read are left out."""
    parts = []
    for source in _state().sources.values():
        if scope.source in (None, source.name):
            sizes = [0] * SHARDS
            for target in _targets(source, scope):
                sizes[target.pipeline_id.int % SHARDS] += 1
            parts += [(source.name, shard, size) for shard, size in enumerate(sizes) if size]
    if not parts:
        raise Conflict(
            "There is nothing to read here: no active pipeline in this scope has an external id on a platform "
            "that a configured source serves."
        )
    return parts


def _enqueue(scope: SyncScope, plan: list[tuple[str, int, int]]) -> str:
    redis, queue = _state().redis, _queue()
    job_id = str(uuid7())
    requested_at = datetime.now(UTC)
    parts = [_Part(f"{job_id}-{number}", source, shard) for number, (source, shard, _) in enumerate(plan)]
    with redis.pipeline() as pipe:
        pipe.hset(
            f"chm:job:{job_id}",
            mapping={
                "scope": json.dumps(asdict(scope), default=str),
                "requested_at": requested_at.isoformat(),
                "parts": json.dumps([asdict(part) for part in parts]),
            },
        )
        pipe.expire(f"chm:job:{job_id}", KEEP)
        for part, (_, _, size) in zip(parts, plan, strict=True):
            pipe.hset(f"chm:part:{part.id}", mapping={"pipelines_total": size})
            pipe.expire(f"chm:part:{part.id}", KEEP)
        pipe.zadd("chm:jobs", {job_id: requested_at.timestamp()})
        pipe.zremrangebyscore("chm:jobs", "-inf", (requested_at - KEEP).timestamp())
        pipe.sadd("chm:live", job_id)
        pipe.execute()
    for part in parts:
        queue.enqueue(
            perform_part,
            kwargs={"part_id": part.id, "source": part.source, "shard": part.shard, "scope": _scope_kwargs(scope)},
            job_id=part.id,
            job_timeout=int(PART_TIMEOUT.total_seconds()),
            result_ttl=int(KEEP.total_seconds()),
            failure_ttl=int(KEEP.total_seconds()),
            description=f"read {part.source}, shard {part.shard + 1} of {SHARDS}",
            # A worker that is killed does not take the work with it: the part is done again, from its watermarks.
            retry=Retry(max=3, interval=[1, 10, 60]),
        )
    return job_id


def _scope_kwargs(scope: SyncScope) -> dict[str, str | None]:
    return {name: None if value is None else str(value) for name, value in asdict(scope).items()}


def _scope_of(values: dict[str, str | None]) -> SyncScope:
    client_id, pipeline_id = values["client_id"], values["pipeline_id"]
    return SyncScope(
        UUID(client_id) if client_id else None, UUID(pipeline_id) if pipeline_id else None, values["source"]
    )


# -- telling ------------------------------------------------------------------------------------------------------


@_needs_redis
def get_job(*, job_id: str) -> IngestionJob:
    """Give a job and its progress.

    Raises:
        NotFound: there is no such job, or it is older than a week.
        Unavailable: Redis does not answer.
    """
    found = _read_jobs([job_id])
    if not found:
        raise NotFound("There is no such ingestion job. Jobs are kept for seven days.")
    return found[0]


@_needs_redis
def latest_jobs(*, limit: int = 20) -> list[IngestionJob]:
    """List the latest jobs, the newest first.

    Raises:
        Unavailable: Redis does not answer.
    """
    ids = _state().redis.zrevrange("chm:jobs", 0, limit - 1)
    return _read_jobs([raw.decode() for raw in ids])


@_needs_redis
def find_live_job(*, scope: SyncScope) -> IngestionJob | None:
    """Give a job that is still live and covers ``scope``, if there is one.

    Raises:
        Unavailable: Redis does not answer.
    """
    redis = _state().redis
    ids = sorted(raw.decode() for raw in redis.smembers("chm:live"))
    if not ids:
        return None
    # Notices parts whose worker died without a word, so that they count as failed or are done again.
    StartedJobRegistry(QUEUE_NAME, connection=redis).cleanup()
    live = {job.id: job for job in _read_jobs(ids) if job.state.is_live}
    ended = set(ids) - set(live)
    if ended:
        redis.srem("chm:live", *ended)
    return next((job for job in live.values() if job.scope.covers(scope)), None)


@_needs_redis
def list_rejected(*, job_id: str, limit: int = 100) -> list[RejectedRun]:
    """List runs that a job rejected, with their reasons; at most a thousand a part are kept.

    Raises:
        NotFound: there is no such job.
        Unavailable: Redis does not answer.
    """
    redis = _state().redis
    rejected: list[RejectedRun] = []
    for part in _parts_of(redis.hgetall(f"chm:job:{job_id}")):
        for raw in redis.lrange(f"chm:part:{part.id}:rejected", 0, limit - len(rejected) - 1):
            values = json.loads(raw)
            pipeline_id = values.pop("pipeline_id")
            rejected.append(RejectedRun(pipeline_id=UUID(pipeline_id) if pipeline_id else None, **values))
        if len(rejected) >= limit:
            break
    return rejected


def _parts_of(raw: dict[bytes, bytes]) -> list[_Part]:
    if not raw:
        raise NotFound("There is no such ingestion job. Jobs are kept for seven days.")
    return [_Part(**part) for part in json.loads(raw[b"parts"])]


def _read_jobs(ids: Sequence[str]) -> list[IngestionJob]:
    """Read jobs and all their parts in three round trips; ids that are gone are left out."""
    redis = _state().redis
    with redis.pipeline(transaction=False) as pipe:
        for job_id in ids:
            pipe.hgetall(f"chm:job:{job_id}")
        found = [(job_id, raw) for job_id, raw in zip(ids, pipe.execute(), strict=True) if raw]
    parts = {job_id: _parts_of(raw) for job_id, raw in found}
    flat = [part for of_job in parts.values() for part in of_job]
    with redis.pipeline(transaction=False) as pipe:
        for part in flat:
            pipe.hgetall(f"chm:part:{part.id}")
        progress = dict(zip((part.id for part in flat), pipe.execute(), strict=True))
    rq_jobs = dict(
        zip((part.id for part in flat), Job.fetch_many([part.id for part in flat], connection=redis), strict=True)
    )
    return [
        IngestionJob(
            id=job_id,
            scope=_scope_of(json.loads(raw[b"scope"])),
            requested_at=datetime.fromisoformat(raw[b"requested_at"].decode()),
            sources=_by_source([_part_progress(p.source, progress[p.id], rq_jobs[p.id]) for p in parts[job_id]]),
        )
        for job_id, raw in found
    ]


def _part_progress(source: str, raw: dict[bytes, bytes], rq_job: Job | None) -> SourceProgress:
    def number(name: str) -> int:
        return int(raw.get(name.encode(), 0))

    def moment(name: str) -> datetime | None:
        value = raw.get(name.encode())
        return datetime.fromisoformat(value.decode()) if value else None

    state = JobState.CANCELED if rq_job is None else _STATES[rq_job.get_status(refresh=False)]
    error = raw.get(b"error", b"").decode() or None
    ended_at = moment("ended_at")
    if state is JobState.FINISHED and error:
        state = JobState.FAILED
    elif state is JobState.FAILED and error is None:
        error = "The work was broken off and could not be resumed. The worker's log says why; try again."
        ended_at = rq_job.ended_at if rq_job else None
    return SourceProgress(
        name=source,
        state=state,
        counts=Counts(*(number(name) for name in ("pages", "created", "updated", "unchanged", "rejected"))),
        pipelines_done=number("pipelines_done"),
        pipelines_total=number("pipelines_total"),
        started_at=moment("started_at"),
        ended_at=ended_at,
        error=error,
    )


def _by_source(parts: list[SourceProgress]) -> tuple[SourceProgress, ...]:
    """Put a source's shards together again: how the work is split is nobody's business outside."""
    names = list(dict.fromkeys(part.name for part in parts))
    return tuple(sum_up(name, [part for part in parts if part.name == name]) for name in names)


# -- doing --------------------------------------------------------------------------------------------------------


class _PartReporter:
    """Writes a part's progress to Redis, one round trip a page."""

    def __init__(self, redis: Redis, part_id: str) -> None:
        self._redis = redis
        self._key = f"chm:part:{part_id}"

    def begin(self, pipelines: int) -> None:
        """Start counting: a part that is done again counts from the beginning."""
        with self._redis.pipeline() as pipe:
            pipe.delete(self._key, f"{self._key}:rejected")
            pipe.hset(self._key, mapping={"pipelines_total": pipelines, "started_at": _now_text()})
            pipe.expire(self._key, KEEP)
            pipe.execute()

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
            pipe.execute()

    def pipeline_done(self) -> None:
        """Count one pipeline as done."""
        self._redis.hincrby(self._key, "pipelines_done", 1)

    def end(self, error: str | None) -> None:
        """Close the account."""
        self._redis.hset(self._key, mapping={"ended_at": _now_text(), "error": error or ""})


class _RedisWatermarks:
    """A source's watermarks in one hash. A value that cannot be read counts as none."""

    def __init__(self, redis: Redis, source: str) -> None:
        self._redis = redis
        self._key = f"chm:watermark:{source}"

    def get(self, pipeline_id: UUID) -> datetime | None:
        """The time to ask from."""
        value = self._redis.hget(self._key, str(pipeline_id))
        try:
            return datetime.fromisoformat(value.decode()) if value else None
        except ValueError:
            return None

    def set(self, pipeline_id: UUID, moment: datetime) -> None:
        """Remember the time to ask from."""
        self._redis.hset(self._key, str(pipeline_id), moment.isoformat())


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
    state = _state()
    configured = state.sources.get(source)
    reporter = _PartReporter(state.redis, part_id)
    if configured is None:
        reporter.end(f"The source {source!r} is no longer configured.")
        return None
    with _exclusive(state.redis, f"{source}:{shard}") as mine:
        if not mine:
            return Retry(max=10_000, interval=WAIT_FOR_LOCK_SECONDS)
        try:
            targets = _targets(configured, _scope_of(scope), shard)
            reporter.begin(len(targets))
            with open_client(configured, state.config) as client:
                ingest_pipelines(
                    source=configured,
                    client=client,
                    targets=targets,
                    reporter=reporter,
                    watermarks=_RedisWatermarks(state.redis, source),
                )
        except SourceBusy as busy:
            log.info("source %s: %s", source, busy)
            return Retry(max=10_000, interval=max(1, round(busy.retry_after)))
        except Unavailable as err:
            log.warning("source %s: %s Trying again in %s s.", source, err, WAIT_FOR_DATABASE_SECONDS)
            return Retry(max=10_000, interval=WAIT_FOR_DATABASE_SECONDS)
        except SourceError as err:
            log.warning("source %s: %s", source, err)
            reporter.end(str(err))
            return None
        reporter.end(None)
    return None


@contextmanager
def _exclusive(redis: Redis, name: str) -> Iterator[bool]:
    """Hold a shard of a source for as long as it is read. Gives False at once when somebody else does.

    The lock ends by itself soon after its holder died; a thread renews it for a holder that lives.
    """
    lock = redis.lock(f"chm:lock:source:{name}", timeout=LOCK_SECONDS, thread_local=False)
    if not lock.acquire(blocking=False):
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


class _Worker(Worker):
    """RQ's worker, and whether it was asked to stop or broke off."""

    asked_to_stop = False

    def request_stop(self, signum: int, frame: Any) -> None:
        """Remember that the end was asked for."""
        self.asked_to_stop = True
        super().request_stop(signum, frame)


def run_worker() -> None:
    """Work on ingestion jobs until SIGTERM or SIGINT; the current job is finished first. Needs the app's context.

    Also runs RQ's scheduler, which brings back jobs that asked for time. A Redis that goes away is waited for.
    """
    while True:
        try:
            worker = _Worker(
                [_queue()],
                connection=_state().redis,
                worker_ttl=WORKER_TTL_SECONDS,
                job_monitoring_interval=5,
                maintenance_interval=60,
            )
            worker.work(with_scheduler=True)
            if worker.asked_to_stop:
                return
            log.warning("the worker broke off; starting again")
        except (RedisConnectionError, RedisTimeoutError) as err:
            log.warning("Redis does not answer (%s); trying again in a moment", err)
        time.sleep(1)


# -- looking ------------------------------------------------------------------------------------------------------


@_needs_redis
def ping() -> None:
    """Check that Redis answers.

    Raises:
        Unavailable: it does not.
    """
    _state().redis.ping()


@_needs_redis
def count_live_workers() -> int:
    """Count the workers that gave a sign of life within the last minute and a half.

    Raises:
        Unavailable: Redis does not answer.
    """
    alive_since = datetime.now(UTC) - WORKER_SILENT_AFTER
    workers = Worker.all(queue=_queue())
    return sum(1 for worker in workers if worker.last_heartbeat and worker.last_heartbeat >= alive_since)


def check_workers() -> None:
    """Check that somebody works on the queue.

    Raises:
        Unavailable: no worker is alive, or Redis does not answer.
    """
    if not count_live_workers():
        raise Unavailable("No worker is alive. Start one: chm worker")
