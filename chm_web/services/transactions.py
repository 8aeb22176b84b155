"""Several operations in one transaction: all of them happen, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from chm_web.extensions import db

_told_later: ContextVar[list[Callable[[], None]] | None] = ContextVar("chm_told_later", default=None)


@contextmanager
def one_transaction(*, keep: bool = True) -> Iterator[None]:
    """Let the services that create and change things work in one transaction for the length of the block.

    Each of them still meets the database's constraints at once. An error of the block undoes all of it, and so does
    the end of the block without ``keep``: what would happen has then been tried and not only reckoned.
    """
    later: list[Callable[[], None]] = []
    token = _told_later.set(later)
    try:
        yield
        if keep:
            db.session.commit()
    finally:
        _told_later.reset(token)
        # After a commit there is nothing left to undo.
        db.session.rollback()
    for tell in later if keep else ():
        tell()


def end_reading() -> None:
    """End the transaction of what has been read so far: whoever is to be waited for must not keep it open."""
    db.session.commit()


def is_joined() -> bool:
    """Tell whether a block of ``one_transaction`` is to commit what is done now."""
    return _told_later.get() is not None


def after_commit(tell: Callable[[], None]) -> None:
    """Call ``tell`` once what has been done is committed: at once, or at the end of the block."""
    later = _told_later.get()
    if later is None:
        tell()
    else:
        later.append(tell)
