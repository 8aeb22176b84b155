"""The table of all clients: how each is doing now, and against the week before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping

from chm_web.extensions import db
from chm_web.queries import client_table as queries
from chm_web.queries.client_table import Order
from chm_web.queries.orderings import after_parameters
from chm_web.services.health import Health, HealthTally
from chm_web.services.outcomes import share_change
from chm_web.services.paging import JudgedPage, cursor_after, keyset_after, search_pattern

DAY = timedelta(hours=24)
WEEK = timedelta(days=7)

ClientOrder = Order


@dataclass(frozen=True, kw_only=True)
class ClientRow:
    """A client with its figures. Its tally counts the enabled pipelines; a disabled client's counts none.

    ``newly_failing``: failing now and not a day ago. ``success_rate``: of the last seven days, ``success_rate_before``
    of the seven before, each None without a finished run. ``rules``: enabled alert rules, its pipelines' included.
    """

    client_id: UUID
    client_name: str
    is_active: bool
    tally: HealthTally
    newly_failing: int
    success_rate: float | None
    success_rate_before: float | None
    rules: int

    @property
    def success_change(self) -> float | None:
        """By how much the success rate has changed; None where there is nothing to compare."""
        return share_change(self.success_rate, self.success_rate_before)


def list_client_rows(
    *,
    now: datetime,
    q: str | None = None,
    is_active: bool | None = None,
    order: ClientOrder = ClientOrder.FAILING,
    descending: bool = False,
    limit: int = 50,
    cursor: str | None = None,
) -> JudgedPage[ClientRow]:
    """Give a page of the table.

    Args:
        now: the moment to judge by; a cursor keeps to that of its first page.
        q: only names that contain this text, ignoring case.
        is_active: only enabled (True) or disabled (False) ones.
        order: by which column; clients that are equal in it are by their names. By a figure, disabled ones are last.
        descending: the other way round.
        limit: rows a page.
        cursor: the ``next_cursor`` of the page before.

    Raises:
        Invalid: the cursor is not one of this table in this order.
    """
    ordering = queries.ORDERINGS[order]
    kind = ordering.kind("client_table", order, descending=descending)
    now, after = keyset_after(cursor, kind=kind, types=ordering.types, now=now)
    found = _read(now=now, q=q, is_active=is_active, order=order, descending=descending, after=after, limit=limit + 1)
    next_cursor = cursor_after(found, limit, lambda row: (now, *ordering.keys_of(row)), kind=kind)
    return JudgedPage([_row(values) for values in found[:limit]], now, next_cursor)


def list_all_client_rows(
    *,
    now: datetime,
    q: str | None = None,
    is_active: bool | None = None,
    order: ClientOrder = ClientOrder.FAILING,
    descending: bool = False,
) -> list[ClientRow]:
    """Give the whole table, as ``list_client_rows`` does a page of it."""
    found = _read(now=now, q=q, is_active=is_active, order=order, descending=descending, after=None, limit=None)
    return [_row(values) for values in found]


def _read(
    *,
    now: datetime,
    q: str | None,
    is_active: bool | None,
    order: Order,
    descending: bool,
    after: list[Any] | None,
    limit: int | None,
) -> list[RowMapping]:
    wanted = {"q": search_pattern(q) if q else None, "is_active": is_active}
    conditions = {name: value for name, value in wanted.items() if value is not None}
    query = queries.clients(
        order=order,
        descending=descending,
        conditions=tuple(conditions),
        is_continued=after is not None,
        is_limited=limit is not None,
    )
    parameters = {
        "now": now,
        "day_ago": now - DAY,
        "week_ago": now - WEEK,
        "two_weeks_ago": now - 2 * WEEK,
        "limit": limit,
        **conditions,
        **after_parameters(after),
    }
    return list(db.session.execute(query, parameters).mappings())


def _row(values: RowMapping) -> ClientRow:
    return ClientRow(
        client_id=values["client_id"],
        client_name=values["client_name"],
        is_active=values["is_active"],
        tally=HealthTally({state: values[state.value] for state in Health}, values["running_now"]),
        newly_failing=values["newly_failing"],
        success_rate=values["success_rate"],
        success_rate_before=values["success_rate_before"],
        rules=values["rules"],
    )
