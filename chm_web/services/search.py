"""One search over what has a name: clients and pipelines."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, or_, select

from chm_web.extensions import db
from chm_web.models import Client, Pipeline, Platform
from chm_web.services.paging import search_pattern


@dataclass(frozen=True)
class FoundPipeline:
    """A pipeline by its name, with whose it is and where it runs."""

    id: UUID
    name: str
    client_name: str
    platform: Platform
    is_active: bool


@dataclass(frozen=True)
class Found:
    """What bears a name: at most ``limit`` of each kind, and whether there is more."""

    clients: list[Client]
    pipelines: list[FoundPipeline]
    has_more_pipelines: bool


def search(*, q: str, limit: int = 8) -> Found:
    """Find clients and pipelines that have ``q`` in their names, ignoring case; pipelines by their external id too.

    What begins with it comes first, disabled things last.
    """
    pattern = search_pattern(q)
    starts = pattern.removeprefix("%")
    clients = db.session.scalars(
        select(Client)
        .where(Client.name.ilike(pattern, escape="\\"))
        .order_by(Client.is_active.desc(), Client.name.ilike(starts, escape="\\").desc(), func.lower(Client.name))
        .limit(limit)
    ).all()
    in_use = Pipeline.is_active & Client.is_active
    rows = db.session.execute(
        select(Pipeline.id, Pipeline.name, Client.name.label("client_name"), Pipeline.platform, in_use.label("in_use"))
        .join(Client, Client.id == Pipeline.client_id)
        .where(or_(Pipeline.name.ilike(pattern, escape="\\"), Pipeline.external_id.ilike(pattern, escape="\\")))
        .order_by(
            in_use.desc(),
            Pipeline.name.ilike(starts, escape="\\").desc(),
            func.lower(Pipeline.name),
            func.lower(Client.name),
            Pipeline.id,
        )
        .limit(limit + 1)
    ).all()
    found = [FoundPipeline(row.id, row.name, row.client_name, row.platform, row.in_use) for row in rows[:limit]]
    return Found(list(clients), found, len(rows) > limit)
