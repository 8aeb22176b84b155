"""The state of the database itself: whether it answers, and whether its schema is the one this code was written for."""

from __future__ import annotations

from functools import lru_cache

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from chm_web.config import ROOT
from chm_web.extensions import db
from chm_web.services.exceptions import Unavailable


def check_database() -> None:
    """Check that the database answers.

    Raises:
        SQLAlchemyError: it does not.
    """
    db.session.execute(text("SELECT 1"))
    db.session.commit()


def check_migrations() -> None:
    """Check that the database is at the newest migration.

    Raises:
        Unavailable: it is not.
        SQLAlchemyError: it does not answer.
    """
    current = MigrationContext.configure(db.session.connection()).get_current_revision()
    db.session.commit()
    head, known = _revisions()
    if current is not None and current not in known:
        raise Unavailable(
            f"The schema is at {current}, which this version of CHM does not know: a newer one has upgraded it. Run "
            "that one, or let it go back by: chm db downgrade"
        )
    if current != head:
        raise Unavailable(f"The schema is at {current or 'nothing'}, not at {head}. Run: chm db upgrade")


@lru_cache(maxsize=1)
def _revisions() -> tuple[str, frozenset[str]]:
    """The newest migration, and all that there are."""
    scripts = list(ScriptDirectory(str(ROOT / "migrations")).walk_revisions())
    return scripts[0].revision, frozenset(script.revision for script in scripts)
