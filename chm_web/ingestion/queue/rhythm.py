"""How often the schedule reads a source: its interval, and how that grows while the source fails."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from chm_web.ingestion.queue.signs import SourceSigns

# However long a source has been failing, it is tried again after this; or after its own interval, if that is longer.
LONGEST = timedelta(hours=1)
# From here on doubling says nothing more, and numbers stay small.
_MOST_DOUBLINGS = 20


@dataclass(frozen=True, kw_only=True)
class Rhythm:
    """How often a source is read.

    ``next_at``: when the schedule asks for it next; None where it does not. ``slowed``: in words, that the source is
    read less often because it fails; None where it is not.
    """

    interval: timedelta
    next_at: datetime | None
    slowed: str | None


def rhythm_of(one: SourceSigns, *, next_cycle_at: datetime | None, now: datetime, every: timedelta) -> Rhythm:
    """Tell a source's rhythm at ``now``.

    Args:
        one: the source, and what is known of it.
        next_cycle_at: when the schedule asks next, where it runs.
        now: the moment to tell of.
        every: the time from one cycle to the next.
    """
    usual, interval = _usual_interval(one, every), interval_of(one, every=every)
    next_at = None
    if next_cycle_at is not None and next_cycle_at > now and not one.source.paused:
        due_at = _due_at(one, every) or next_cycle_at
        next_at = next_cycle_at + max(0, math.ceil((due_at - next_cycle_at) / every)) * every
    slowed = None
    if interval > usual and not one.source.paused:
        slowed = (
            f"Failed {one.failures} times in a row: read every {_words(interval)} instead of every {_words(usual)}."
        )
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


def _words(interval: timedelta) -> str:
    seconds = int(interval.total_seconds())
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
