"""One search over what has a name: clients and pipelines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select, true
from sqlalchemy.sql import ColumnCollection

from chm_web.extensions import db
from chm_web.models import Client, Pipeline, Platform
from chm_web.queries.health import verdict
from chm_web.services.health import Health, count_health_by_client
from chm_web.services.paging import search_pattern

HealthByClient = Mapping[UUID, Mapping[Health, int]]

# A whole name finds one or two. Of more, one look at all pipelines takes less, the more so where it is shared.
_FEW_CLIENTS = 2


@dataclass(frozen=True)
class FoundPipeline:
    """A pipeline by its name, with whose it is, where it runs and how it fares."""

    id: UUID
    name: str
    client_name: str
    platform: Platform
    is_active: bool
    health: Health


@dataclass(frozen=True)
class FoundClient:
    """A client by its name, with how many active pipelines it has in each health; a disabled client's count none."""

    id: UUID
    name: str
    is_active: bool
    counts: Mapping[Health, int]


@dataclass(frozen=True)
class Found:
    """What bears a name: at most ``limit`` of each kind, and whether there is more."""

    clients: list[FoundClient]
    pipelines: list[FoundPipeline]
    has_more_clients: bool
    has_more_pipelines: bool


def search(*, q: str, now: datetime, health_by_client: Callable[[], HealthByClient], limit: int = 8) -> Found:
    """Find clients and pipelines that have ``q`` in their names, ignoring case; pipelines by their external id too.

    What begins with it comes first, disabled things last.

    Args:
        q: what is searched for.
        now: the moment by which pipelines are judged.
        health_by_client: gives what ``count_health_by_client`` does of all clients; asked when more enabled ones are
            found than are judged here.
        limit: at most so many of each kind.
    """
    pattern = search_pattern(q)
    starts = pattern.removeprefix("%")
    clients = db.session.scalars(
        select(Client)
        .where(Client.name.ilike(pattern, escape="\\"))
        .order_by(Client.is_active.desc(), Client.name.ilike(starts, escape="\\").desc(), func.lower(Client.name))
        .limit(limit + 1)
    ).all()
    in_service = [client.id for client in clients[:limit] if client.is_active]
    few = len(in_service) <= _FEW_CLIENTS
    counts = count_health_by_client(client_ids=in_service, now=now) if few else health_by_client()
    in_use = Pipeline.is_active & Client.is_active
    names = (
        select(
            Pipeline.id,
            Pipeline.name,
            Pipeline.platform,
            Pipeline.created_at,
            Pipeline.expected_every_minutes,
            Client.name.label("client_name"),
            in_use.label("in_use"),
            Pipeline.name.ilike(starts, escape="\\").label("begins"),
        )
        .join(Client, Client.id == Pipeline.client_id)
        .where(or_(Pipeline.name.ilike(pattern, escape="\\"), Pipeline.external_id.ilike(pattern, escape="\\")))
    )
    # The best are chosen first: only they are judged.
    best = names.order_by(*_best_first(names.selected_columns)).limit(limit + 1).subquery("p")
    judged = verdict(now=now)
    rows = db.session.execute(select(best, judged.c.health).join(judged, true()).order_by(*_best_first(best.c))).all()
    found_clients = [
        FoundClient(client.id, client.name, client.is_active, counts.get(client.id, {})) for client in clients[:limit]
    ]
    found_pipelines = [
        FoundPipeline(row.id, row.name, row.client_name, row.platform, row.in_use, Health(row.health))
        for row in rows[:limit]
    ]
    return Found(found_clients, found_pipelines, len(clients) > limit, len(rows) > limit)


def _best_first(row: ColumnCollection[str, ColumnElement[Any]]) -> list[ColumnElement[Any]]:
    return [
        row["in_use"].desc(),
        row["begins"].desc(),
        func.lower(row["name"]),
        func.lower(row["client_name"]),
        row["id"],
    ]
