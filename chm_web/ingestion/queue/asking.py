"""Asking for an ingestion: one live job a scope, however often the button is pressed."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from redis.client import Pipeline
from redis.exceptions import LockError
from rq import Retry
from rq.registry import ScheduledJobRegistry
from uuid_utils.compat import uuid7

from chm_web.ingestion.progress import IngestionJob, SyncScope
from chm_web.ingestion.queue.connection import KEEP, needs_redis, rq_queue, state, text
from chm_web.ingestion.queue.ending import TRIES
from chm_web.ingestion.queue.rhythm import turns_of
from chm_web.ingestion.queue.scopes import scope_key, scope_values
from chm_web.ingestion.queue.signs import forget_source, note_asked, note_error, note_turn
from chm_web.ingestion.queue.telling import Part, find_live_job, get_job
from chm_web.ingestion.queue.work import PART_TIMEOUT, perform_part
from chm_web.ingestion.targets import targets_of
from chm_web.services.audit import log_report
from chm_web.services.clients import get_client
from chm_web.services.exceptions import Conflict, NotFound, Unavailable
from chm_web.services.pipelines import get_pipeline

_IN_TURN = "The schedule begins with one source after the other."


@needs_redis
def request_sync(*, scope: SyncScope, requested_by: str | None = None) -> tuple[IngestionJob, bool]:
    """Ask for an ingestion; a live job that covers the scope is given back instead of a second one.

    ``requested_by``: who asks; None for the schedule, whose sources begin one after the other. Nobody else waits for
    that, neither in a job of their own nor in one of the schedule's that they are given back.

    Returns:
        The job, and whether it is a new one.

    Raises:
        NotFound: there is no such client, pipeline or source.
        Conflict: there is nothing to read in this scope.
        Unavailable: Redis does not answer.
    """
    scope = _checked(scope)
    live = find_live_job(scope=scope)
    if live is not None:
        return _join(live, scope, requested_by), False
    # Before the lock: nothing slow may happen while others wait for it.
    plan = _plan(scope)
    try:
        # However often the button is pressed, and on however many machines: look and enqueue as one.
        with state().redis.lock("chm:lock:request", timeout=30, blocking_timeout=5):
            live = find_live_job(scope=scope)
            if live is not None:
                return _join(live, scope, requested_by), False
            job = get_job(job_id=_enqueue(scope, plan, requested_by))
    except LockError as err:
        raise Unavailable("Somebody else is asking for an ingestion just now. Try again in a moment.") from err
    log_report("request ingestion", {"pipelines": job.pipelines_total}, requested_by)
    return job, True


def _checked(scope: SyncScope) -> SyncScope:
    """Give the scope with a pipeline's client filled in, so that a job of that client is seen to cover it."""
    if scope.pipeline_id is not None:
        pipeline = get_pipeline(pipeline_id=scope.pipeline_id)
        if not pipeline.is_active:
            raise Conflict("This pipeline is disabled. Enable it before ingesting its runs.")
        if scope.client_id not in (None, pipeline.client_id):
            raise Conflict("This pipeline belongs to another client.")
        scope = replace(scope, client_id=pipeline.client_id)
    if scope.client_id is not None and not get_client(client_id=scope.client_id).is_active:
        raise Conflict("This client is disabled. Enable it before ingesting its runs.")
    sources = state().sources
    if not sources:
        raise Conflict(
            "No source of runs is configured. Set CHM_SOURCES_FILE, or CHM_PARTNER_API_BASE_URL and "
            "CHM_PARTNER_API_TOKEN."
        )
    if scope.source is not None and scope.source not in sources:
        raise NotFound(f"There is no source {scope.source!r}. There is: {', '.join(sources)}.")
    if scope.source is not None and sources[scope.source].paused:
        raise Conflict(f"The source {scope.source} is paused in its configuration.")
    return scope


def _plan(scope: SyncScope) -> list[tuple[str, int, int]]:
    """The parts of a job: source, shard, number of pipelines. Shards with nothing to read are left out."""
    parts = []
    problems = []
    for source in state().sources.values():
        if scope.source not in (None, source.name) or source.paused:
            continue
        try:
            targets = targets_of(source, scope)
        except NotFound as err:
            # Its client is gone or was renamed: the other sources are read all the same.
            note_error(state().redis, source=source.name, error=err.message)
            problems.append(f"{source.name}: {err.message}")
            continue
        sizes = Counter(target.pipeline_id.int % source.shards for target in targets)
        parts += [(source.name, shard, size) for shard, size in sorted(sizes.items())]
        if not scope.is_narrowed and not targets:
            forget_source(state().redis, source=source.name)
    if not parts:
        raise Conflict(
            problems[0]
            if problems
            else "There is nothing to read here: no active pipeline in this scope has an external id on a platform "
            "that a configured source serves."
        )
    return parts


