"""Every run of the fleet, past and to come, as a pure function of the pipeline and the time.

Nothing is stored: run number n of a pipeline is computed from n alone, so that the partner tells the same
story in every process and after a restart. Only how much of it can be seen depends on now: a run appears when it
starts, is running until it ends, and then never changes again.

All moments inside are whole milliseconds since 1970, UTC: they compare, sort and hash exactly.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from chm_web.demo.chance import mix, normal, seed_of, unit
from chm_web.demo.incidents import DAY_MS, HOUR_MS, MINUTE_MS, incident_at, outage_at
from chm_web.demo.messages import failure_message, host_of, outage_message, reason_of, timeout_message
from chm_web.demo.model import Dialect, Pipeline

HISTORY_DAYS = 90

_ZERO = datetime(1970, 1, 1, tzinfo=UTC)

# Slots are counted from here, a Monday, so that weekly schedules keep their weekday.
EPOCH_MS = int(datetime(2020, 1, 6, tzinfo=UTC).timestamp() * 1000)

Outcome = Literal["queued", "running", "success", "failed", "timed_out", "canceled", "skipped"]

# The words a partner uses. "clerk" and "machine" are dialects a reader may not know in full.
WORDS: dict[Dialect, dict[Outcome, str]] = {
    "plain": {
        "queued": "running",
        "running": "running",
        "success": "success",
        "failed": "failed",
        "timed_out": "failed",
        "canceled": "canceled",
        "skipped": "skipped",
    },
    "clerk": {
        "queued": "queued",
        "running": "in_progress",
        "success": "completed",
        "failed": "error",
        "timed_out": "timed_out",
        "canceled": "aborted",
        "skipped": "skipped",
    },
    "machine": {
        "queued": "queued",
        "running": "in_progress",
        "success": "ok",
        "failed": "error",
        "timed_out": "timed_out",
        "canceled": "aborted",
        "skipped": "ignored",
    },
}

# Purposes of a run's random numbers, one each so that none depends on another.
_JITTER, _FATE, _SPLIT, _DURATION, _ROWS, _CAUSE, _FRACTION, _WORKER, _TRIGGER = range(9)

_QUEUE_MS = 20_000
_RETRY_AFTER_MS = 8 * MINUTE_MS
_SLOWING_MS = 84 * DAY_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run from its first to its last moment (ms), whoever looks and whenever."""

    external_run_id: str
    queued: int
    started: int
    finished: int
    published: int  # when the finished run shows in the feed
    outcome: Outcome
    rows: int | None
    message: str | None
    reason: str | None
    attempt: int
    trigger: str
    worker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as it is seen at one moment. `outcome` is what happened, `status` the partner's word for it."""

    external_run_id: str
    status: str
    outcome: Outcome
    started_at: datetime | None
    finished_at: datetime | None
    duration_seconds: float | None
    rows_processed: int | None
    error_message: str | None
    status_reason: str | None
    updated_at: datetime
    attempt: int
    trigger: str
    worker_host: str


def history_start(now: datetime) -> datetime:
    """Give the moment from which on the partner keeps runs: 90 days before the day of now began, UTC."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=HISTORY_DAYS)


def plans_between(pipeline: Pipeline, start: int, end: int) -> Iterator[Plan]:
    """Give the plans of the slots that begin in [start, end) (ms), in order of the slots."""
    every = pipeline.profile.every * MINUTE_MS
    if every == 0:
        return
    origin = EPOCH_MS + pipeline.profile.at * MINUTE_MS
    slot = -((origin - start) // every)
    while (scheduled := origin + slot * every) < end:
        yield from _plans_of(pipeline, slot, scheduled)
        slot += 1


def seen_at(pipeline: Pipeline, plan: Plan, moment: int) -> Run | None:
    """Give the plan's run as it is seen at a moment (ms), None if it cannot be seen yet."""
    done = moment >= plan.published
    if not done and (moment < plan.queued or pipeline.profile.lag_hours):
        return None
    begun = moment >= plan.started
    outcome: Outcome = plan.outcome if done else "running" if begun else "queued"
    return Run(
        external_run_id=plan.external_run_id,
        status=WORDS[pipeline.profile.dialect][outcome],
        outcome=outcome,
        started_at=to_datetime(plan.started) if begun else None,
        finished_at=to_datetime(plan.finished) if done else None,
        duration_seconds=(plan.finished - plan.started) / 1000 if done else None,
        rows_processed=plan.rows if done else None,
        error_message=plan.message if done else None,
        status_reason=plan.reason if done else None,
        updated_at=to_datetime(plan.published if done else plan.started if begun else plan.queued),
        attempt=plan.attempt,
        trigger=plan.trigger,
        worker_host=plan.worker,
    )


