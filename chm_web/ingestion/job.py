"""Reads a source and records its runs: fetch, map, ``record_runs``, page by page, with progress."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from chm_web.config import Config
from chm_web.ingestion.ahead import read_ahead
from chm_web.ingestion.client import HttpClient, ItemNotFound, SourceBusy, SourceUnreachable, TokenAuth
from chm_web.ingestion.mapper import Unmappable
from chm_web.ingestion.platforms import partner
from chm_web.ingestion.platforms.pages import RunsPage
from chm_web.ingestion.progress import Counts, RejectedRun, UnreadPipeline
from chm_web.ingestion.sources import KINDS, Source
from chm_web.services.pipelines import IngestTarget
from chm_web.services.redaction import redact_text
from chm_web.services.runs import RunRecord, record_runs

log = logging.getLogger(__name__)

# The next cycle asks again for what changed shortly before this one began: clocks differ, commits take time, and
# what is read twice is one row all the same.
OVERLAP = timedelta(minutes=3)

# Once a day what changed in the last two days is read again: a change that was missed is found then.
DEEP_EVERY, DEEP_BACK = timedelta(days=1), timedelta(hours=48)

# One pipeline that cannot be read is its own trouble; this many in a row are the platform's.
GIVE_UP_AFTER = 3


class Reporter(Protocol):
    """Where a source's progress goes."""

    def page(self, counts: Counts, rejected: Sequence[RejectedRun]) -> None:
        """One page is committed."""

    def pipeline_done(self, pipeline_id: UUID) -> None:
        """One pipeline is read to its end, or given up."""

    def unread(self, pipeline: UnreadPipeline) -> None:
        """One pipeline could not be read, which is no reason to stop."""

    def is_done(self, pipeline_id: UUID) -> bool:
        """Whether an earlier visit of this same part has done a pipeline already."""


class Mapper(Protocol):
    """A platform's mapper: pure."""

    def map_run(self, pipeline_id: UUID, raw: Any) -> RunRecord:
        """Map a run, or raise Unmappable."""

    def run_id_of(self, raw: Any) -> str | None:
        """The id by which to name a run that could not be mapped."""


@dataclass(frozen=True)
class Position:
    """How far a pipeline's feed has been read in a reading that is not at its end."""

    since: datetime | None
    cursor: str
    asked_at: datetime


class Watermarks(Protocol):
    """Until when each pipeline of a source has been read. Losing it costs a re-read, nothing else."""

    def get(self, pipeline_id: UUID) -> datetime | None:
        """The time to ask from; None for everything."""

    def set(self, pipeline_id: UUID, moment: datetime) -> None:
        """Remember the time to ask from next; a position is forgotten."""

    def position(self, pipeline_id: UUID) -> Position | None:
        """Where a reading was broken off, if one was."""

    def keep_position(self, pipeline_id: UUID, position: Position | None) -> None:
        """Remember, or forget, where to go on if this reading is broken off."""

    def deep_at(self, pipeline_id: UUID) -> datetime | None:
        """When it was last read further back than its watermark."""

    def set_deep(self, pipeline_id: UUID, moment: datetime) -> None:
        """Remember that it was."""


@dataclass(frozen=True)
class _Reading:
    """What the reading of one source works with."""

    source: Source
    client: HttpClient
    reporter: Reporter
    watermarks: Watermarks


def open_client(
    source: Source, config: Config, *, place: Callable[[], AbstractContextManager[None]] = nullcontext
) -> HttpClient:
    """Make the HTTP client for a source, with the deployment's time-outs and retries.

    ``place``: entered for the length of each request, to keep to what the host may be asked at once.
    """
    return HttpClient(
        base_url=source.base_url,
        auth=TokenAuth(source.token) if source.token else None,
        connect_timeout=config.http_connect_timeout_seconds,
        read_timeout=config.http_timeout_seconds,
        max_retries=config.http_max_retries,
        backoff=config.http_backoff_seconds,
        max_bytes=config.http_max_response_bytes,
        rest=KINDS[source.kind].rest_seconds,
        place=place,
    )


def ingest_pipelines(
    *,
    source: Source,
    client: HttpClient,
    targets: Sequence[IngestTarget],
    reporter: Reporter,
    watermarks: Watermarks,
) -> None:
    """Read the runs of ``targets`` that changed since their watermarks and record them, a page a transaction.

    A pipeline that cannot be read is told to the ``reporter``, and the others are read.

    Raises:
        SourceBusy: the platform asks for a longer pause; what was read is kept.
        SourceRefused, SourceUnreachable: the platform cannot be read; what was read is kept.
        Unavailable: the database does not answer.
    """
    reading = _Reading(source, client, reporter, watermarks)
    unreachable_in_row = 0
    # A platform that asks for pauses is visited several times: each visit goes on where the last one ended.
    left = [target for target in targets if not reporter.is_done(target.pipeline_id)]
    feeds = (_open_feed(reading, target) for target in left)
    ahead = max(0, min(source.concurrency, len(left)) - 1)
    with closing(read_ahead(feeds, lambda feed: feed.pages, ahead=ahead)) as opened:
        for feed, pages in opened:
            target = feed.target
            try:
                _ingest_pipeline(reading, replace(feed, pages=pages))
                unreachable_in_row = 0
            except ItemNotFound as err:
                _tell_unread(reading, target, err)
            except SourceBusy:
                # A busy platform may count as an unreachable one too, but it has said when to come back.
                raise
            except SourceUnreachable as err:
                unreachable_in_row += 1
                if unreachable_in_row == min(GIVE_UP_AFTER, len(targets)):
                    raise
                _tell_unread(reading, target, err)
            reporter.pipeline_done(target.pipeline_id)


