"""Counts what goes to PostgreSQL: every statement of this process, those of psycopg's own connection included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import psycopg

_WORDS = 4


@contextmanager
def count_statements() -> Iterator[Counter[str]]:
    """Count statements, COPYs, commits and rollbacks, by their first words."""
    seen: Counter[str] = Counter()
    execute, copy = psycopg.Cursor.execute, psycopg.Cursor.copy
    commit, rollback = psycopg.Connection.commit, psycopg.Connection.rollback

    def name(query: Any) -> str:
        text = query.decode() if isinstance(query, bytes) else str(query)
        return "(is the connection alive?)" if text.strip(" ;") == "" else " ".join(text.split()[:_WORDS])

    def counted_execute(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        seen[name(query)] += 1
        return execute(self, query, *args, **kwargs)

    def counted_copy(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        seen[name(query)] += 1
        return copy(self, query, *args, **kwargs)

    def counted_commit(self: Any) -> None:
        seen["(commit)"] += 1
        commit(self)

    def counted_rollback(self: Any) -> None:
        # One outside a transaction sends nothing: SQLAlchemy's pool does so whenever a connection comes back.
        if self.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            seen["(rollback)"] += 1
        rollback(self)

    with (
        mock.patch.object(psycopg.Cursor, "execute", counted_execute),
        mock.patch.object(psycopg.Cursor, "copy", counted_copy),
        mock.patch.object(psycopg.Connection, "commit", counted_commit),
        mock.patch.object(psycopg.Connection, "rollback", counted_rollback),
    ):
        yield seen