def to_ms(moment: datetime) -> int:
    """Give whole milliseconds since 1970, rounded up, of a time with a zone."""
    return -((_ZERO - moment) // timedelta(milliseconds=1))


def to_datetime(moment: int) -> datetime:
    """Give the UTC time of milliseconds since 1970."""
    return _ZERO + timedelta(milliseconds=moment)


def _plans_of(pipeline: Pipeline, slot: int, scheduled: int) -> Iterator[Plan]:
    """Give the slot's run, and the run that repeats it where a chance failure is retried."""
    profile, key = pipeline.profile, mix(seed_of(pipeline.external_id), slot)
    queued = scheduled + int(unit(key, _JITTER) * 25_000)
    message = _breakage(pipeline, key, queued)
    outcome: Outcome = "failed" if message is not None else _fate(pipeline, slot, key)
    if outcome == "failed" and message is None:
        message = failure_message(pipeline, mix(key, _CAUSE), key)
    first = _plan(pipeline, slot, key, queued, outcome=outcome, message=message, attempt=1)
    yield first
    if profile.retry and outcome == "failed":
        again = first.finished + _RETRY_AFTER_MS
        yield _plan(pipeline, slot, mix(key, 2), again, outcome="success", message=None, attempt=2)


def _breakage(pipeline: Pipeline, key: int, moment: int) -> str | None:
    """Give the error text where an outage or an incident makes the run fail, None where neither does."""
    if (cause := outage_at(pipeline, moment)) is not None:
        return outage_message(pipeline, cause, key)
    if (cause := incident_at(pipeline, moment)) is not None:
        return failure_message(pipeline, cause, key)
    return None


def _fate(pipeline: Pipeline, slot: int, key: int) -> Outcome:
    """Decide how a run ends that nothing special happens to."""
    profile = pipeline.profile
    if profile.flaky is not None:
        # One run in twelve breaks the pattern: alternation without exception would look made up.
        turn = slot + profile.flaky + (unit(key, _SPLIT) < 0.08)
        return "failed" if turn % 2 else "success"
    fate = unit(key, _FATE)
    if fate < profile.skip:
        return "skipped"
    if fate < profile.skip + profile.cancel:
        return "canceled"
    if fate < profile.skip + profile.cancel + profile.fail:
        return "failed" if profile.dialect == "plain" or unit(key, _SPLIT) < 0.5 else "timed_out"
    return "success"


def _plan(
    pipeline: Pipeline,
    slot: int,
    key: int,
    queued: int,
    *,
    outcome: Outcome,
    message: str | None,
    attempt: int,
) -> Plan:
    profile = pipeline.profile
    started = queued if profile.dialect == "plain" else queued + _QUEUE_MS
    duration = _duration(pipeline, key, started, outcome)
    finished = started + duration
    if outcome == "timed_out":
        message = timeout_message(duration // 1000)
    trigger = "retry" if attempt > 1 else "manual" if unit(key, _TRIGGER) < 0.01 else "schedule"
    return Plan(
        external_run_id=_run_id(pipeline, slot, queued) + ("" if attempt == 1 else f"/retry {attempt}"),
        queued=queued,
        started=started,
        finished=finished,
        published=finished + profile.lag_hours * HOUR_MS,
        outcome=outcome,
        rows=_rows(pipeline, key, started, outcome),
        message=message,
        reason=reason_of(outcome, key),
        attempt=attempt,
        trigger=trigger,
        worker=f"worker-{1 + mix(key, _WORKER) % 6:02d}.{host_of(pipeline)}",
    )


def _load(moment: int, every: int) -> float:
    """Give how busy it is at a moment, about 1: weekends are quiet, early afternoons are not."""
    day = (moment - EPOCH_MS) // DAY_MS % 7
    week = 0.6 if day >= 5 else 1.0 + 0.05 * (2 - abs(day - 2))
    if every >= 24 * 60:
        return week
    hour = moment % DAY_MS / HOUR_MS
    return week * (1.0 + 0.45 * math.sin((hour - 8.0) / 24.0 * 2.0 * math.pi))


def _duration(pipeline: Pipeline, key: int, moment: int, outcome: Outcome) -> int:
    """Give the run's duration (ms)."""
    profile = pipeline.profile
    # A fifth of the interval at most: runs never overlap, and a healthy pipeline never looks late
    # (late begins at a quarter of the interval past due).
    limit = profile.every * MINUTE_MS // 5
    if outcome == "timed_out":
        return limit
    if outcome in {"canceled", "skipped"}:
        return min(limit, 400 + int(unit(key, _FRACTION) * 6_000))
    seconds = profile.seconds * math.exp(profile.spread * normal(key, _DURATION))
    seconds *= 0.6 + 0.4 * _load(moment, profile.every)
    if profile.slowing is not None:
        seconds *= 1.0 + 2.5 * (((moment - EPOCH_MS) / _SLOWING_MS + profile.slowing) % 1.0)
    if outcome == "failed":
        seconds *= 0.05 + 0.9 * unit(key, _FRACTION)
    return max(350, min(limit, int(seconds * 1000)))


def _rows(pipeline: Pipeline, key: int, moment: int, outcome: Outcome) -> int | None:
    """Give the rows a run has processed, more of them in longer runs; None where it has not counted any."""
    profile = pipeline.profile
    if profile.rows is None or outcome in {"timed_out", "canceled", "skipped"}:
        return None
    if outcome == "failed" and unit(key, _ROWS, 1) < 0.7:
        return None
    size = math.exp(0.8 * profile.spread * normal(key, _DURATION) + 0.05 * normal(key, _ROWS))
    part = unit(key, _FRACTION) if outcome == "failed" else 1.0
    return int(profile.rows * size * _load(moment, profile.every) * part)


def _run_id(pipeline: Pipeline, slot: int, queued: int) -> str:
    """Name a run as its platform would."""
    if pipeline.platform == "airflow":
        return f"scheduled__{to_datetime(queued).isoformat(timespec='seconds')}"
    seed = seed_of(pipeline.external_id)
    if pipeline.platform == "dbt":
        return str((700 + seed % 200) * 10_000_000 + slot)
    if pipeline.platform == "cron":
        return f"{pipeline.name} {to_datetime(queued):%Y-%m-%d %H:%M}"
    if pipeline.platform == "vendor_api":
        return f"{mix(seed, slot):016x}-{slot}"
    return f"{pipeline.name}#{slot}"
