"""The end of a request's session, behind its answer: by a commit, where all went well.

psycopg forgets all statements that it has prepared when a transaction is rolled back, which is how sessions end by
themselves: each page would have all its statements parsed and planned anew. Nothing is left to be saved by then, since
services commit what they do.
"""

from __future__ import annotations

import logging

from flask import Flask, Response, g
from psycopg.pq import TransactionStatus
from sqlalchemy.exc import SQLAlchemyError

from chm_web.extensions import db

log = logging.getLogger(__name__)


def init_app(app: Flask) -> None:
    """End the session of each request before the app closes it."""
    app.after_request(_note)
    app.teardown_request(_end)


def _note(response: Response) -> Response:
    g.went_well = response.status_code < 400
    return response


def _end(error: BaseException | None) -> None:
    # A database that went away since the answer was made must not take it back.
    try:
        if g.pop("went_well", False) and error is None and not _is_doubtful():
            db.session.commit()
        db.session.close()
    except SQLAlchemyError as err:
        log.warning("the database went away behind an answer: %s", type(err).__name__)


def _is_doubtful() -> bool:
    """Whether somebody changed objects without saying so, or an error was passed over: neither is to be committed."""
    session = db.session()
    if session.new or session.dirty or session.deleted:
        return True
    if not session.in_transaction():
        return False
    driver = session.connection().connection.driver_connection
    return driver is None or driver.info.transaction_status is TransactionStatus.INERROR
