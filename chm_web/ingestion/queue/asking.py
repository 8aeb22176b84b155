"""Asking for an ingestion: one live job a scope, however often the button is pressed."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, replace
from datetime import UTC, datetime

from redis.exceptions import LockError
from rq import Retry
from uuid_utils.compat import uuid7

from chm_web.ingestion.progress import IngestionJob, SyncScope
from chm_web.ingestion.queue.connection import KEEP, needs_redis, rq_queue, state
from chm_web.ingestion.queue.signs import forget_source, note_asked, note_error
from chm_web.ingestion.queue.telling import Part, find_live_job, get_job, scope_key, scope_values
from chm_web.ingestion.queue.work import PART_TIMEOUT, perform_part
from chm_web.ingestion.targets import targets_of
from chm_web.services.audit import log_report
from chm_web.services.clients import get_client
from chm_web.services.exceptions import Conflict, NotFound, Unavailable
from chm_web.services.pipelines import get_pipeline


@needs_redis
def request_sync(*, scope: SyncScope, requested_by: str | None = None) -> tuple[IngestionJob, bool]:
    """Ask for an ingestion; a live job that covers the scope is given back instead of a second one.

    ``requested_by``: who asks; None for the schedule.

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
        return live, False
    # Before the lock: nothing slow may happen while others wait for it.
    plan = _plan(scope)
    try:
        # However often the button is pressed, and on however many machines: look and enqueue as one.
        with state().redis.lock("chm:lock:request", timeout=30, blocking_timeout=5):
            live = find_live_job(scope=scope)
            if live is not None:
                return live, False
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


def _enqueue(scope: SyncScope, plan: list[tuple[str, int, int]], requested_by: str | None) -> str:
    redis, jobs = state().redis, rq_queue()
    job_id = str(uuid7())
    requested_at = datetime.now(UTC)
    parts = [Part(f"{job_id}-{number}", source, shard) for number, (source, shard, _) in enumerate(plan)]
    with redis.pipeline() as pipe:
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
        for part, (_, _, size) in zip(parts, plan, strict=True):
            pipe.hset(f"chm:part:{part.id}", mapping={"pipelines_total": size})
            pipe.expire(f"chm:part:{part.id}", KEEP)
        pipe.zadd("chm:jobs", {job_id: requested_at.timestamp()})
        pipe.zremrangebyscore("chm:jobs", "-inf", (requested_at - KEEP).timestamp())
        pipe.hset("chm:last", scope_key(scope), job_id)
        pipe.expire("chm:last", KEEP)
        if not scope.is_narrowed:
            note_asked(pipe, sources={part.source for part in parts})
        pipe.execute()
    for part in parts:
        jobs.enqueue(
            perform_part,
            kwargs={"part_id": part.id, "source": part.source, "shard": part.shard, "scope": scope_values(scope)},
            job_id=part.id,
            job_timeout=int(PART_TIMEOUT.total_seconds()),
            result_ttl=int(KEEP.total_seconds()),
            failure_ttl=int(KEEP.total_seconds()),
            description=f"read {part.source}, shard {part.shard + 1}",
            # A worker that is killed does not take the work with it: the part is done again, from its watermarks.
            # At once, since the scheduler that would wait for a moment may have died with that worker.
            retry=Retry(max=3),
        )
    redis.sadd("chm:live", job_id)
    return job_id
