"""Clients: the people whose pipelines are run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import func, select

from chm_web.extensions import db
from chm_web.models import Client
from chm_web.services.audit import all_of, log_change
from chm_web.services.conflicts import commit_explained
from chm_web.services.exceptions import NotFound
from chm_web.services.paging import Page, keyset_page, search_pattern
from chm_web.services.versions import apply_changes


def create_client(*, name: str, is_active: bool = True, updated_by: str | None = None) -> Client:
    """Create a client.

    Raises:
        Conflict: the name is taken (ignoring case).
        Invalid: the name is empty.
    """
    client = Client(name=name.strip(), is_active=is_active, updated_by=updated_by)
    db.session.add(client)
    commit_explained()
    log_change("create", client, all_of(client), updated_by)
    return client


def get_client(*, client_id: UUID) -> Client:
    """Give one client.

    Raises:
        NotFound: there is no such client.
    """
    client = db.session.get(Client, client_id)
    if client is None:
        raise NotFound(f"There is no client {client_id}.")
    return client


def find_client(*, name_or_id: str) -> Client:
    """Give the client of this id, else of this name, ignoring case.

    Raises:
        NotFound: there is no such client.
    """
    try:
        which = Client.id == UUID(name_or_id)
    except ValueError:
        which = func.lower(Client.name) == func.lower(name_or_id.strip())
    client = db.session.scalars(select(Client).where(which)).one_or_none()
    if client is None:
        raise NotFound(f"There is no client {name_or_id!r}.")
    return client


def update_client(
    *, client_id: UUID, changes: Mapping[str, Any], if_version: str | None = None, updated_by: str | None = None
) -> Client:
    """Change the fields named in ``changes``: name, is_active. ``updated_by``: who does it, here and everywhere.

    Raises:
        NotFound: there is no such client.
        Stale: the client is not at ``if_version`` any more.
        Conflict: the name is taken (ignoring case).
        Invalid: the name is empty.
    """
    client = get_client(client_id=client_id)
    changed = apply_changes(client, changes, if_version=if_version, updated_by=updated_by)
    commit_explained()
    log_change("update", client, changed, updated_by)
    return client


def disable_client(*, client_id: UUID, updated_by: str | None = None) -> None:
    """Leave a client and its pipelines out of the active views; its history stays. Doing it twice is fine.

    Raises:
        NotFound: there is no such client.
    """
    update_client(client_id=client_id, changes={"is_active": False}, updated_by=updated_by)


def list_clients(
    *, is_active: bool | None = None, q: str | None = None, limit: int = 100, cursor: str | None = None
) -> Page[Client]:
    """List clients by name, a page at a time.

    Args:
        is_active: only enabled (True) or disabled (False) ones.
        q: only names that contain this text, ignoring case.
        limit: clients a page.
        cursor: the ``next_cursor`` of the page before.

    Raises:
        Invalid: the cursor is not one of this list's.
    """
    query = select(Client)
    if is_active is not None:
        query = query.where(Client.is_active == is_active)
    if q:
        query = query.where(Client.name.ilike(search_pattern(q), escape="\\"))
    keys = (func.lower(Client.name), Client.id)
    return keyset_page(query, keys=keys, types=(str, UUID), limit=limit, cursor=cursor, kind="clients")
