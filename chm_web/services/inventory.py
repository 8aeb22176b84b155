"""The inventory as a whole: clients, pipelines and alert rules."""

from __future__ import annotations

from chm_web.extensions import db
from chm_web.queries import inventory as queries


def inventory_version() -> tuple[str, ...]:
    """Give what differs after every change of a client, a pipeline or an alert rule."""
    return tuple(db.session.execute(queries.VERSION).one())
