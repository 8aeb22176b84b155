"""Runs the migrations on the app's own engine."""

from __future__ import annotations

from alembic import context
from flask import current_app

db = current_app.extensions["migrate"].db


def run_offline() -> None:
    """Write the SQL instead of running it (``chm db upgrade --sql``)."""
    url = db.engine.url.render_as_string(hide_password=False)
    context.configure(url=url, target_metadata=db.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    """Apply the migrations, each start of an app waiting for the one that is already migrating."""
    with db.engine.connect() as connection:
        context.configure(connection=connection, target_metadata=db.metadata, compare_type=True)
        with context.begin_transaction():
            # Two machines that start at once must not both create the schema.
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('chm.migrations'))")
            context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
