"""Runs the migrations on the app's own engine, without locking anybody out for long (docs/migrations.md)."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.util import CommandError
from flask import current_app
from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from chm_web.commands.actor import command_line_actor
from chm_web.services.audit import Named, log_change

log = logging.getLogger("chm.migrations")
db = current_app.extensions["migrate"].db

# While a migration waits for its lock, everybody who comes after it waits as well.
LOCK_TIMEOUT = "3s"
TRIES = 20
PAUSE_SECONDS = 3.0
_OTHERS_PAUSE_SECONDS = 0.5
# Each migration is committed by itself: what it locks is free again before the next one begins, and one that builds an
# index outside of any transaction takes nothing with it that is not committed.
_SETTINGS = {"target_metadata": db.metadata, "transaction_per_migration": True}


def run_offline() -> None:
    """Write the SQL instead of running it (``chm db upgrade --sql``)."""
    url = db.engine.url.render_as_string(hide_password=False)
    context.configure(url=url, literal_binds=True, **_SETTINGS)
    context.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    """Apply the migrations; each that cannot have its lock at once lets the others pass and tries again."""
    with db.engine.connect() as connection:
        try:
            _be_alone(connection)
            connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
            connection.commit()
            _try_to_migrate(connection)
        finally:
            # Not back into the pool: the lock on migrations and the timeout belong to its session.
            connection.invalidate()


def _try_to_migrate(connection: Connection) -> None:
    for left in reversed(range(TRIES)):
        try:
            _migrate(connection)
        except OperationalError as err:
            if not isinstance(err.orig, LockNotAvailable):
                raise
            connection.rollback()
            if not left:
                raise CommandError(
                    "A migration could not lock its table: somebody holds it in a long transaction. What came before "
                    "it is done. See who it is (docs/operations.md), then run: chm db upgrade"
                ) from err
            log.warning("A migration lets others pass and tries again (%d tries are left).", left)
            time.sleep(PAUSE_SECONDS)
        else:
            return


def _migrate(connection: Connection) -> None:
    context.configure(connection=connection, compare_type=True, on_version_apply=_record, **_SETTINGS)
    with context.begin_transaction():
        context.run_migrations()


def _record(ctx: MigrationContext, step: MigrationInfo, heads: Collection[Any], run_args: Mapping[str, Any]) -> None:
    """Note a step for the record of changes. Of several that migrate at once each notes what it has done itself."""
    action = "stamp" if step.is_stamp else "upgrade" if step.is_upgrade else "downgrade"
    before, after = (", ".join(ids) or None for ids in (step.source_revision_ids, step.destination_revision_ids))
    database = Named("database", db.engine.url.database)
    log_change(action, database, {"migration": (before, after)}, command_line_actor())


def _be_alone(connection: Connection) -> None:
    """Wait until nobody else migrates: two machines that start at once must not both create the schema.

    Asked for again and again: whoever waits inside a statement would keep the other's CREATE INDEX CONCURRENTLY from
    ever ending, since that waits for all statements that began before it.
    """
    asking = "SELECT pg_try_advisory_lock(hashtext('chm.migrations'))"
    while not connection.exec_driver_sql(asking).scalar_one():
        connection.commit()
        time.sleep(_OTHERS_PAUSE_SECONDS)
    connection.commit()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