def _tell_unread(reading: _Reading, target: IngestTarget, err: ItemNotFound | SourceUnreachable) -> None:
    log.warning("source %s: %s could not be read: %s", reading.source.name, target.external_id, err)
    reading.reporter.unread(
        UnreadPipeline(
            source=reading.source.name,
            pipeline_id=target.pipeline_id,
            external_id=target.external_id,
            reason=str(err),
        )
    )


@dataclass(frozen=True)
class _OpenFeed:
    """A pipeline's feed from where it is to be read, asked for no earlier than ``opened_at``.

    ``is_deep``: from further back than the watermark.
    """

    target: IngestTarget
    position: Position | None
    since: datetime | None
    is_deep: bool
    opened_at: datetime
    pages: Iterator[RunsPage]


def _open_feed(reading: _Reading, target: IngestTarget) -> _OpenFeed:
    now = datetime.now(UTC)
    position = reading.watermarks.position(target.pipeline_id)
    if position:
        since, is_deep = position.since, False
    else:
        since, is_deep = ask_from(reading.watermarks, target.pipeline_id, now=now)
    cursor, limit = position.cursor if position else None, reading.source.page_size
    pages = partner.read_pages(reading.client, target.external_id, updated_since=since, limit=limit, cursor=cursor)
    return _OpenFeed(target, position, since, is_deep, now, pages)


def ask_from(watermarks: Watermarks, pipeline_id: UUID, *, now: datetime) -> tuple[datetime | None, bool]:
    """Tell from when on to ask for changes (None: for everything), and whether that is further back than need be."""
    since, deep_at = watermarks.get(pipeline_id), watermarks.deep_at(pipeline_id)
    is_deep = since is None or deep_at is None or now - deep_at > DEEP_EVERY
    return (min(since, now - DEEP_BACK) if since is not None and is_deep else since), is_deep


def _ingest_pipeline(reading: _Reading, feed: _OpenFeed) -> None:
    if feed.position is not None:
        try:
            # A feed too long for the platform's patience, or for a worker's life, is read over several visits.
            _read_feed(reading, feed)
            return
        except SourceBusy:
            raise
        except (SourceUnreachable, ItemNotFound) as err:
            # Also a 404: to some platforms that is what an old cursor is.
            log.info("pipeline %s: its reading cannot be resumed, starting over: %s", feed.target.external_id, err)
            reading.watermarks.keep_position(feed.target.pipeline_id, None)
            feed = _open_feed(reading, feed.target)
    _read_feed(reading, feed)


def _read_feed(reading: _Reading, feed: _OpenFeed) -> None:
    source, watermarks, pipeline_id = reading.source, reading.watermarks, feed.target.pipeline_id
    asked_at = feed.position.asked_at if feed.position else None
    for page in feed.pages:
        # By the platform's clock where it says it: ours may be ahead of it, and would then skip what came between.
        asked_at = asked_at or page.server_time or feed.opened_at
        records, rejected = map_page(source, ((pipeline_id, raw) for raw in page.runs), partner)
        write_page(source, records, rejected, reading.reporter)
        if page.next_cursor is not None:
            watermarks.keep_position(pipeline_id, Position(feed.since, page.next_cursor, asked_at))
    if asked_at is not None:
        # Only now: every page before has been committed.
        watermarks.set(pipeline_id, asked_at - OVERLAP)
        if feed.is_deep:
            watermarks.set_deep(pipeline_id, feed.opened_at)


def map_page(
    source: Source, runs: Iterable[tuple[UUID, Any]], mapper: Mapper
) -> tuple[list[RunRecord], list[RejectedRun]]:
    """Map runs of these pipelines; what cannot be understood is rejected with its reason."""
    records: list[RunRecord] = []
    rejected: list[RejectedRun] = []
    for pipeline_id, raw in runs:
        try:
            records.append(mapper.map_run(pipeline_id, raw))
        except Unmappable as err:
            rejected.append(reject(source, pipeline_id, mapper.run_id_of(raw), str(err)))
        except Exception as err:  # noqa: BLE001 - whatever a stranger's data does to us, it costs that run alone
            log.warning("a run of pipeline %s broke the mapper: %s", pipeline_id, type(err).__name__)
            reason = f"run: cannot be understood ({type(err).__name__})"
            rejected.append(reject(source, pipeline_id, mapper.run_id_of(raw), reason))
    return records, rejected


def write_page(
    source: Source, records: Sequence[RunRecord], rejected: Sequence[RejectedRun], reporter: Reporter
) -> None:
    """Record a page in a transaction, and report what became of it; ``rejected``: what never came to be a record."""
    result = record_runs(records=records)
    refused = [reject(source, item.pipeline_id, item.external_run_id, item.reason) for item in result.rejected]
    told = [*rejected, *refused]
    reporter.page(Counts(1, result.created, result.updated, result.unchanged, len(told)), told)


def reject(source: Source, pipeline_id: UUID | None, external_run_id: str | None, reason: str) -> RejectedRun:
    """Tell of a run that could not be taken in; what its reason quotes of it is shown without secrets."""
    return RejectedRun(
        source=source.name, pipeline_id=pipeline_id, external_run_id=external_run_id, reason=redact_text(reason)
    )
