"""How long runs are kept: the removal of old ones, without changing what is said of any pipeline today."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from chm_web.extensions import db
from chm_web.queries.retention import old_batch
from chm_web.services.audit import log_report

BATCH_SIZE = 5_000
_BEFORE_ALL = (datetime(1, 1, 1, tzinfo=UTC), UUID(int=0))


@dataclass(frozen=True, slots=True)
class Pruned:
    """How far a removal has come: runs looked at, those removed of them, and the event time that it has reached."""

    looked_at: int = 0
    removed: int = 0
    reached: datetime | None = None

    @property
    def kept(self) -> int:
        """Old runs that stay, since they are under way or something rests on them."""
        return self.looked_at - self.removed


def prune_runs(
    *, before: datetime, dry_run: bool = False, batch_size: int = BATCH_SIZE, pruned_by: str | None = None
) -> Iterator[Pruned]:
    """Remove the runs whose event time is earlier than ``before``, the oldest first, a transaction a batch.

    Of each pipeline these stay, however old: its latest run, its newest success, the run that decides its health and
    the first failure since its newest success; and every run under way. Whoever stops it, or is stopped, loses
    nothing: the next one goes on with what is left. Writers may work meanwhile; a run that one of them holds is left
    for the next time.

    Args:
        before: the moment from which on runs are kept.
        dry_run: count what would be removed and remove nothing.
        batch_size: runs looked at in one transaction.
        pruned_by: who has asked, for the record of changes.

    Yields:
        how far it has come, after every batch.
    """
    statement = old_batch(remove=not dry_run)
    after_at, after_id = _BEFORE_ALL
    so_far = Pruned()
    try:
        while True:
            batch = db.session.execute(
                statement, {"before": before, "after_at": after_at, "after_id": after_id, "size": batch_size}
            ).one()
            db.session.commit()
            if not batch.looked_at:
                return
            after_at, after_id = batch.event_at, batch.id
            so_far = Pruned(so_far.looked_at + batch.looked_at, so_far.removed + batch.removed, after_at)
            yield so_far
    finally:
        # Also of one that was stopped halfway: what is gone is gone.
        if so_far.removed and not dry_run:
            log_report("prune runs", {"removed": so_far.removed}, pruned_by)
