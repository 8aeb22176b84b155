"""When pipelines ran, laid out along a window of time: one row a pipeline, in per cent of its width."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from chm_web.models import RunStatus
from chm_web.services.outcomes import Mark, run_timelines
from chm_web.web.formats import STATUS_VERBS, duration, number, short, words

NARROWEST = 0.35
"""No mark is narrower than this, or a run of a second in a month would not be seen."""

_STEPS = [timedelta(hours=hours) for hours in (1, 2, 4, 6, 12, 24, 48, 120, 240, 720)]
_MOST_TICKS = 9
_ORIGIN = datetime(2001, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class DrawnMark:
    """A mark's place in its row, and what to say of it."""

    status: RunStatus
    x: float
    width: float
    title: str


@dataclass(frozen=True)
class Row:
    """One pipeline's marks, and a sentence that says what they show."""

    marks: list[DrawnMark]
    summary: str


@dataclass(frozen=True)
class Tick:
    """A line at a round time: where it is, and what time that is."""

    x: float
    label: str


@dataclass(frozen=True)
class Timeline:
    """The rows by pipeline, and the ticks above them."""

    rows: dict[UUID, Row]
    ticks: list[Tick]


def lay_out(*, pipeline_ids: Collection[UUID], since: datetime, until: datetime) -> Timeline:
    """Read when these pipelines ran within a window, and lay it out."""
    found = run_timelines(pipeline_ids=pipeline_ids, since=since, until=until)
    rows = {
        pipeline_id: Row([_draw(mark, since, until) for mark in marks], _summary(marks))
        for pipeline_id, marks in found.items()
    }
    return Timeline(rows, _ticks(since, until))


def _draw(mark: Mark, since: datetime, until: datetime) -> DrawnMark:
    start = _place(max(mark.started_at, since), since, until)
    end = _place(min(mark.ended_at, until), since, until)
    width = max(end - start, NARROWEST)
    # A run at the very end is drawn at its full width, too.
    return DrawnMark(mark.status, round(min(start, 100 - width), 2), round(width, 2), _title(mark))


def _place(moment: datetime, since: datetime, until: datetime) -> float:
    return 100 * ((moment - since) / (until - since))


def _title(mark: Mark) -> str:
    if mark.runs > 1:
        return f"{number(mark.runs)} {STATUS_VERBS[mark.status]}, {short(mark.started_at)} to {short(mark.ended_at)}"
    if mark.status is RunStatus.RUNNING:
        return f"Running since {short(mark.started_at)}"
    return f"{words(mark.status)}, {short(mark.started_at)}, {duration(mark.ended_at - mark.started_at)}"


def _summary(marks: list[Mark]) -> str:
    counts: Counter[RunStatus] = Counter()
    for mark in marks:
        counts[mark.status] += mark.runs_within
    told = [f"{number(counts[status])} {word}" for status, word in STATUS_VERBS.items() if counts[status]]
    later = sum(mark.runs - mark.runs_within for mark in marks)
    if later:
        told.append(f"{number(later)} ended later")
    return ", ".join(told) or "No runs"


def _ticks(since: datetime, until: datetime) -> list[Tick]:
    step = next((step for step in _STEPS if (until - since) / step <= _MOST_TICKS), (until - since) / _MOST_TICKS)
    moment = since - (since - _ORIGIN) % step + step
    ticks = []
    while moment < until:
        label = f"{moment.day} {moment:%b}" if step >= timedelta(days=1) or not moment.hour else f"{moment:%H:%M}"
        ticks.append(Tick(round(_place(moment, since, until), 2), label))
        moment += step
    return ticks
