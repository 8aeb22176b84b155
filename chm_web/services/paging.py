"""Keyset paging: stable under inserts, the same cost on every page, no COUNT and no OFFSET."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import UnionType
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import Select, SQLColumnExpression, tuple_

from chm_web.extensions import db
from chm_web.services.exceptions import FieldIssue, Invalid
from chm_web.services.run_values import UNSTORABLE

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a list, and the opaque cursor of the next; None after the last."""

    items: list[T]
    next_cursor: str | None


@dataclass(frozen=True)
class JudgedPage(Generic[T]):
    """One page of a table, the moment that it is judged at, and the cursor of the next page; None after the last."""

    rows: list[T]
    now: datetime
    next_cursor: str | None


def keyset_page(
    query: Select[T],
    *,
    keys: Sequence[SQLColumnExpression[Any]],
    types: Sequence[type],
    limit: int,
    cursor: str | None,
    kind: str,
) -> Page[T]:
    """Read one page of ``query`` in ascending order of ``keys``, which must be unique together and never null.

    ``types`` are the keys' own, of which a cursor must be made.

    Raises:
        Invalid: ``cursor`` was not made for a list of this ``kind``.
    """
    if cursor is not None:
        query = query.where(tuple_(*keys) > tuple_(*decode_cursor(cursor, kind=kind, types=types)))
    rows = db.session.execute(query.add_columns(*keys).order_by(*keys).limit(limit + 1)).all()
    return Page([row[0] for row in rows[:limit]], cursor_after(rows, limit, lambda row: row[1:], kind=kind))


def keyset_after(
    cursor: str | None, *, kind: str, types: Sequence[type], now: datetime
) -> tuple[datetime, list[Any] | None]:
    """Give the moment that a page is judged at, and the keys of the last row before it; None: it is the first page.

    One listing is judged at one moment, ``now`` for its first page, or a row's place could change between two pages:
    a cursor holds that moment before the keys of ``types``.

    Raises:
        Invalid: ``cursor`` was not made for a list of this ``kind``.
    """
    if cursor is None:
        return now, None
    now, *after = decode_cursor(cursor, kind=kind, types=(datetime, *types))
    return now, after


def cursor_after(rows: Sequence[R], limit: int, keys: Callable[[R], Sequence[Any]], *, kind: str) -> str | None:
    """Give the cursor of the next page, of rows of which one more than ``limit`` was asked for; None after the last.

    ``keys`` gives the sort keys of a row, and whatever else a cursor of this ``kind`` holds.
    """
    return encode_cursor(keys(rows[limit - 1]), kind=kind) if len(rows) > limit else None


def encode_cursor(values: Sequence[Any], *, kind: str) -> str:
    """Pack the sort keys of a page's last row, tagged with the ``kind`` of list that they order."""
    packed = json.dumps([kind, *map(_pack, values)], separators=(",", ":"))
    return base64.urlsafe_b64encode(packed.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *, kind: str, types: Sequence[type | UnionType]) -> list[Any]:
    """Unpack what ``encode_cursor`` packed: one value of each of ``types``.

    Raises:
        Invalid: it is damaged, another list's, or made by hand with values that the list is not ordered by.
    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        tag, *values = json.loads(raw)
        if tag != kind:
            raise ValueError(tag)
        return [_unpack(value, expected) for value, expected in zip(values, types, strict=True)]
    except (binascii.Error, ValueError, TypeError, KeyError, RecursionError) as err:
        issue = "This cursor does not belong to this list. Start again without a cursor."
        raise Invalid("The cursor cannot be used.", (FieldIssue("cursor", issue),)) from err


def search_pattern(q: str) -> str:
    """Make an ILIKE pattern (escape character: backslash) that finds ``q`` anywhere, taken literally."""
    escaped = q.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _pack(value: Any) -> Any:
    if isinstance(value, datetime):
        return {"t": value.isoformat()}
    if isinstance(value, UUID):
        return {"u": str(value)}
    return value


def _unpack(packed: Any, expected: type | UnionType) -> Any:
    value = packed
    if isinstance(packed, dict):
        value = datetime.fromisoformat(packed["t"]) if "t" in packed else UUID(str(packed["u"]))
    # A wrong type would reach the database, which answers that with an error of its own.
    if not isinstance(value, expected):
        raise TypeError(value)
    if isinstance(value, datetime) and value.tzinfo is None:
        raise ValueError("a cursor's time has a zone")
    if isinstance(value, str) and UNSTORABLE.search(value):
        raise ValueError("PostgreSQL cannot hold this text")
    return value
