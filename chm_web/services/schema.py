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
    if current != _head():
        raise Unavailable(f"The schema is at {current or 'nothing'}, not at {_head()}. Run: chm db upgrade")


@lru_cache(maxsize=1)
def _head() -> str | None:
    return ScriptDirectory(str(ROOT / "migrations")).get_current_head()