def _join(live: IngestionJob, scope: SyncScope, requested_by: str | None) -> IngestionJob:
    """Give a live job back to whoever has asked; what they wait for does not wait for its turn any more."""
    if requested_by is None or not _hurry(live.id, scope.source):
        return live
    return get_job(job_id=live.id)


def _hurry(job_id: str, source: str | None) -> bool:
    """Let the parts of a job begin now that wait for their turn, of one source or of all; whether there were any."""
    redis, now = state().redis, datetime.now(UTC)
    parts = [Part(**part) for part in json.loads(text(redis.hget(f"chm:job:{job_id}", "parts")) or "[]")]
    in_turn = [
        part
        for part in parts
        if source in (None, part.source) and text(redis.hget(f"chm:part:{part.id}", "waiting_for")) == _IN_TURN
    ]
    registry = ScheduledJobRegistry(queue=rq_queue())  # type: ignore[no-untyped-call]
    with redis.pipeline() as pipe:
        for part in in_turn:
            # RQ's scheduler takes it up within a second. One that it has just taken must not be put back.
            pipe.zadd(registry.key, {part.id: now.timestamp()}, xx=True)
            pipe.hdel(f"chm:part:{part.id}", "waiting_for", "waiting_until")
            note_turn(pipe, source=part.source, begins_at=now)
        pipe.execute()
    return bool(in_turn)


def _enqueue(scope: SyncScope, plan: list[tuple[str, int, int]], requested_by: str | None) -> str:
    redis, jobs = state().redis, rq_queue()
    job_id = str(uuid7())
    requested_at = datetime.now(UTC)
    parts = [Part(f"{job_id}-{number}", source, shard) for number, (source, shard, _) in enumerate(plan)]
    turns = _turns() if requested_by is None else {}
    begins_at = {part.source: requested_at + turns.get(part.source, timedelta()) for part in parts}
    with redis.pipeline() as pipe:
        _write_job(pipe, job_id, scope, parts, requested_at=requested_at, requested_by=requested_by)
        for part, (_, _, size) in zip(parts, plan, strict=True):
            pipe.hset(f"chm:part:{part.id}", mapping={"pipelines_total": size})
            if begins_at[part.source] > requested_at:
                until = begins_at[part.source].isoformat()
                pipe.hset(f"chm:part:{part.id}", mapping={"waiting_for": _IN_TURN, "waiting_until": until})
            pipe.expire(f"chm:part:{part.id}", KEEP)
        if not scope.is_narrowed:
            note_asked(pipe, begins_at=begins_at)
        pipe.execute()
    for part in parts:
        moment = begins_at[part.source]
        enqueue = jobs.enqueue if moment == requested_at else partial(jobs.enqueue_at, moment)
        enqueue(
            perform_part,
            kwargs={"part_id": part.id, "source": part.source, "shard": part.shard, "scope": scope_values(scope)},
            job_id=part.id,
            job_timeout=int(PART_TIMEOUT.total_seconds()),
            result_ttl=int(KEEP.total_seconds()),
            failure_ttl=int(KEEP.total_seconds()),
            description=f"read {part.source}, shard {part.shard + 1}",
            # A worker that is killed does not take the work with it: the part is done again, from its watermarks.
            # At once, since the scheduler that would wait for a moment may have died with that worker.
            retry=Retry(max=TRIES - 1),
        )
    redis.sadd("chm:live", job_id)
    return job_id


def _turns() -> dict[str, timedelta]:
    """How long after this moment each source begins when the schedule asks now."""
    here = state()
    return turns_of(here.sources.values(), every=timedelta(seconds=here.config.ingest_every_seconds))


def _write_job(
    pipe: Pipeline,
    job_id: str,
    scope: SyncScope,
    parts: list[Part],
    *,
    requested_at: datetime,
    requested_by: str | None,
) -> None:
    pipe.hset(
        f"chm:job:{job_id}",
        mapping={
            "scope": json.dumps(asdict(scope), default=str),
            "requested_at": requested_at.isoformat(),
            "requested_by": requested_by or "",
            "parts": json.dumps([asdict(part) for part in parts]),
        },
    )
    pipe.expire(f"chm:job:{job_id}", KEEP)
    pipe.zadd("chm:jobs", {job_id: requested_at.timestamp()})
    pipe.zremrangebyscore("chm:jobs", "-inf", (requested_at - KEEP).timestamp())
    pipe.hset("chm:last", scope_key(scope), job_id)
    pipe.expire("chm:last", KEEP)
