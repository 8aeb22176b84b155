"""Which alert rules apply to a pipeline, and why."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import and_, or_, select

from chm_web.extensions import db
from chm_web.models import AlertRule
from chm_web.services.pipelines import get_pipeline


class RuleSource(enum.StrEnum):
    """Whose rules apply."""

    PIPELINE = "pipeline"
    CLIENT = "client"
    NONE = "none"


@dataclass(frozen=True)
class EffectiveRules:
    """The enabled rules that apply to a pipeline, whose they are, and the client's rules that they override."""

    source: RuleSource
    rules: tuple[AlertRule, ...]
    overridden: tuple[AlertRule, ...] = ()


def effective_rules(*, pipeline_id: UUID) -> EffectiveRules:
    """Tell which alert rules apply to a pipeline: its own enabled ones, and only where it has none its client's.

    Raises:
        NotFound: there is no such pipeline.
    """
    pipeline = get_pipeline(pipeline_id=pipeline_id)
    of_client = and_(AlertRule.client_id == pipeline.client_id, AlertRule.pipeline_id.is_(None))
    query = (
        select(AlertRule)
        .where(AlertRule.is_enabled, or_(AlertRule.pipeline_id == pipeline.id, of_client))
        .order_by(AlertRule.id)
    )
    found = db.session.scalars(query).all()
    own = tuple(rule for rule in found if rule.pipeline_id is not None)
    clients = tuple(rule for rule in found if rule.pipeline_id is None)
    if own:
        return EffectiveRules(RuleSource.PIPELINE, own, clients)
    return EffectiveRules(RuleSource.CLIENT if clients else RuleSource.NONE, clients)
