"""Plans of statements: kept for those that are planned longer than they run.

PostgreSQL plans a statement anew at each execution unless it is a prepared one with a generic plan. That is right where
the best plan depends on the values: how long a window is, which filter is set. A statement that reads all about a few
things by their ids has one plan, and to find it takes 6 to 10 ms on top of 0.5 to 3 ms for running it. So does the look
at the whole fleet, which has one plan as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text

from chm_web.extensions import db

_KEEP = text("SET LOCAL plan_cache_mode = force_generic_plan")
_AS_BEFORE = text("SET LOCAL plan_cache_mode = DEFAULT")
_KEPT = "keeps plans"


@contextmanager
def kept_plans() -> Iterator[None]:
    """Let statements of the block keep one plan for all values, once psycopg has prepared them, at the sixth time.

    Within another such block it is that one's. A block does not end its transaction, and no error is passed over within
    or around it: the setting ends with the transaction.
    """
    kept = db.session.info
    if _KEPT in kept:
        yield
        return
    db.session.execute(_KEEP)
    kept[_KEPT] = True
    try:
        yield
    finally:
        del kept[_KEPT]
    db.session.execute(_AS_BEFORE)
