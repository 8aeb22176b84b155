"""What became of runs over time: the figures behind charts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from chm_web.extensions import db
from chm_web.models import RunStatus
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


@dataclass(frozen=True)
class ComparedRuns:
    """A client's runs of a window by status, and those of the window of the same length before it."""

    counts: Mapping[RunStatus, int]
    counts_before: Mapping[RunStatus, int]

    @property
    def success_share(self) -> float | None:
        """The share of successes among the runs that succeeded or failed, 0 to 1; None when there are none."""
        return _success_share(self.counts)

    @property
    def share_before(self) -> float | None:
        """The same of the window before."""
        return _success_share(self.counts_before)

    @property
    def share_change(self) -> float | None:
        """By how much the share has changed; None where there is nothing to compare."""
        return share_change(self.success_share, self.share_before)


@dataclass(frozen=True)
class Mark:
    """Runs of one status close together in time: most often a single one.

    ``runs_within``: those of its ``runs`` that count in the window. One that was under way at its end is drawn there,
    and counts in the window that it ended in.
    """

    status: RunStatus
    started_at: datetime
    ended_at: datetime
    runs: int
    runs_within: int


SLOTS = 240
"""Into so many parts a window is cut for its timeline."""


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
    groups = [(name, found[name]) for name in ranked[:top]]
    if len(ranked) > top:
        # Beside a client that bears that very name.
        groups.append((OTHERS, sum((found[name] for name in ranked[top:]), Counter())))
    return OverTime(starts, bucket, [Series(name, [counts[start] for start in starts]) for name, counts in groups])


def client_failures(*, client_id: UUID, since: datetime, until: datetime) -> OverTime:
    """Count a client's failures over time, of all its pipelines together."""
    bucket = bucket_for(since=since, until=until)
    parameters = {"client_id": client_id, "since": since, "until": until, "bucket": bucket}
    rows = db.session.execute(queries.CLIENT_FAILURES, parameters).all()
    return OverTime([row.bucket_start for row in rows], bucket, [Series("Failed", [row.failures for row in rows])])


def compare_client_runs(*, client_id: UUID, since: datetime, until: datetime) -> ComparedRuns:
    """Count a client's runs in a window of event time (since inclusive, until exclusive) and in the one before it."""
    parameters = {"client_id": client_id, "since": since, "until": until, "before": since - (until - since)}
    counts = {is_within: dict.fromkeys(RunStatus, 0) for is_within in (True, False)}
    for row in db.session.execute(queries.CLIENT_RUNS, parameters):
        counts[row.is_within][RunStatus(row.status)] = row.runs
    return ComparedRuns(counts[True], counts[False])


def share_change(share: float | None, before: float | None) -> float | None:
    """Give by how much a share has changed; None where there is nothing to compare."""
    return None if share is None or before is None else share - before


def run_timelines(*, pipeline_ids: Collection[UUID], since: datetime, until: datetime) -> dict[UUID, list[Mark]]:
    """Give when each pipeline ran within a window, what is still running included, in the order to be drawn in.

    Runs of one status that a picture could not tell apart are one mark, so that its size has a bound.
    """
    marks: dict[UUID, list[Mark]] = {pipeline_id: [] for pipeline_id in pipeline_ids}
    parameters = {"pipeline_ids": list(marks), "since": since, "until": until, "slot": (until - since) / SLOTS}
    for row in db.session.execute(queries.TIMELINES, parameters).mappings():
        marks[row["pipeline_id"]].append(
            Mark(RunStatus(row["status"]), row["started_at"], row["ended_at"], row["runs"], row["runs_within"])
        )
    return marks


def _success_share(counts: Mapping[RunStatus, int]) -> float | None:
    decided = counts[RunStatus.SUCCESS] + counts[RunStatus.FAILED]
    return counts[RunStatus.SUCCESS] / decided if decided else None


def _buckets(since: datetime, until: datetime, bucket: timedelta) -> Iterator[datetime]:
    start = since - (since - _ORIGIN) % bucket
    while start < until:
        yield start
        start += bucket
