"""Keyset paging: stable under inserts, the same cost on every page, no COUNT and no OFFSET."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import Select, SQLColumnExpression, tuple_

from chm_web.extensions import db
from chm_web.services.exceptions import FieldIssue, Invalid

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a list, and the opaque cursor of the next; None after the last."""

    items: list[T]
    next_cursor: str | None


def keyset_page(
    query: Select[T], *, keys: Sequence[SQLColumnExpression[Any]], limit: int, cursor: str | None, kind: str
) -> Page[T]:
    """Read one page of ``query`` in ascending order of ``keys``, which must be unique together and never null.

    Raises:
        Invalid: ``cursor`` was not made for a list of this ``kind``.
    """
    if cursor is not None:
        query = query.where(tuple_(*keys) > tuple_(*decode_cursor(cursor, kind=kind, length=len(keys))))
    rows = db.session.execute(query.add_columns(*keys).order_by(*keys).limit(limit + 1)).all()
    items = [row[0] for row in rows[:limit]]
    return Page(items, encode_cursor(rows[limit - 1][1:], kind=kind) if len(rows) > limit else None)


def encode_cursor(values: Sequence[Any], *, kind: str) -> str:
    """Pack the sort keys of a page's last row, tagged with the ``kind`` of list that they order."""
    packed = json.dumps([kind, *map(_pack, values)], separators=(",", ":"))
    return base64.urlsafe_b64encode(packed.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *, kind: str, length: int) -> list[Any]:
    """Unpack what ``encode_cursor`` packed.

    Raises:
        Invalid: it is damaged, or another list's.
    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        tag, *values = json.loads(raw)
        if tag != kind or len(values) != length:
            raise ValueError(tag)
        return [_unpack(value) for value in values]
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


def _unpack(value: Any) -> Any:
    if isinstance(value, dict):
        if "t" in value:
            moment = datetime.fromisoformat(value["t"])
            if moment.tzinfo is None:
                raise ValueError("a cursor's time has a zone")
            return moment
        return UUID(value["u"])
    if value is not None and not isinstance(value, str):
        raise TypeError(value)
    if isinstance(value, str) and "\0" in value:
        raise ValueError("NUL")
    return value
