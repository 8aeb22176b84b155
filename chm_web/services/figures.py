"""Figures of the whole fleet for monitoring: cheap, bounded in time, and of nobody in particular."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text

from chm_web.extensions import db
from chm_web.models import RunStatus
from chm_web.queries.outcomes import RECENT_BY_STATUS
from chm_web.services.health import HealthTally, tally_fleet_health
from chm_web.services.transactions import end_reading


@dataclass(frozen=True, kw_only=True)
class FleetFigures:
    """Runs by status, of the last hour and of the last day by their event time, and active pipelines by health."""

    last_hour: dict[RunStatus, int]
    last_day: dict[RunStatus, int]
    health: HealthTally


def count_fleet(*, now: datetime, at_most_seconds: int) -> FleetFigures:
    """Count the fleet's figures at ``now``; no statement may take longer than ``at_most_seconds``.

    Raises:
        OperationalError: the database does not answer, or not in time.
    """
    try:
        db.session.execute(
            text("SELECT set_config('statement_timeout', :limit, true)"), {"limit": f"{at_most_seconds}s"}
        )
        since = {"now": now, "hour_ago": now - timedelta(hours=1), "day_ago": now - timedelta(days=1)}
        rows = {RunStatus(row.status): row for row in db.session.execute(RECENT_BY_STATUS, since)}
        figures = FleetFigures(
            last_hour={status: rows[status].last_hour if status in rows else 0 for status in RunStatus},
            last_day={status: rows[status].last_day if status in rows else 0 for status in RunStatus},
            health=tally_fleet_health(now=now),
        )
        # Also ends the limit, which was this transaction's own.
        end_reading()
    except BaseException:
        db.session.rollback()
        raise
    return figures
