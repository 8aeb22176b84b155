"""Clients: the people whose pipelines are run."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from chm_web.extensions import db
from chm_web.models import Client
from chm_web.services.conflicts import translate_conflict
from chm_web.services.exceptions import NotFound
from chm_web.services.paging import Page, keyset_page, search_pattern


def create_client(*, name: str, is_active: bool = True) -> Client:
    """Create a client.

    Raises:
        Conflict: the name is taken (ignoring case).
        Invalid: the name is empty.
    """
    client = Client(name=name.strip(), is_active=is_active)
    db.session.add(client)
    try:
        db.session.commit()
    except IntegrityError as err:
        raise translate_conflict(err) from err
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
