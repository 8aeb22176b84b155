"""The names of things: to choose from, and to say what an id stands for."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import func, select

from chm_web.extensions import db
from chm_web.models import Client, Pipeline


class Named(NamedTuple):
    """A client or a pipeline by its name."""

    id: UUID
    name: str
    is_active: bool


def list_client_names(*, is_active: bool | None = None) -> list[Named]:
    """List all clients by name; with ``is_active``, only the enabled (True) or disabled (False) ones."""
    query = select(Client.id, Client.name, Client.is_active).order_by(func.lower(Client.name), Client.id)
    if is_active is not None:
        query = query.where(Client.is_active == is_active)
    return list(map(Named._make, db.session.execute(query)))


def list_pipeline_names(*, client_id: UUID) -> list[Named]:
    """List a client's pipelines by name, the disabled ones too; none of a client that is not there."""
    query = (
        select(Pipeline.id, Pipeline.name, Pipeline.is_active)
        .where(Pipeline.client_id == client_id)
        .order_by(func.lower(Pipeline.name), Pipeline.id)
    )
    return list(map(Named._make, db.session.execute(query)))


def name_clients(*, client_ids: Collection[UUID]) -> dict[UUID, str]:
    """Give the names of these clients; those that are not there are left out."""
    query = select(Client.id, Client.name).where(Client.id.in_(client_ids))
    return {row.id: row.name for row in db.session.execute(query)} if client_ids else {}


def name_pipelines(*, pipeline_ids: Collection[UUID]) -> dict[UUID, str]:
    """Give the names of these pipelines; those that are not there are left out."""
    query = select(Pipeline.id, Pipeline.name).where(Pipeline.id.in_(pipeline_ids))
    return {row.id: row.name for row in db.session.execute(query)} if pipeline_ids else {}
