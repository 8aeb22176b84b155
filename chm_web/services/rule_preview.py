"""What an alert rule would do: which pipelines it covers, and how often it would have fired."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from chm_web.extensions import db
from chm_web.models import RuleType
from chm_web.queries import alert_rules as queries
from chm_web.services.clients import get_client
from chm_web.services.exceptions import NotFound
from chm_web.services.pipelines import get_pipeline

LOOK_BACK = timedelta(days=7)


@dataclass(frozen=True)
class Coverage:
    """How many active pipelines a rule applies to, and how many of its client's have enabled rules of their own."""

    covered: int = 0
    overridden: int = 0


@dataclass(frozen=True)
class Firing:
    """How often a rule would have fired for one pipeline, and when it last would have."""

    pipeline_id: UUID
    pipeline_name: str
    times: int
    last_at: datetime


@dataclass(frozen=True)
class RulePreview:
    """What a rule covers, and the pipelines it would have fired for, the noisiest first; None: not to be told."""

    coverage: Coverage
    firings: list[Firing] | None

    @property
    def fired(self) -> int:
        """How often it would have fired, over all pipelines."""
        return sum(firing.times for firing in self.firings or ())


def coverage_by_client(*, client_ids: Collection[UUID], rule_id: UUID | None = None) -> dict[UUID, Coverage]:
    """Give what a rule of each of these clients covers; ``rule_id`` names a rule that counts as if it were not there.

    Disabled pipelines, and all of a disabled client's, are covered by nothing. A pipeline that has an enabled rule of
    its own is not covered by its client's rules.
    """
    rows = db.session.execute(queries.COVERAGE_BY_CLIENT, {"client_ids": list(client_ids), "rule_id": rule_id})
    found = {row.client_id: Coverage(row.covered, row.overridden) for row in rows}
    return {client_id: found.get(client_id, Coverage()) for client_id in client_ids}


def preview_rule(
    *,
    rule_type: RuleType,
    now: datetime,
    client_id: UUID | None = None,
    pipeline_id: UUID | None = None,
    threshold: int | None = None,
    window_minutes: int | None = None,
    rule_id: UUID | None = None,
) -> RulePreview:
    """Say what a rule covers now, and how often it would have fired in the seven days before ``now``.

    ``on_failure`` fires once each time a pipeline turns from not failing to failing: at a failed run whose last
    finished run before it was a success, or that has none before it. Canceled and skipped runs count for nothing, as
    they do for health; further failures in a row do not fire again.

    ``failures_in_window`` fires when a pipeline's failed runs of the last ``window_minutes``, both ends taken in,
    reach ``threshold``; again only after they have fallen below it. Failures are counted for each pipeline alone.

    Args:
        rule_type: what makes it fire.
        now: the moment to look back from; times are event times.
        client_id, pipeline_id: the scope, as a rule has it.
        threshold, window_minutes: of ``failures_in_window``; without them its firings cannot be told.
        rule_id: the rule that is being changed, which is taken as it would be and not as it is.

    Raises:
        NotFound: there is no such client or pipeline, or the pipeline is another client's.
    """
    coverage, client_id = _cover(client_id, pipeline_id, rule_id)
    scope = {"client_id": client_id, "pipeline_id": pipeline_id, "rule_id": rule_id}
    times = {"since": now - LOOK_BACK, "until": now}
    if rule_type is RuleType.ON_FAILURE:
        rows = db.session.execute(queries.FIRINGS_ON_FAILURE, {**scope, **times})
    elif threshold is None or window_minutes is None:
        return RulePreview(coverage, None)
    else:
        window = {"threshold": threshold, "window": timedelta(minutes=window_minutes)}
        rows = db.session.execute(queries.FIRINGS_IN_WINDOW, {**scope, **times, **window})
    firings = [Firing(row.pipeline_id, row.pipeline_name, row.times, row.last_at) for row in rows]
    return RulePreview(coverage, firings)


def _cover(client_id: UUID | None, pipeline_id: UUID | None, rule_id: UUID | None) -> tuple[Coverage, UUID]:
    """Give what a scope covers, and whose it is."""
    if pipeline_id is not None:
        pipeline = get_pipeline(pipeline_id=pipeline_id)
        if client_id not in (None, pipeline.client_id):
            raise NotFound("This pipeline belongs to another client.")
        client = get_client(client_id=pipeline.client_id)
        return Coverage(int(pipeline.is_active and client.is_active)), client.id
    if client_id is None:
        raise NotFound("A rule needs a client or a pipeline.")
    get_client(client_id=client_id)
    return coverage_by_client(client_ids=[client_id], rule_id=rule_id)[client_id], client_id
