"""What keeps ingestion from going on, in words: for the banner of every page, and for whoever counts it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import current_app

from chm_web.config import Config
from chm_web.ingestion import queue
from chm_web.ingestion.queue import Signs, SourceSigns
from chm_web.services.exceptions import Unavailable

# So many cycles without a success are more than bad luck.
CYCLES_UNTIL_BEHIND = 3
# The schedule gives a sign each minute at least.
SCHEDULE_SILENT_AFTER = timedelta(seconds=150)


@dataclass(frozen=True, kw_only=True)
class IngestionProblem:
    """One thing that is wrong, since when as far as that is known, and what to do about it."""

    what: str
    since: datetime | None
    advice: str


def ingestion_problems(*, now: datetime) -> tuple[IngestionProblem, ...]:
    """Give what is wrong with ingestion at ``now``; nothing when all is well, or when nothing is to be ingested.

    One round trip to Redis. Never raises: a Redis that does not answer is a problem like the others.
    """
    try:
        signs = queue.read_signs()
    except Unavailable:
        advice = "Nothing is ingested and no ingestion can be started until it does. Check that Redis runs."
        return (IngestionProblem(what="The job queue (Redis) does not answer", since=None, advice=advice),)
    config: Config = current_app.config["CHM"]
    return find_problems(signs, now=now, every=timedelta(seconds=config.ingest_every_seconds))


def find_problems(signs: Signs, *, now: datetime, every: timedelta) -> tuple[IngestionProblem, ...]:
    """Judge the signs at ``now``; ``every``: how often all sources are to be read."""
    sources = [source for source in signs.sources if not source.source.paused]
    if not sources:
        return ()
    found = []
    if _is_silent(signs.worker_at, now - queue.WORKER_SILENT_AFTER):
        advice = "Nothing is ingested until one runs: chm worker."
        found.append(IngestionProblem(what="No worker is alive", since=signs.worker_at, advice=advice))
    if _is_silent(signs.schedule_at, now - SCHEDULE_SILENT_AFTER):
        advice = "Nothing is ingested by itself until it does: chm schedule."
        found.append(IngestionProblem(what="The schedule does not run", since=signs.schedule_at, advice=advice))
    for source in sources:
        since = behind_since(source, now=now, every=every)
        if since is not None:
            name = source.source.name
            what = f"Ingestion of {name} is behind" if source.last_success_at else f"{name} has not been read yet"
            advice = "Health may be older than it looks. See its last error and the jobs."
            found.append(IngestionProblem(what=what, since=since, advice=advice))
    return tuple(found)


def behind_since(source: SourceSigns, *, now: datetime, every: timedelta) -> datetime | None:
    """Give since when a source has been read no more, or waited for; None while it is not behind, or paused."""
    if source.source.paused:
        return None
    since = source.last_success_at or source.awaited_since
    cycle = max(every, source.source.least_interval)
    return since if since is not None and since < now - CYCLES_UNTIL_BEHIND * cycle else None


def _is_silent(last_sign: datetime | None, limit: datetime) -> bool:
    return last_sign is None or last_sign < limit
