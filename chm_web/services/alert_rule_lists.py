"""Lists of alert rules by their scope, each with what it covers."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Row, Select, case, func, literal, select, tuple_

from chm_web.extensions import db
from chm_web.models import AlertRule, Channel, Client, Pipeline, RuleType
from chm_web.services.paging import Page, cursor_after, decode_cursor, search_pattern
from chm_web.services.rule_preview import Coverage, coverage_by_client

_KIND = "alert_rules.by_scope"
_CLIENT_NAME = func.lower(Client.name)
# A client's own rules come before those of its pipelines.
_PIPELINE_NAME = func.lower(func.coalesce(Pipeline.name, ""))
_KEYS = (_CLIENT_NAME, _PIPELINE_NAME, AlertRule.id)
# What may be told of a destination (chm_web.services.redaction.redact_address): nobody finds out more by searching.
_TOLD = func.regexp_replace(
    AlertRule.destination, literal(r"^(https?://[^/?#]+)[/?#].+$"), literal(r"\1"), literal("i")
)


@dataclass(frozen=True)
class ListedRule:
    """A rule, whose it is and what it covers; ``pipeline_name`` is None for a rule of a client."""

    rule: AlertRule
    client_id: UUID
    client_name: str
    pipeline_name: str | None
    coverage: Coverage


def list_rules_by_scope(
    *,
    client_id: UUID | None = None,
    is_enabled: bool | None = None,
    channel: Channel | None = None,
    rule_type: RuleType | None = None,
    q: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[ListedRule]:
    """List alert rules by client and pipeline, a page at a time.

    Args:
        client_id: only rules of this client and of its pipelines.
        is_enabled: only enabled (True) or disabled (False) ones.
        channel: only rules that tell by this channel.
        rule_type: only rules of this type.
        q: only rules whose destination contains this text, ignoring case; of a URL the host alone is searched.
        limit: rules a page.
        cursor: the ``next_cursor`` of the page before.

    Raises:
        Invalid: the cursor is not one of this list's.
    """
    wanted = {"is_enabled": is_enabled, "channel": channel, "rule_type": rule_type}
    query = _select_rules().filter_by(**{name: value for name, value in wanted.items() if value is not None})
    if client_id is not None:
        query = query.where(Client.id == client_id)
    if q:
        query = query.where(_TOLD.ilike(search_pattern(q), escape="\\"))
    if cursor is not None:
        query = query.where(tuple_(*_KEYS) > tuple_(*decode_cursor(cursor, kind=_KIND, types=(str, str, UUID))))
    rows = db.session.execute(query.order_by(*_KEYS).limit(limit + 1)).all()
    of_clients = {row.client_id for row in rows[:limit] if row.pipeline_name is None}
    covers = coverage_by_client(client_ids=of_clients) if of_clients else {}
    items = [_listed(row, covers) for row in rows[:limit]]
    return Page(items, cursor_after(rows, limit, lambda row: row[-3:], kind=_KIND))


def _select_rules() -> Select[AlertRule]:
    is_watched = case((Client.is_active.is_(False), False), else_=func.coalesce(Pipeline.is_active, True))
    return (
        select(
            AlertRule,
            Client.id.label("client_id"),
            Client.name.label("client_name"),
            Pipeline.name.label("pipeline_name"),
            is_watched.label("is_watched"),
            *_KEYS,
        )
        .select_from(AlertRule)
        .outerjoin(Pipeline, Pipeline.id == AlertRule.pipeline_id)
        .join(Client, Client.id == func.coalesce(Pipeline.client_id, AlertRule.client_id))
    )


def _listed(row: Row[AlertRule], covers: dict[UUID, Coverage]) -> ListedRule:
    coverage = covers[row.client_id] if row.pipeline_name is None else Coverage(int(row.is_watched))
    return ListedRule(row[0], row.client_id, row.client_name, row.pipeline_name, coverage)
