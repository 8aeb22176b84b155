"""Lists of pipelines by name, each with its health and its latest run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, SQLColumnExpression, func, select, true, tuple_
from sqlalchemy.orm import aliased

from chm_web.extensions import db
from chm_web.models import Client, Environment, Pipeline, PipelineType, Platform, RunStatus
from chm_web.queries.health import verdict
from chm_web.services.clients import get_client
from chm_web.services.health import Health
from chm_web.services.paging import Page, cursor_after, keyset_after, search_pattern


@dataclass(frozen=True)
class ListedPipeline:
    """A pipeline, what its health was at the moment of the list, and its latest run (None: it has none)."""

    pipeline: Pipeline
    health: Health
    latest_status: RunStatus | None
    latest_run_at: datetime | None


def list_client_pipelines(
    *,
    client_id: UUID,
    now: datetime,
    is_active: bool | None = None,
    platform: Platform | None = None,
    q: str | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[ListedPipeline]:
    """List a client's pipelines by name, a page at a time.

    Args:
        client_id: whose.
        now: the moment to judge health by; a cursor keeps to that of its first page.
        is_active: only enabled (True) or disabled (False) ones.
        platform: only those on this platform.
        q: only names that contain this text, ignoring case.
        limit: pipelines a page.
        cursor: the ``next_cursor`` of the page before.

    Raises:
        NotFound: there is no such client.
        Invalid: the cursor is not one of this list's.
    """
    get_client(client_id=client_id)
    query = _select_pipelines(q, client_id=client_id, is_active=is_active, platform=platform)
    return _judged_page(query, _Order("pipelines", (_NAME,)), now=now, health=None, limit=limit, cursor=cursor)


def list_pipelines(
    *,
    now: datetime,
    client_id: UUID | None = None,
    platform: Platform | None = None,
    pipeline_type: PipelineType | None = None,
    environment: Environment | None = None,
    health: Health | None = None,
    is_active: bool | None = None,
    q: str | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[ListedPipeline]:
    """List the pipelines of all clients by the client's name and their own, a page at a time.

    Args:
        now: the moment to judge health by; a cursor keeps to that of its first page.
        client_id: only those of this client.
        platform: only those on this platform.
        pipeline_type: only those of this type.
        environment: only those deployed here.
        health: only those in this state of health.
        is_active: only enabled (True) or disabled (False) ones, whatever their client is.
        q: only names that contain this text, ignoring case.
        limit: pipelines a page.
        cursor: the ``next_cursor`` of the page before.

    Raises:
        Invalid: the cursor is not one of this list's.
    """
    query = _select_pipelines(
        q,
        client_id=client_id,
        platform=platform,
        pipeline_type=pipeline_type,
        environment=environment,
        is_active=is_active,
    ).join(Client, Client.id == Pipeline.client_id)
    order = _Order("pipelines.fleet", (func.lower(Client.name), _NAME))
    return _judged_page(query, order, now=now, health=health, limit=limit, cursor=cursor)


_NAME = func.lower(Pipeline.name)


@dataclass(frozen=True)
class _Order:
    """The names by which a kind of list is ordered; pipelines of one name are by their ids."""

    kind: str
    names: Sequence[SQLColumnExpression[str]]

    @property
    def keys(self) -> list[SQLColumnExpression[Any]]:
        return [*self.names, Pipeline.id.expression]

    @property
    def types(self) -> tuple[type, ...]:
        """The types of the keys, of which a cursor is made."""
        return (*(str for _ in self.names), UUID)


def _select_pipelines(q: str | None, **wanted: Any) -> Select[Pipeline]:
    """Select pipelines whose columns have the ``wanted`` values (None: any) and whose name contains ``q``."""
    query = select(Pipeline).filter_by(**{name: value for name, value in wanted.items() if value is not None})
    if q:
        query = query.where(Pipeline.name.ilike(search_pattern(q), escape="\\"))
    return query


def _judged_page(
    query: Select[Pipeline], order: _Order, *, now: datetime, health: Health | None, limit: int, cursor: str | None
) -> Page[ListedPipeline]:
    """Read a page of ``query`` in order, and judge it.

    The pipelines are put in order first and judged one after the other, so that the page ends the reading: with a
    ``health`` as soon as so many have it, without one those of the page alone are judged.
    """
    now, after = keyset_after(cursor, kind=order.kind, types=order.types, now=now)
    if after is not None:
        query = query.where(tuple_(*order.keys) > tuple_(*after))
    ordered = query.add_columns(*(key.label(f"key_{place}") for place, key in enumerate(order.keys)))
    ordered = ordered.order_by(*order.keys)
    if health is None:
        ordered = ordered.limit(limit + 1)
    candidates = ordered.subquery("p")
    keys = [candidates.c[f"key_{place}"] for place in range(len(order.keys))]
    judged = verdict(now=now)
    page = (
        select(aliased(Pipeline, candidates), judged.c.health, judged.c.latest_status, judged.c.latest_run_at, *keys)
        .join(judged, true())
        .order_by(*keys)
        .limit(limit + 1)
    )
    if health is not None:
        page = page.where(judged.c.health == health.value)
    rows = db.session.execute(page).all()
    items = [ListedPipeline(row[0], Health(row.health), row.latest_status, row.latest_run_at) for row in rows[:limit]]
    return Page(items, cursor_after(rows, limit, lambda row: (now, *row[4:]), kind=order.kind))
