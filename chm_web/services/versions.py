"""Which version of a thing somebody saw: so that nobody overwrites what another has changed meanwhile."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from sqlalchemy.exc import InvalidRequestError

from chm_web.extensions import db
from chm_web.models import AlertRule, Client, Pipeline, Run
from chm_web.queries import inventory as queries
from chm_web.services.audit import Changes
from chm_web.services.exceptions import NotFound, Stale

Versioned = Client | Pipeline | Run | AlertRule


def version_of(thing: Versioned) -> str:
    """Give the version of a row as a short opaque text: another one after every change."""
    return hashlib.sha256(f"{thing.id}{thing.updated_at}".encode()).hexdigest()[:32]


def inventory_version() -> tuple[str, ...]:
    """Give what differs after every change of a client, a pipeline or an alert rule."""
    return tuple(db.session.execute(queries.VERSION).one())


def apply_changes(
    thing: Versioned, changes: Mapping[str, Any], *, if_version: str | None, updated_by: str | None
) -> Changes:
    """Set the fields named in ``changes`` on a row that is at ``if_version`` (None: any). Does not commit.

    Returns:
        What is different now. Where nothing is, the row stays as it is, and whose it was.

    Raises:
        NotFound: somebody else has deleted it.
        Stale: somebody else has changed it.
    """
    _check_version(thing, if_version)
    before = {name: getattr(thing, name) for name in changes}
    different = {name: (before[name], value) for name, value in changes.items() if before[name] != value}
    for name, (_, value) in different.items():
        setattr(thing, name, value)
    if different:
        thing.updated_by = updated_by
    return different


def _check_version(thing: Versioned, expected: str | None) -> None:
    """Lock a row for the change at hand, and check that it is at the ``expected`` version (None: any).

    Raises:
        NotFound: somebody else has deleted it.
        Stale: somebody else has changed it.
    """
    try:
        # As it stands now, not as the session saw it before; nobody changes it between this look and our commit.
        db.session.refresh(thing, with_for_update=True)
    except InvalidRequestError as err:
        db.session.rollback()
        raise NotFound("Somebody else has deleted this meanwhile.") from err
    if expected is not None and expected != version_of(thing):
        db.session.rollback()
        raise Stale("Somebody else has changed this meanwhile. Read it again and repeat your change.")
