"""Requests that only read end what they have read by a commit.

psycopg forgets all statements that it has prepared when a transaction is rolled back, which is how sessions end by
themselves: each page would have all its statements parsed and planned anew.
"""

from __future__ import annotations

from flask import Flask, request
from sqlalchemy.exc import SQLAlchemyError

from chm_web.extensions import db

_READING = {"GET", "HEAD"}


def init_app(app: Flask) -> None:
    """End the transaction of each request that only reads, before its session is closed."""
    app.teardown_request(_end)


def _end(error: BaseException | None) -> None:
    session = db.session
    # What somebody has changed in objects without saying so is not to be saved by this.
    changed = session.new or session.dirty or session.deleted
    if error is None and request.method in _READING and not changed:
        try:
            session.commit()
        except SQLAlchemyError:
            # What was to be told of the database has been told by then.
            session.rollback()
