"""Lists of runs: of one pipeline in the latest-run order, of all pipelines by event time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, Uuid, any_, func, literal, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import defer, joinedload
from sqlalchemy.sql.base import ExecutableOption

from chm_web.extensions import db
from chm_web.models import Client, Pipeline, Platform, Run, RunStatus
from chm_web.queries import run_lists as queries
from chm_web.services.exceptions import FieldIssue, Invalid
from chm_web.services.paging import Page, cursor_after, decode_cursor, search_pattern
from chm_web.services.pipelines import get_pipeline

ERROR_SEARCH = timedelta(days=31)
"""Error texts are looked through in windows of this length at most: one by one, since no index knows their words."""

_FLEET = "runs.fleet"
_RUNS_AT_ONCE = 500
_KEYS_AT_ONCE = 5_000


@dataclass(frozen=True, kw_only=True)
class RunFilter:
    """Which runs of all pipelines are meant; None: any.

    ``since`` (inclusive) and ``until`` (exclusive) are on event time; ``q`` is part of the pipeline's name. ``error``
    is part of what went wrong, of failed runs alone; it takes a window of ``ERROR_SEARCH`` at most.
    """

    client_id: UUID | None = None
    pipeline_id: UUID | None = None
    platform: Platform | None = None
    q: str | None = None
    status: RunStatus | None = None
    since: datetime | None = None
    until: datetime | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedRun:
    """What a list tells of a run, with the names of its pipeline and client."""

    id: UUID
    pipeline_id: UUID
    pipeline_name: str
    client_id: UUID
    client_name: str
    status: RunStatus
    started_at: datetime | None
    finished_at: datetime | None
    event_at: datetime
    duration_seconds: float | None
    rows_processed: int | None
    error_message: str | None
    status_reason: str | None


def list_pipeline_runs(
    *,
    pipeline_id: UUID,
    status: RunStatus | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 100,
    order: str = "desc",
    cursor: str | None = None,
    payloads: bool = True,
) -> Page[Run]:
    """List a pipeline's runs in the latest-run order (``desc``) or the reverse (``asc``), a page at a time.

    Args:
        pipeline_id: whose runs.
        status: only runs in this state.
        since: only runs with an event time from here on.
        until: only runs with an event time before this.
        limit: runs a page.
        order: ``desc`` or ``asc``.
        cursor: the ``next_cursor`` of the page before.
        payloads: whether each run has its payload at hand.

    Raises:
        NotFound: there is no such pipeline.
        Invalid: the cursor is not one of this list's, or since is not before until.
    """
    get_pipeline(pipeline_id=pipeline_id)
    query = select(Run).where(Run.pipeline_id == pipeline_id, *_conditions(status, since, until))
    if not payloads:
        query = query.options(defer(Run.payload))
    return _latest_order_page(query, descending=order == "desc", limit=limit, cursor=cursor)


def list_runs(*, wanted: RunFilter, limit: int = 100, cursor: str | None = None) -> Page[Run]:
    """List the runs of all pipelines, the newest by event time first, a page at a time.

    Args:
        wanted: which runs.
        limit: runs a page.
        cursor: the ``next_cursor`` of the page before.

    Raises:
        Invalid: the cursor is not one of this list's, since is not before until, or the window is too long for a search
            in error texts.
    """
    items = list(db.session.scalars(_fleet_page(select(Run), wanted, limit, cursor)))
    return Page(items[:limit], cursor_after(items, limit, _place, kind=_FLEET))


def list_named_runs(*, wanted: RunFilter, limit: int = 100, cursor: str | None = None) -> Page[NamedRun]:
    """List the runs of all pipelines as ``list_runs`` does, with the names that a reader wants beside them.

    Raises:
        Invalid: the cursor is not one of this list's, since is not before until, or the window is too long for a
            search in error texts.
    """
    query = (
        select(*_NAMED_COLUMNS)
        .select_from(Run)
        .join(Pipeline, Pipeline.id == Run.pipeline_id)
        .join(Client, Client.id == Pipeline.client_id)
    )
    rows = db.session.execute(_fleet_page(query, wanted, limit, cursor)).mappings()
    items = [NamedRun(**row) for row in rows]
    return Page(items[:limit], cursor_after(items, limit, _place, kind=_FLEET))


def read_runs(*, wanted: RunFilter, limit: int) -> Iterator[Run]:
    """Read the newest runs of all pipelines by event time, one after the other.

    Each has its pipeline and client at hand, and no payload. No more than a few hundred are in memory at once.

    Raises:
        Invalid: since is not before until, or the window is too long for a search in error texts.
    """
    # Of a few pipelines the keys are had at once; of many, one range of the event order after the other, so that no
    # statement is long and all of them together go through the window once.
    few = wanted.client_id is not None or wanted.pipeline_id is not None
    at_once = limit if few else min(limit, _KEYS_AT_ONCE)
    first = db.session.execute(_keys(wanted, limit=at_once, after=None, in_order=not few)).all()
    return _read_on(wanted, first, limit=limit, at_once=at_once)


def _read_on(wanted: RunFilter, keys: Sequence[Row[UUID, datetime]], *, limit: int, at_once: int) -> Iterator[Run]:
    left = limit
    while keys:
        yield from _read_by_ids([key.id for key in keys], joinedload(Run.pipeline).joinedload(Pipeline.client))
        left -= len(keys)
        if len(keys) < at_once or left <= 0:
            return
        after = (keys[-1].event_at, keys[-1].id)
        keys = db.session.execute(_keys(wanted, limit=min(at_once, left), after=after, in_order=True)).all()


def read_pipeline_runs(
    *,
    pipeline_id: UUID,
    status: RunStatus | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int,
) -> Iterator[Run]:
    """Read a pipeline's runs in the latest-run order, one after the other, without their payloads.

    Raises:
        NotFound: there is no such pipeline.
        Invalid: since is not before until.
    """
    get_pipeline(pipeline_id=pipeline_id)
    wanted = [Run.pipeline_id == pipeline_id, *_conditions(status, since, until)]
    ids = db.session.scalars(select(Run.id).where(*wanted).order_by(*_latest_order(descending=True)).limit(limit))
    return _read_by_ids(ids.all())


def _read_by_ids(ids: Sequence[UUID], *options: ExecutableOption) -> Iterator[Run]:
    for start in range(0, len(ids), _RUNS_AT_ONCE):
        chunk = ids[start : start + _RUNS_AT_ONCE]
        query = select(Run).where(Run.id == any_(literal(chunk, ARRAY(Uuid)))).options(defer(Run.payload), *options)
        found = {run.id: run for run in db.session.scalars(query)}
        for run in found.values():
            db.session.expunge(run)
        # Whoever takes these may be slow: no transaction may stay open meanwhile.
        db.session.commit()
        yield from (found[run_id] for run_id in chunk if run_id in found)


# -- what lists have in common ------------------------------------------------------------------------------------


def check_window(since: datetime | None, until: datetime | None) -> None:
    """Refuse a window that holds no moment.

    Raises:
        Invalid: since is not before until.
    """
    if since is not None and until is not None and since >= until:
        raise Invalid("The window is empty.", (FieldIssue("since", "Must be before until."),))


def _conditions(status: RunStatus | None, since: datetime | None, until: datetime | None) -> list[ColumnElement[bool]]:
    check_window(since, until)
    found: list[ColumnElement[bool]] = []
    if status is not None:
        found.append(Run.status == status)
    if since is not None:
        found.append(Run.event_at >= since)
    if until is not None:
        found.append(Run.event_at < until)
    return found


def _pipeline_conditions(wanted: RunFilter) -> list[ColumnElement[bool]]:
    """What is wanted of the pipelines; nothing when any will do."""
    found: list[ColumnElement[bool]] = []
    if wanted.pipeline_id is not None:
        found.append(Pipeline.id == wanted.pipeline_id)
    if wanted.client_id is not None:
        found.append(Pipeline.client_id == wanted.client_id)
    if wanted.platform is not None:
        found.append(Pipeline.platform == wanted.platform)
    if wanted.q:
        found.append(Pipeline.name.ilike(search_pattern(wanted.q), escape="\\"))
    return found


_NAMED_COLUMNS = (
    *(Run.id, Run.pipeline_id, Run.status, Run.started_at, Run.finished_at, Run.event_at, Run.duration_seconds),
    *(Run.rows_processed, Run.error_message, Run.status_reason),
    *(Pipeline.name.label("pipeline_name"), Pipeline.client_id, Client.name.label("client_name")),
)


def _fleet_page(query: Any, wanted: RunFilter, limit: int, cursor: str | None) -> Select[Any]:
    """Narrow a query of runs to one page, and one run more where there is a next page."""
    after = None if cursor is None else decode_cursor(cursor, kind=_FLEET, types=(datetime, UUID))
    # The page's keys come from the indexes alone; of the runs themselves only those of the page are read.
    keys = _keys(wanted, limit=limit + 1, after=after).subquery("page")
    page: Select[Any] = query.join(keys, keys.c.id == Run.id)
    return page.order_by(keys.c.event_at.desc(), keys.c.id.desc())


def _place(run: Run | NamedRun) -> tuple[datetime, UUID]:
    return run.event_at, run.id


def _error_conditions(wanted: RunFilter) -> list[ColumnElement[bool]]:
    """What is wanted of the error text, as pages show it. Failures have an index of their own, by event time.

    Raises:
        Invalid: the window is too long.
    """
    if wanted.error is None:
        return []
    if wanted.since is None or (wanted.until or datetime.now(UTC)) - wanted.since > ERROR_SEARCH:
        issue = f"Error texts are searched in a window of {ERROR_SEARCH.days} days at most."
        raise Invalid("The window is too long.", (FieldIssue("since", issue),))
    text = func.coalesce(Run.error_message, Run.status_reason)
    return [Run.status == RunStatus.FAILED, text.ilike(search_pattern(wanted.error), escape="\\")]


def _keys(
    wanted: RunFilter, *, limit: int, after: Sequence[Any] | None, in_order: bool = False
) -> Select[UUID, datetime]:
    """Select the keys of a page; ``in_order``: by going through the event order, however many pipelines are asked."""
    conditions = [*_conditions(wanted.status, wanted.since, wanted.until), *_error_conditions(wanted)]
    if after is not None:
        conditions.append(tuple_(Run.event_at, Run.id) < tuple_(*after))
    of_pipelines = _pipeline_conditions(wanted)
    if not of_pipelines:
        return queries.newest(where=conditions, limit=limit)
    pipelines = select(Pipeline.id).where(*of_pipelines)
    # Failed and running ones have indexes of their own, which are short: quicker than to ask thousands of pipelines one
    # by one.
    is_short = (
        wanted.client_id is None
        and wanted.pipeline_id is None
        and wanted.status in (RunStatus.FAILED, RunStatus.RUNNING)
    )
    if in_order or is_short or wanted.error is not None:
        return queries.newest(where=[*conditions, Run.pipeline_id.in_(pipelines)], limit=limit)
    return queries.newest_of_each(pipelines=pipelines, where=conditions, limit=limit)


# -- reading a page in the latest-run order -----------------------------------------------------------------------


def _latest_order_page(query: Select[Run], *, descending: bool, limit: int, cursor: str | None) -> Page[Run]:
    kind = f"runs.{'desc' if descending else 'asc'}"
    parts = [query]
    if cursor is not None:
        types = (datetime | None, datetime | None, UUID)
        parts = _after(query, decode_cursor(cursor, kind=kind, types=types), descending)
    items: list[Run] = []
    # One index range a part, read one after the other: an OR over all of them cost ten times as much.
    for part in parts:
        items += db.session.scalars(part.order_by(*_latest_order(descending)).limit(limit + 1 - len(items)))
        if len(items) > limit:
            break
    next_cursor = cursor_after(items, limit, lambda run: (run.started_at, run.finished_at, run.id), kind=kind)
    return Page(items[:limit], next_cursor)


def _latest_order(descending: bool) -> list[ColumnElement[Any]]:
    if descending:
        return [Run.started_at.desc().nulls_last(), Run.finished_at.desc().nulls_last(), Run.id.desc()]
    return [Run.started_at.asc().nulls_first(), Run.finished_at.asc().nulls_first(), Run.id.asc()]


def _after(query: Select[Run], key: Sequence[Any], descending: bool) -> list[Select[Run]]:
    """The rows behind ``key``, as queries to read in this order. Null is the smallest value of each column."""
    started, finished, run_id = key

    def beyond(column: ColumnElement[Any], value: Any) -> list[ColumnElement[bool]]:
        if descending:
            return [] if value is None else [column < value, column.is_(None)]
        return [column.is_not(None)] if value is None else [column > value]

    def same(column: ColumnElement[Any], value: Any) -> ColumnElement[bool]:
        return column.is_(None) if value is None else column == value

    same_start = same(Run.started_at.expression, started)
    same_finish = same(Run.finished_at.expression, finished)
    beyond_id = Run.id < run_id if descending else Run.id > run_id
    return [
        query.where(same_start, same_finish, beyond_id),
        *(query.where(same_start, part) for part in beyond(Run.finished_at.expression, finished)),
        *(query.where(part) for part in beyond(Run.started_at.expression, started)),
    ]
