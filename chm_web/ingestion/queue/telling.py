"""Telling how far jobs have come."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from rq.job import Job, JobStatus
from rq.registry import StartedJobRegistry

from chm_web.ingestion.progress import (
    Counts,
    IngestionJob,
    JobState,
    RejectedRun,
    SourceProgress,
    SyncScope,
    UnreadPipeline,
    sum_up,
)
from chm_web.ingestion.queue.connection import QUEUE_NAME, needs_redis, state, text
from chm_web.ingestion.queue.ending import note_broken_off
from chm_web.ingestion.queue.scopes import scope_key, scope_of
from chm_web.services.exceptions import NotFound

# Between the record of a job and its parts in the queue.
ENQUEUED_WITHIN = timedelta(seconds=30)
NOTICE_EVERY_SECONDS = 3

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
class Part:
    """A piece of a job's work: one shard of one source."""

    id: str
    source: str
    shard: int


@needs_redis
def get_job(*, job_id: str) -> IngestionJob:
    """Give a job and its progress.

    Raises:
        NotFound: there is no such job, or it is older than a week.
        Unavailable: Redis does not answer.
    """
    _notice_the_dead()
    found = _read_jobs([job_id])
    if not found:
        raise NotFound("There is no such ingestion job. Jobs are kept for seven days.")
    return found[0]


@needs_redis
def latest_jobs(*, limit: int = 20, after: str | None = None) -> list[IngestionJob]:
    """List the latest jobs, the newest first; ``after``: only those that were asked for before the job of this id.

    A job that is not known any more has none after it.

    Raises:
        Unavailable: Redis does not answer.
    """
    redis = state().redis
    start = 0
    if after is not None:
        place = redis.zrevrank("chm:jobs", after)
        if not isinstance(place, int):
            return []
        start = place + 1
    ids = redis.zrevrange("chm:jobs", start, start + limit - 1)
    return _read_jobs([text(raw) for raw in ids])


@needs_redis
def find_live_job(*, scope: SyncScope) -> IngestionJob | None:
    """Give a job that is still live and covers ``scope``, if there is one.

    Raises:
        Unavailable: Redis does not answer.
    """
    redis = state().redis
    ids = sorted(map(text, redis.smembers("chm:live")))
    if not ids:
        return None
    _notice_the_dead()
    live = {job.id: job for job in _read_jobs(ids) if job.state.is_live}
    ended = set(ids) - set(live)
    if ended:
        redis.srem("chm:live", *ended)
    return next((job for job in live.values() if job.scope.covers(scope)), None)


@needs_redis
def last_job(*, scope: SyncScope) -> IngestionJob | None:
    """Give the latest job that was asked for and covers ``scope``, live or ended, of the last seven days.

    Raises:
        Unavailable: Redis does not answer.
    """
    return last_jobs(scopes=[scope]).get(scope)


@needs_redis
def last_jobs(*, scopes: Collection[SyncScope]) -> dict[SyncScope, IngestionJob]:
    """Give what ``last_job`` gives for each of several scopes that have any, at the cost of one.

    Raises:
        Unavailable: Redis does not answer.
    """
    covering = {scope: [scope_key(wider) for wider in _wider(scope)] for scope in scopes}
    keys = list(dict.fromkeys(itertools.chain.from_iterable(covering.values())))
    if not keys:
        return {}
    ids = {key: text(raw) for key, raw in zip(keys, state().redis.hmget("chm:last", keys), strict=True) if raw}
    jobs = {job.id: job for job in _read_jobs(list(dict.fromkeys(ids.values())))}
    found: dict[SyncScope, IngestionJob] = {}
    for scope, asked_for in covering.items():
        known = [jobs[ids[key]] for key in asked_for if ids.get(key) in jobs]
        if known:
            found[scope] = max(known, key=lambda job: job.requested_at)
    return found


def _wider(scope: SyncScope) -> set[SyncScope]:
    """Give the scopes that cover ``scope``, itself included."""
    return {
        replace(scope, **dict.fromkeys(left_out))
        for count in range(4)
        for left_out in itertools.combinations(("client_id", "pipeline_id", "source"), count)
    }


@needs_redis
def list_rejected(*, job_id: str, limit: int = 100) -> list[RejectedRun]:
    """List runs that a job rejected, with their reasons; at most a thousand a part are kept.

    Raises:
        NotFound: there is no such job.
        Unavailable: Redis does not answer.
    """
    return [
        RejectedRun(**{**values, "pipeline_id": UUID(values["pipeline_id"]) if values["pipeline_id"] else None})
        for values in _noted(job_id, "rejected", limit)
    ]


