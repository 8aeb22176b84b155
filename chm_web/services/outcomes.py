"""What became of runs over time: the figures behind charts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from chm_web.extensions import db
from chm_web.queries import outcomes as queries

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OTHERS = "Others"

_ORIGIN = datetime(2001, 1, 1, tzinfo=UTC)
"""Where buckets begin, as in the schema ``reporting``."""


@dataclass(frozen=True)
class Series:
    """One line or one colour of a chart: its name and a figure for each bucket."""

    name: str
    values: list[int]


@dataclass(frozen=True)
class OverTime:
    """Figures by bucket of time: when each bucket begins, how long one is, and the series."""

    starts: list[datetime]
    bucket: timedelta
    series: list[Series]


def bucket_for(*, since: datetime, until: datetime) -> timedelta:
    """Give the bucket in which a window is shown: hours for two days at most, else days."""
    return HOUR if until - since <= 2 * DAY else DAY


def failures_by_group(*, since: datetime, until: datetime, by: str, top: int = 5) -> OverTime:
    """Count the fleet's failures over time by ``client`` or ``platform``, the most failures first.

    Args:
        since: the start of the window of event time, inclusive.
        until: its end, exclusive.
        by: ``client`` or ``platform``.
        top: so many groups are named; the rest are summed up as ``OTHERS``.
    """
    bucket = bucket_for(since=since, until=until)
    starts = list(_buckets(since, until, bucket))
    found: dict[str, Counter[datetime]] = {}
    parameters = {"since": since, "until": until, "bucket": bucket}
    for row in db.session.execute(queries.failures_over_time(by=by), parameters).mappings():
        found.setdefault(row["name"], Counter())[row["bucket_start"]] += row["failures"]
    ranked = sorted(found, key=lambda name: (-found[name].total(), name.lower()))
    groups = {name: found[name] for name in ranked[:top]}
    if len(ranked) > top:
        groups[OTHERS] = sum((found[name] for name in ranked[top:]), Counter())
    return OverTime(
        starts, bucket, [Series(name, [counts[start] for start in starts]) for name, counts in groups.items()]
    )


def _buckets(since: datetime, until: datetime, bucket: timedelta) -> Iterator[datetime]:
    start = since - (since - _ORIGIN) % bucket
    while start < until:
        yield start
        start += bucket
