"""Requests that only read end what they have read by a commit.

psycopg forgets all statements that it has prepared when a transaction is rolled back, which is how sessions end by
themselves: each page would have all its statements parsed and planned anew.
"""

from __future__ import annotations

from flask import Flask, Response, g, request
from sqlalchemy.exc import SQLAlchemyError

from chm_web.extensions import db

_READING = {"GET", "HEAD"}


def init_app(app: Flask) -> None:
    """End the transaction of each request that only reads, before its session is closed."""
    app.after_request(_note)
    app.teardown_request(_end)


def _note(response: Response) -> Response:
    g.has_read = request.method in _READING and response.status_code < 400
    return response


def _end(error: BaseException | None) -> None:
    session = db.session
    # What somebody has changed in objects without saying so is not to be saved by this, nor what broke off half-way: a
    # ping may be a GET.
    changed = session.new or session.dirty or session.deleted
    if error is None and g.pop("has_read", False) and not changed:
        try:
            session.commit()
        except SQLAlchemyError:
            # What was to be told of the database has been told by then.
            session.rollback()
