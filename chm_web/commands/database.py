"""``chm db``: Flask-Migrate's commands, and ``grant-reader``."""

from __future__ import annotations

from flask_migrate.cli import db  # type: ignore[import-not-found]  # the stubs leave it out

from chm_web.commands.explained import explained
from chm_web.commands.reader import grant_reader

__all__ = ["db"]

# They would show a page of traceback where the database cannot be reached.
for _migrating in db.commands.values():
    _migrating.callback = explained(_migrating.callback)
db.add_command(grant_reader)
