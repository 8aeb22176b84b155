"""What was reported of jobs that are no pipeline here, kept for a week so that somebody can register them."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from redis.exceptions import RedisError

from chm_web.ingestion.progress import UnmappedReport
from chm_web.ingestion.queue.connection import KEEP, needs_redis, state, text
from chm_web.models import RunStatus
from chm_web.services.redaction import redact_text

log = logging.getLogger(__name__)

# Of more names the newest are kept: a producer that makes up names must not fill Redis.
MAX_NAMES = 1000
_MAX_LENGTH = 600
_INDEX = "chm:unmapped"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmappedName:
    """All reports under one name of a source. The status, reason and sample are the last report's."""

    source: str
    name: str
    count: int
    first_seen_at: datetime
    last_seen_at: datetime
    last_status: RunStatus | None
    reason: str
    sample: dict[str, str]


def note_unmapped(*, source: str, reports: Sequence[UnmappedReport]) -> None:
    """Count reports by their names. A Redis that is away is logged and is no error for whoever reports."""
    if not reports:
        return
    last = {_shown(report.name): report for report in reports}
    counts = Counter(_shown(report.name) for report in reports)
    now = datetime.now(UTC)
    redis = state().redis
    try:
        with redis.pipeline() as pipe:
            for name, report in last.items():
                member = json.dumps([source, name])
                pipe.hincrby(_key(member), "count", counts[name])
                pipe.hsetnx(_key(member), "first_seen_at", now.isoformat())
                for key, value in _last_values(report, now).items():
                    pipe.hset(_key(member), key, value)
                pipe.expire(_key(member), KEEP)
                pipe.zadd(_INDEX, {member: now.timestamp()})
            pipe.zremrangebyscore(_INDEX, "-inf", (now - KEEP).timestamp())
            pipe.expire(_INDEX, KEEP)
            pipe.zcard(_INDEX)
            too_many = pipe.execute()[-1] - MAX_NAMES
        if too_many > 0:
            oldest = redis.zrange(_INDEX, 0, too_many - 1)
            redis.zrem(_INDEX, *oldest)
            redis.delete(*(_key(text(member)) for member in oldest))
    except RedisError as err:
        log.warning("%d unmapped reports of %s are not kept: %s", len(reports), source, type(err).__name__)


@needs_redis
def list_unmapped() -> list[UnmappedName]:
    """List names that no pipeline bears, the last seen first; at most a thousand are kept, each for a week.

    Raises:
        Unavailable: Redis does not answer.
    """
    redis = state().redis
    members = [text(raw) for raw in redis.zrevrange(_INDEX, 0, MAX_NAMES - 1)]
    with redis.pipeline(transaction=False) as pipe:
        for member in members:
            pipe.hgetall(_key(member))
        found = zip(members, pipe.execute(), strict=True)
    return [_read(member, raw) for member, raw in found if raw]


def _key(member: str) -> str:
    return f"{_INDEX}:{member}"


def _shown(words: str) -> str:
    return redact_text(words)[:_MAX_LENGTH]


def _last_values(report: UnmappedReport, now: datetime) -> dict[str, str]:
    return {
        "last_seen_at": now.isoformat(),
        "last_status": report.status or "",
        "reason": report.reason,
        "sample": json.dumps({name: _shown(value) for name, value in report.sample.items()}),
    }


def _read(member: str, raw: dict[bytes, bytes]) -> UnmappedName:
    source, name = json.loads(member)
    status = text(raw[b"last_status"])
    return UnmappedName(
        source=source,
        name=name,
        count=int(raw[b"count"]),
        first_seen_at=datetime.fromisoformat(text(raw[b"first_seen_at"])),
        last_seen_at=datetime.fromisoformat(text(raw[b"last_seen_at"])),
        last_status=RunStatus(status) if status else None,
        reason=text(raw[b"reason"]),
        sample=json.loads(raw[b"sample"]),
    )
