"""The end of a request's session, behind its answer: by a commit, where all went well.

psycopg forgets all statements that it has prepared when a transaction is rolled back, which is how sessions end by
themselves: each page would have all its statements parsed and planned anew. Nothing is left to be saved by then, since
services commit what they do.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask, Response, g
from psycopg.pq import TransactionStatus
from sqlalchemy.exc import SQLAlchemyError

from chm_web.extensions import db

log = logging.getLogger(__name__)


def init_app(app: Flask) -> None:
    """End the session of each request before the app closes it."""
    app.after_request(_note)
    app.teardown_request(_keep)
    # Registered behind Flask-SQLAlchemy's own, and so called before it.
    app.teardown_appcontext(_close)


def _note(response: Response) -> Response:
    g.went_well = response.status_code < 400
    return response


def _keep(error: BaseException | None) -> None:
    if g.pop("went_well", False) and error is None:
        with _behind_the_answer():
            if not _is_doubtful():
                db.session.commit()


def _close(_err: BaseException | None) -> None:
    with _behind_the_answer():
        db.session.close()


@contextmanager
def _behind_the_answer() -> Iterator[None]:
    """A database that went away since the answer was made must not take it back."""
    try:
        yield
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
