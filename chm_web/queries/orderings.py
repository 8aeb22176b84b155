"""Orders of lists that are read a page at a time by their keys, in either direction, as SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping

# No number of ours is as great, so what has none comes last in both directions.
_LAST = "1e300"


def microseconds(moment: str) -> str:
    """Give a moment as a number to order by: the microseconds since 1970, which a double holds exactly."""
    return f"CAST(extract(epoch FROM {moment}) * 1000000 AS double precision)"


def after_parameters(after: Sequence[Any] | None) -> dict[str, Any]:
    """Give the parameters of ``Ordering.rest`` for the keys of the last row before; none when there is none."""
    return {f"after_{place}": value for place, value in enumerate(after or ())}


@dataclass(frozen=True, kw_only=True)
class Ordering:
    """What a list is ordered by. Each is an expression over the columns of the list; ``id`` is unique.

    ``first``: numbers, null for what comes last in any case, ascending in both directions. ``numbers``: those that a
    reader orders by, turned round by their signs alone: what is equal in them stays in the order of names.
    ``names``: texts, turned round when there are no numbers.
    """

    first: Sequence[str] = ()
    numbers: Sequence[str] = ()
    names: Sequence[str]
    id: str

    @property
    def types(self) -> list[type]:
        """The types of the keys, of which a cursor is made."""
        numbers = [float] * (len(self.first) + len(self.numbers))
        return [*numbers, *(str for _ in self.names), UUID]

    def kind(self, table: str, name: str, *, descending: bool) -> str:
        """Give what cursors of a table in this order, called ``name``, are tagged with."""
        return f"{table}.{name}.{'desc' if descending else 'asc'}"

    def keys(self, *, descending: bool) -> list[str]:
        """Give the keys' expressions in one direction."""
        turned = [f"-({number})" if descending else number for number in self.numbers]
        numbers = [f"CAST(coalesce({number}, {_LAST}) AS double precision)" for number in [*self.first, *turned]]
        return [*numbers, *self.names, self.id]

    def keys_of(self, row: RowMapping) -> list[Any]:
        """Give the keys of a row that was read with ``columns``."""
        return [row[f"key_{place}"] for place in range(len(self.types))]

    def columns(self, *, descending: bool) -> str:
        """Give the keys as columns, called key_0 and so on."""
        return ", ".join(f"{key} AS key_{place}" for place, key in enumerate(self.keys(descending=descending)))

    def rest(self, *, condition: str = "true", descending: bool, is_continued: bool, is_limited: bool) -> str:
        """Give what follows FROM in a query of one page.

        Continued, it takes the parameters ``after_0`` and so on, the keys of the last row before; limited, ``limit``.
        """
        keys = self.keys(descending=descending)
        is_turned = descending and not self.numbers
        if is_continued:
            after = ", ".join(f":after_{place}" for place in range(len(keys)))
            condition += f" AND ({', '.join(keys)}) {'<' if is_turned else '>'} ({after})"
        order = ", ".join(f"{key} DESC" if is_turned else key for key in keys)
        return f"WHERE {condition} ORDER BY {order}" + (" LIMIT :limit" if is_limited else "")