@needs_redis
def list_unread(*, job_id: str, limit: int = 100) -> list[UnreadPipeline]:
    """List pipelines that a job could not read while it read others, with the reasons.

    Raises:
        NotFound: there is no such job.
        Unavailable: Redis does not answer.
    """
    return [
        UnreadPipeline(**{**values, "pipeline_id": UUID(values["pipeline_id"])})
        for values in _noted(job_id, "unread", limit)
    ]


def _noted(job_id: str, what: str, limit: int) -> list[dict[str, Any]]:
    """Give the first ``limit`` of what the parts of a job have noted, part by part."""
    redis = state().redis
    found: list[dict[str, Any]] = []
    for part in _parts_of(redis.hgetall(f"chm:job:{job_id}")):
        if len(found) >= limit:
            break
        found += map(json.loads, redis.lrange(f"chm:part:{part.id}:{what}", 0, limit - len(found) - 1))
    return found


def _notice_the_dead() -> None:
    """Put parts whose worker died without a word back into the queue, or let them fail after too many tries.

    One process at a time: RQ's clean-up would put a part into the queue twice.
    """
    redis = state().redis
    if redis.set("chm:lock:notice", "1", nx=True, ex=NOTICE_EVERY_SECONDS):
        StartedJobRegistry(QUEUE_NAME, connection=redis).cleanup(exception_handlers=[note_broken_off])


def _parts_of(raw: dict[Any, Any]) -> list[Part]:
    if not raw:
        raise NotFound("There is no such ingestion job. Jobs are kept for seven days.")
    return [Part(**part) for part in json.loads(raw[b"parts"])]


def _read_jobs(ids: Sequence[str]) -> list[IngestionJob]:
    """Read jobs and all their parts in three round trips; ids that are gone are left out."""
    redis = state().redis
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
    jobs = []
    for job_id, raw in found:
        requested_at = datetime.fromisoformat(text(raw[b"requested_at"]))
        of_job = [_part_progress(p.source, requested_at, progress[p.id], rq_jobs[p.id]) for p in parts[job_id]]
        scope = scope_of(json.loads(raw[b"scope"]))
        jobs.append(
            IngestionJob(
                id=job_id,
                scope=scope,
                requested_at=requested_at,
                requested_by=text(raw.get(b"requested_by")) or None,
                sources=_by_source(of_job),
            )
        )
    return jobs


def _part_progress(source: str, requested_at: datetime, raw: dict[Any, Any], rq_job: Job | None) -> SourceProgress:
    def number(name: str) -> int:
        return int(raw.get(name.encode(), 0))

    def moment(name: str) -> datetime | None:
        value = text(raw.get(name.encode()))
        return datetime.fromisoformat(value) if value else None

    if rq_job is not None:
        state = _STATES[rq_job.get_status(refresh=False)]
    else:
        # Its part of the queue is written just after this record; later its absence means that it was removed.
        state = JobState.QUEUED if datetime.now(UTC) - requested_at < ENQUEUED_WITHIN else JobState.CANCELED
    error = text(raw.get(b"error")) or None
    ended_at = moment("ended_at")
    if state is JobState.FINISHED and error:
        state = JobState.FAILED
    elif state is JobState.FAILED and error is None and ended_at is not None:
        # It had told its end when its worker died, before that could be noted in the queue.
        state = JobState.FINISHED
    elif state is JobState.FAILED and error is None:
        error = "The work was broken off and could not be resumed. The worker's log says why; try again."
        ended_at = rq_job.ended_at if rq_job else None
    return SourceProgress(
        name=source,
        state=state,
        counts=Counts(*(number(name) for name in ("pages", "created", "updated", "unchanged", "rejected"))),
        pipelines_done=number("pipelines_done"),
        pipelines_total=number("pipelines_total"),
        pipelines_unread=number("pipelines_unread"),
        unread_example=text(raw.get(b"unread_example")) or None,
        started_at=moment("started_at"),
        ended_at=ended_at,
        error=error,
        waiting_for=text(raw.get(b"waiting_for")) or None,
        waiting_until=moment("waiting_until"),
    )


def _by_source(parts: list[SourceProgress]) -> tuple[SourceProgress, ...]:
    """Put a source's shards together again: how the work is split is nobody's business outside."""
    names = list(dict.fromkeys(part.name for part in parts))
    return tuple(_judge(sum_up(name, [part for part in parts if part.name == name])) for name in names)


def _judge(source: SourceProgress) -> SourceProgress:
    """Let a source of which nothing at all could be read be one that has failed."""
    if source.state is JobState.FINISHED and 0 < source.pipelines_total == source.pipelines_unread:
        return replace(source, state=JobState.FAILED, error=source.warning, pipelines_unread=0)
    return source
