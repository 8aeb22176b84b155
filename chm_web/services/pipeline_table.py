"""The table of all pipelines: filtered, in one of several orders, a page at a time or all of it."""

from __future__ import annotations

import enum
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping

from chm_web.extensions import db
from chm_web.models import Environment, PipelineType, Platform, RunStatus
from chm_web.queries import pipeline_table as queries
from chm_web.queries.orderings import after_parameters
from chm_web.queries.pipeline_table import Order
from chm_web.services.effective_rules import RuleSource
from chm_web.services.health import Health, StripRun, TimedRun, run_strips, success_seconds
from chm_web.services.paging import JudgedPage, cursor_after, keyset_after, search_pattern
from chm_web.services.plans import kept_plans

STRIP_LENGTH = 14

PipelineOrder = Order


@dataclass(frozen=True, kw_only=True)
class PipelineFilters:
    """What the table is narrowed to; None: any.

    ``in_service``: whether the pipeline and its client are both enabled. ``q``: only names that contain this text.
    """

    q: str | None = None
    client_id: UUID | None = None
    platform: Platform | None = None
    pipeline_type: PipelineType | None = None
    environment: Environment | None = None
    health: Health | None = None
    in_service: bool | None = None


@dataclass(frozen=True, kw_only=True)
class PipelineRow:
    """A pipeline with its health, its last runs and whose rules apply to it. All times are UTC."""

    pipeline_id: UUID
    pipeline_name: str
    client_id: UUID
    client_name: str
    platform: Platform
    pipeline_type: PipelineType
    environment: Environment
    external_id: str | None
    is_active: bool
    client_is_active: bool
    expected_every_minutes: int | None
    health: Health
    since: datetime | None
    last_finished_at: datetime | None
    last_success_at: datetime | None
    running_since: datetime | None
    rule_source: RuleSource
    strip: Sequence[StripRun]

    @property
    def failed(self) -> int:
        """How many of the strip's runs failed."""
        return [run.status for run in self.strip].count(RunStatus.FAILED)

    @property
    def median_seconds(self) -> float | None:
        """What the successful runs of the strip took: their median; None where none of them tells."""
        return median_seconds(self.strip)


def median_seconds(runs: Sequence[TimedRun]) -> float | None:
    """Give the median of what the successful ones of some runs took; None where none of them tells."""
    took = success_seconds(runs)
    return statistics.median(took) if took else None


def list_pipeline_rows(
    *,
    filters: PipelineFilters,
    order: PipelineOrder,
    descending: bool = False,
    now: datetime,
    limit: int = 50,
    cursor: str | None = None,
) -> JudgedPage[PipelineRow]:
    """Give a page of the table.

    Args:
        filters: what it is narrowed to.
        order: by which column; pipelines that are equal in it are by the names of their clients and their own. By
            health: worst first, among the failing and the late those that have been so for longest.
        descending: the other way round.
        now: the moment to judge by; a cursor keeps to that of its first page.
        limit: rows a page.
        cursor: the ``next_cursor`` of the page before.

    Raises:
        Invalid: the cursor is not one of this table in this order.
    """
    ordering = queries.ORDERINGS[order]
    kind = ordering.kind("pipeline_table", order, descending=descending)
    now, after = keyset_after(cursor, kind=kind, types=ordering.types, now=now)
    found = _ordered(filters, order, descending, now=now, after=after, limit=limit + 1)
    next_cursor = cursor_after(found, limit, lambda row: (now, *ordering.keys_of(row)), kind=kind)
    return JudgedPage(_rows([row["pipeline_id"] for row in found[:limit]], now), now, next_cursor)


def judges_all(filters: PipelineFilters, order: PipelineOrder) -> bool:
    """Whether a page under these filters in this order takes a look at all pipelines that there are, or nearly so."""
    is_narrow = filters.client_id is not None or filters.q is not None
    return not is_narrow and (filters.health is not None or order in (Order.HEALTH, Order.FINISHED))


def iterate_pipeline_rows(
    *, filters: PipelineFilters, order: PipelineOrder, descending: bool = False, now: datetime, batch: int = 500
) -> Iterator[PipelineRow]:
    """Give the whole table, as ``list_pipeline_rows`` does a page of it, a ``batch`` of rows at a time."""
    found = _ordered(filters, order, descending, now=now, after=None, limit=None)
    for start in range(0, len(found), batch):
        yield from _rows([row["pipeline_id"] for row in found[start : start + batch]], now)


def _ordered(
    filters: PipelineFilters,
    order: Order,
    descending: bool,
    *,
    now: datetime,
    after: list[Any] | None,
    limit: int | None,
) -> list[RowMapping]:
    wanted = {
        name: value.value if isinstance(value, enum.Enum) else value
        for name, value in vars(filters).items()
        if value is not None
    }
    if filters.q is not None:
        wanted["q"] = search_pattern(filters.q)
    query = queries.ordered_ids(
        order=order,
        descending=descending,
        conditions=tuple(wanted),
        is_continued=after is not None,
        is_limited=limit is not None,
    )
    parameters = {"now": now, "limit": limit, **wanted, **after_parameters(after)}
    return list(db.session.execute(query, parameters).mappings())


def _rows(pipeline_ids: Sequence[UUID], now: datetime) -> list[PipelineRow]:
    """Read all about pipelines, in the order of their ids given; one that is gone meanwhile is left out."""
    if not pipeline_ids:
        return []
    parameters = {"pipeline_ids": list(pipeline_ids), "now": now}
    with kept_plans():
        found = {row["pipeline_id"]: row for row in db.session.execute(queries.ROWS, parameters).mappings()}
        strips = run_strips(pipeline_ids=found, length=STRIP_LENGTH)
    return [_row(found[known], strips[known]) for known in pipeline_ids if known in found]


def _row(values: RowMapping, strip: Sequence[StripRun]) -> PipelineRow:
    kinds: dict[str, type[enum.StrEnum]] = {
        "platform": Platform,
        "pipeline_type": PipelineType,
        "environment": Environment,
        "health": Health,
        "rule_source": RuleSource,
    }
    return PipelineRow(**{**values, **{name: kind(values[name]) for name, kind in kinds.items()}, "strip": strip})
