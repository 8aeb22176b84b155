"""The newest runs of many pipelines, as keys alone: the indexes hold all that these queries ask for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, select, true

from chm_web.models import Run

Conditions = Sequence[ColumnElement[bool]]


def newest(*, where: Conditions, limit: int) -> Select[UUID, datetime]:
    """Select the id and the event time of the newest runs, in one range of the event order."""
    return select(Run.id, Run.event_at).where(*where).order_by(*_newest_first(Run)).limit(limit)


def newest_of_each(*, pipelines: Select[UUID], where: Conditions, limit: int) -> Select[UUID, datetime]:
    """Select the id and the event time of the newest runs of ``pipelines``, a query for their ids.

    The ``limit`` newest runs belong to the ``limit`` pipelines whose newest run is the newest: one index descent a
    pipeline finds these, and only they are read further. So a few pipelines never cost a scan of the fleet's history,
    nor do thousands of them cost as many lists.
    """
    scope = pipelines.subquery("p")
    last = _newest_of(scope.c.id, where, limit=1).lateral("last")
    leading = (
        select(scope.c.id)
        .select_from(scope)
        .join(last, true())
        .order_by(*_newest_first(last.c))
        .limit(limit)
        .subquery("leading")
    )
    theirs = _newest_of(leading.c.id, where, limit=limit).lateral("theirs")
    return (
        select(theirs.c.id, theirs.c.event_at)
        .select_from(leading)
        .join(theirs, true())
        .order_by(*_newest_first(theirs.c))
        .limit(limit)
    )


def _newest_of(pipeline_id: ColumnElement[UUID], where: Conditions, limit: int) -> Select[UUID, datetime]:
    return newest(where=[Run.pipeline_id == pipeline_id, *where], limit=limit)


def _newest_first(of: Any) -> list[ColumnElement[Any]]:
    return [of.event_at.desc(), of.id.desc()]
