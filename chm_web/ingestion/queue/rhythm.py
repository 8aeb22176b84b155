"""When the schedule reads a source: its interval, how that grows while the source fails, and its turn in a cycle."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from chm_web.ingestion.queue.signs import Signs, SourceSigns
from chm_web.ingestion.sources import Source

# However long a source has been failing, it is tried again after this; or after its own interval, if that is longer.
LONGEST = timedelta(hours=1)
# From here on doubling says nothing more, and numbers stay small.
_MOST_DOUBLINGS = 20
# The sources of a cycle begin one after the other, within this share of it or this time, whichever is less: long enough
# for platforms and workers, and too short for anybody to be told late.
SPREAD_SHARE, LONGEST_SPREAD = 10, timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Rhythm:
    """How often a source is read.

    ``next_at``: when the schedule asks for it next; None where it does not. ``slowed``: in words, that the source is
    read less often because it fails; None where it is not.
    """

    interval: timedelta
    next_at: datetime | None
    slowed: str | None


def turns_of(sources: Iterable[Source], *, every: timedelta) -> dict[str, timedelta]:
    """Tell how long after a cycle's beginning each source begins that is not paused, by name.

    By their places in the configuration rather than by chance: they are as far apart as they can be, and the readings
    of one are as far apart as its interval says. In whole seconds, by which RQ's scheduler counts.
    """
    spread = min(every / SPREAD_SHARE, LONGEST_SPREAD)
    names = [source.name for source in sources if not source.paused]
    return {
        name: timedelta(seconds=spread * place / len(names) // timedelta(seconds=1)) for place, name in enumerate(names)
    }


def rhythms_of(signs: Signs, *, now: datetime, every: timedelta) -> dict[str, Rhythm]:
    """Tell all sources' rhythms at ``now``, by name; ``every``: the time from one cycle to the next."""
    turns = turns_of((one.source for one in signs.sources), every=every)
    return {
        one.source.name: rhythm_of(
            one,
            next_cycle_at=signs.next_cycle_at,
            turn=turns.get(one.source.name, timedelta()),
            now=now,
            every=every,
        )
        for one in signs.sources
    }


def rhythm_of(
    one: SourceSigns, *, next_cycle_at: datetime | None, turn: timedelta, now: datetime, every: timedelta
) -> Rhythm:
    """Tell a source's rhythm at ``now``.

    Args:
        one: the source, and what is known of it.
        next_cycle_at: when the schedule asks next, where it runs.
        turn: how long after a cycle's beginning the source begins.
        now: the moment to tell of.
        every: the time from one cycle to the next.
    """
    usual, interval = _usual_interval(one, every), interval_of(one, every=every)
    slowed = None
    if interval > usual and not one.source.paused:
        slowed = (
            f"Failed {one.failures} times in a row: read every {in_words(interval)} instead of every {in_words(usual)}."
        )
    next_at = _next_at(one, next_cycle_at=next_cycle_at, turn=turn, now=now, every=every)
    return Rhythm(interval=interval, next_at=next_at, slowed=slowed)


def is_early(one: SourceSigns, *, now: datetime, every: timedelta) -> bool:
    """Whether a cycle at ``now`` leaves a source out, since it was asked for not long enough ago."""
    due_at = _due_at(one, every)
    return due_at is not None and now < due_at


def interval_of(one: SourceSigns, *, every: timedelta) -> timedelta:
    """Give how often a source is read: twice as seldom with each failure in a row after the first, up to a bound."""
    usual = _usual_interval(one, every)
    doublings = min(max(one.failures - 1, 0), _MOST_DOUBLINGS)
    return min(usual * (1 << doublings), max(usual, LONGEST))


def _next_at(
    one: SourceSigns, *, next_cycle_at: datetime | None, turn: timedelta, now: datetime, every: timedelta
) -> datetime | None:
    if one.source.paused:
        return None
    if one.begins_at is not None and one.begins_at > now:
        # It is asked for already, and waits for its turn.
        return one.begins_at
    if next_cycle_at is None or next_cycle_at <= now:
        return None
    due_at = _due_at(one, every) or next_cycle_at
    cycles = max(0, math.ceil((due_at - next_cycle_at) / every))
    return next_cycle_at + cycles * every + turn


def _usual_interval(one: SourceSigns, every: timedelta) -> timedelta:
    return max(every, one.source.least_interval)


def _due_at(one: SourceSigns, every: timedelta) -> datetime | None:
    """Give from when on a cycle takes a source along; None for one that was not asked for before."""
    if one.asked_at is None:
        return None
    interval = interval_of(one, every=every)
    # Half a cycle early rather than half a cycle late: cycles never come to the second. One that is read in each
    # cycle is never left out, however soon the next one comes.
    return one.asked_at + interval - every / 2 if interval > every else one.asked_at


def in_words(interval: timedelta) -> str:
    """Tell a span of whole seconds in the greatest unit that needs no fraction."""
    seconds = int(interval.total_seconds())
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
