"""What has changed in the health of the fleet since a moment.

Both ends are judged by the event times of the runs, by all that is known of them at ``now``. A run that came in late
counts when it happened, not when it was heard of: a failure of the day before yesterday that was ingested today makes
its pipeline failing since the day before yesterday, and so is none of today's changes.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import RowMapping

from chm_web.extensions import db
from chm_web.queries import changes as queries
from chm_web.services.health import Health, HealthTally
from chm_web.services.plans import kept_plans


class ChangeKind(enum.StrEnum):
    """How a pipeline's health differs from what it was, as ``reporting.health_changes`` calls it; and blips."""

    NEWLY_FAILING = "newly_failing"
    RECOVERED = "recovered"
    NEWLY_LATE = "gone_silent"
    BLIP = "blip"


# Those that two moments tell: a blip is what lies between.
_CHANGES = (ChangeKind.NEWLY_FAILING, ChangeKind.RECOVERED, ChangeKind.NEWLY_LATE)


@dataclass(frozen=True)
class Fleet:
    """The active pipelines of active clients at one moment: counted by client, and which are failing or late.

    ``changes`` counts each client's that changed, by kind, blips apart; a client without changes is not named.
    ``in_trouble`` tells of each state of trouble since when which pipelines have been in it.
    """

    by_client: Mapping[UUID, HealthTally]
    changes: Mapping[UUID, Mapping[ChangeKind, int]]
    in_trouble: Mapping[Health, Sequence[tuple[datetime, UUID]]]

    @property
    def tally(self) -> HealthTally:
        """All clients' pipelines counted as one."""
        return sum(self.by_client.values(), HealthTally())

    def longest_in(self, health: Health, limit: int) -> list[UUID]:
        """Name those that have been failing or late for longest: ``limit`` of them, and all for as long as the last."""
        found = sorted(self.in_trouble[health])
        last = found[:limit][-1:]
        return [pipeline_id for since, pipeline_id in found if since <= last[0][0]]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One pipeline whose health changed.

    ``run_id`` is the run that did it: the first failure of the row, the success that ended it, or the last success
    before the silence (None: there never was one). Of a blip it is what is over by now: the last failure, or the
    success in between; ``failures`` counts what failed meanwhile.
    """

    pipeline_id: UUID
    pipeline_name: str
    client_id: UUID
    client_name: str
    platform: str
    kind: ChangeKind
    old: Health
    new: Health
    changed_at: datetime
    run_id: UUID | None
    error: str | None = None
    failures: int = 0


@dataclass(frozen=True)
class Changes:
    """What changed since a moment: the newest of each kind, and how many of it there are."""

    listed: Mapping[ChangeKind, list[Change]]
    totals: Mapping[ChangeKind, int]

    @property
    def total(self) -> int:
        """All changes of all kinds."""
        return sum(self.totals.values())


def look_at_fleet(*, since: datetime, now: datetime) -> Fleet:
    """Judge all active pipelines of active clients once: the base of everything that is shown of the whole fleet.

    Args:
        since: the moment to compare with.
        now: the moment to judge by.
    """
    by_client: dict[UUID, HealthTally] = {}
    changes: dict[UUID, dict[ChangeKind, int]] = {}
    in_trouble: dict[Health, list[tuple[datetime, UUID]]] = {Health.FAILING: [], Health.LATE: []}
    with kept_plans():
        rows = db.session.execute(queries.FLEET, {"since": since, "now": now}).mappings().all()
    for row in rows:
        client_id = row["client_id"]
        by_client[client_id] = HealthTally({health: row[health] for health in Health}, row["running_now"])
        changed = {kind: row[kind] for kind in _CHANGES if row[kind]}
        if changed:
            changes[client_id] = changed
        for health, listed in in_trouble.items():
            if row[health]:
                listed.extend(zip(row[f"{health}_since"], row[f"{health}_ids"], strict=True))
    return Fleet(by_client, changes, in_trouble)


def list_changes(*, since: datetime, now: datetime, limit: int = 50) -> Changes:
    """List what is newly failing, recovered and newly late since a moment, and blips: the newest first.

    A blip failed and recovered in between, or recovered and failed again: its health is what it was.

    Args:
        since: the moment to compare with.
        now: the moment to judge by.
        limit: at most so many of each kind.
    """
    parameters = {"since": since, "now": now, "limit": limit}
    listed: dict[ChangeKind, list[Change]] = {kind: [] for kind in ChangeKind}
    totals = dict.fromkeys(ChangeKind, 0)
    for row in db.session.execute(queries.LIST, parameters).mappings():
        kind = ChangeKind(row["change"])
        totals[kind] = row["total"]
        listed[kind].append(_change(row, kind=kind, old=Health(row["old_health"])))
    for row in db.session.execute(queries.BLIPS, parameters).mappings():
        totals[ChangeKind.BLIP] = row["total"]
        listed[ChangeKind.BLIP].append(_change(row, kind=ChangeKind.BLIP, old=Health(row["health"])))
    return Changes(listed, totals)


def _change(row: RowMapping, *, kind: ChangeKind, old: Health) -> Change:
    return Change(
        pipeline_id=row["pipeline_id"],
        pipeline_name=row["pipeline_name"],
        client_id=row["client_id"],
        client_name=row["client_name"],
        platform=row["platform"],
        kind=kind,
        old=old,
        new=Health(row["health"]),
        changed_at=row["changed_at"],
        run_id=row["run_id"],
        error=row.get("error"),
        failures=row.get("failures", 0),
    )
