"""Reads the feed of a whole account at once: what changed in all of its pipelines, in pages that mix them.

A cycle is the changed feed since the watermark, the history of pipelines that are new here, the runs that are held as
running and that the feed did not bring, and the error texts of failed runs that came without one.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from chm_web.ingestion.client import ItemNotFound, SourceBusy, SourceUnreachable
from chm_web.ingestion.job import (
    OVERLAP,
    Mapper,
    Position,
    Reporter,
    Watermarks,
    ask_from,
    map_page,
    reject,
    write_page,
)
from chm_web.ingestion.platforms.pages import RunsPage
from chm_web.ingestion.progress import NO_PIPELINE, SEVERAL_PIPELINES, UnmappedReport
from chm_web.ingestion.sources import Source
from chm_web.models import RunStatus
from chm_web.services.pipelines import IngestTarget, find_registered
from chm_web.services.run_gaps import UntoldFailure, failed_without_text, list_running
from chm_web.services.runs import RunRecord, record_runs

log = logging.getLogger(__name__)

# Under this stands the watermark of the whole feed.
FEED = UUID(int=0)
# Where more pipelines than this are new, the whole feed from the beginning takes fewer requests than one for each.
MANY_NEW = 50
# Requests for single runs in a cycle, at most.
MAX_OPEN, MAX_TEXTS = 100, 50
CHOICE_OF_TEXTS = 500
TEXTS_BACK = timedelta(days=2)
NO_TEXT = "The platform does not tell why."


class Feed(Mapper, Protocol):
    """The runs of one account at a platform."""

    def external_id_of(self, raw: Any) -> str | None:
        """The id of a run's pipeline."""

    def pages(
        self, *, since: datetime | None, cursor: str | None = None, external_id: str | None = None
    ) -> Iterator[RunsPage]:
        """All runs that changed since then, of one pipeline or of all."""

    def fetch(self, external_id: str, run_id: str) -> Any:
        """One run as it is now; None when it is not there any more."""

    def error_text(self, external_id: str, run_id: str) -> str | None:
        """Why a run failed, as far as the platform tells. ItemNotFound where it does not know the run."""


class AccountReporter(Reporter, Protocol):
    """Where the progress of an account's reading goes."""

    def source_done(self, pipelines: int) -> None:
        """A feed of so many pipelines is read to its end."""

    def unmapped(self, source: str, reports: Sequence[UnmappedReport]) -> None:
        """A page held runs of what is no pipeline here."""


class AccountWatermarks(Watermarks, Protocol):
    """How far an account's feed has been read, and for which pipelines."""

    def known(self) -> frozenset[UUID]:
        """The pipelines that the feed was read for."""

    def add_known(self, pipeline_id: UUID) -> None:
        """Remember this pipeline as well."""

    def set_known(self, pipeline_ids: Collection[UUID]) -> None:
        """Remember these pipelines, and no others."""


@dataclass
class _Cycle:
    """What one reading works with, and the running runs that it has seen."""

    source: Source
    feed: Feed
    targets: Sequence[IngestTarget]
    reporter: AccountReporter
    watermarks: AccountWatermarks
    is_alone: bool
    external_ids: dict[UUID, str] = field(default_factory=dict)
    by_external_id: dict[str, list[UUID]] = field(default_factory=dict)
    seen_running: set[tuple[UUID, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        for target in self.targets:
            self.external_ids[target.pipeline_id] = target.external_id
            self.by_external_id.setdefault(target.external_id, []).append(target.pipeline_id)


def ingest_account(
    *,
    source: Source,
    feed: Feed,
    targets: Sequence[IngestTarget],
    reporter: AccountReporter,
    watermarks: AccountWatermarks,
    is_alone: bool,
) -> None:
    """Read what changed in an account and record it, a page a transaction.

    ``targets``: all pipelines of the source; ``is_alone``: whether no other source may know their runs.

    Raises:
        SourceBusy: the platform asks for a longer pause; what was read is kept.
        SourceRefused, SourceUnreachable: the platform cannot be read; what was read is kept.
        Unavailable: the database does not answer.
    """
    cycle = _Cycle(source, feed, targets, reporter, watermarks, is_alone)
    _read_changes(cycle)
    _read_open(cycle)
    _add_texts(cycle)
    reporter.source_done(len(targets))


def _read_changes(cycle: _Cycle) -> None:
    """Read the feed since its watermark, and all runs of pipelines that were not read here before."""
    ids = cycle.external_ids.keys()
    known = cycle.watermarks.known()
    new = [target for target in cycle.targets if target.pipeline_id not in known]
    position = cycle.watermarks.position(FEED)
    since = cycle.watermarks.get(FEED)
    if position is None and since is None:
        new = []
        # Now, and not at the end: a pipeline that is registered while this goes on has missed a part of it.
        cycle.watermarks.set_known(ids)
    elif position is None and len(new) > MANY_NEW:
        # These are known when it has ended: should it be broken off for good, the watermark says nothing of them.
        since, new = None, []
    _resume_or_read(cycle, position, is_from_the_beginning=since is None)
    for target in new:
        try:
            for page in cycle.feed.pages(since=None, external_id=target.external_id):
                _record(cycle, page.runs)
        except ItemNotFound:
            # It may come to be there; its runs then come with the feed.
            log.info("source %s does not know %s", cycle.source.name, target.external_id)
        # Now: a platform that asks for a pause after so many pages would else never be read to the end.
        cycle.watermarks.add_known(target.pipeline_id)
    # What is not read any more (a disabled pipeline) is new again when it comes back.
    if ids != known:
        cycle.watermarks.set_known(ids)


def _resume_or_read(cycle: _Cycle, position: Position | None, *, is_from_the_beginning: bool) -> None:
    if position is not None:
        try:
            _read_feed(cycle, position, position.since)
            return
        except SourceBusy:
            raise
        except (SourceUnreachable, ItemNotFound) as err:
            log.info("source %s: its reading cannot be resumed, starting over: %s", cycle.source.name, err)
            cycle.watermarks.keep_position(FEED, None)
    now = datetime.now(UTC)
    since, is_deep = (None, True) if is_from_the_beginning else ask_from(cycle.watermarks, FEED, now=now)
    _read_feed(cycle, None, since)
    if is_deep:
        cycle.watermarks.set_deep(FEED, now)


def _read_feed(cycle: _Cycle, position: Position | None, since: datetime | None) -> None:
    asked_at = position.asked_at if position else None
    for page in cycle.feed.pages(since=since, cursor=position.cursor if position else None):
        # By the platform's clock where it says it: ours may be ahead of it, and would then skip what came between.
        asked_at = asked_at or page.server_time or datetime.now(UTC)
        _record(cycle, page.runs)
        if page.next_cursor is not None:
            cycle.watermarks.keep_position(FEED, Position(since, page.next_cursor, asked_at))
    if asked_at is not None:
        # Only now: every page before has been committed.
        cycle.watermarks.set(FEED, asked_at - OVERLAP)


def _read_open(cycle: _Cycle) -> None:
    """Ask for runs that are held as running though the feed told nothing of them: they may have ended unseen."""
    silent = [
        (pipeline_id, run_id)
        for pipeline_id, run_id in list_running(platforms=cycle.source.platforms)
        if pipeline_id in cycle.external_ids and (pipeline_id, run_id) not in cycle.seen_running
    ]
    # By chance, so that runs which the platform has forgotten cannot keep the others from their turn.
    chosen = random.sample(silent, min(MAX_OPEN, len(silent)))
    runs = []
    try:
        for pipeline_id, run_id in chosen:
            raw = cycle.feed.fetch(cycle.external_ids[pipeline_id], run_id)
            if raw is not None:
                runs.append(raw)
    finally:
        # A platform that asks for a pause after so many requests would else never be read to the end.
        if runs:
            _record(cycle, runs)


def _add_texts(cycle: _Cycle) -> None:
    """Ask why runs failed whose record does not say it, the newest first."""
    since = datetime.now(UTC) - TEXTS_BACK
    records = []
    try:
        for run in _choose_untold(cycle, since):
            try:
                text = cycle.feed.error_text(cycle.external_ids[run.pipeline_id], run.external_run_id)
            except ItemNotFound:
                if not cycle.is_alone:
                    # It is for the other account to say.
                    continue
                text = None
            # Of the attempt that is held as failed: if it was cleared meanwhile, the new one has nothing of it.
            records.append(
                RunRecord(
                    pipeline_id=run.pipeline_id,
                    external_run_id=run.external_run_id,
                    status=RunStatus.FAILED,
                    started_at=run.started_at,
                    finished_at=run.finished_at,
                    attempt_at=run.attempt_at,
                    error_message=text or NO_TEXT,
                )
            )
    finally:
        # Those of before a pause: they are not asked for again.
        if records:
            record_runs(records=records)


def _choose_untold(cycle: _Cycle, since: datetime) -> list[UntoldFailure]:
    """The newest, where nobody else is asked for them; else by chance, so that another account's leave ours a turn."""
    choice = MAX_TEXTS if cycle.is_alone else CHOICE_OF_TEXTS
    found = failed_without_text(pipeline_ids=cycle.external_ids.keys(), since=since, limit=choice)
    return found if cycle.is_alone else random.sample(found, min(MAX_TEXTS, len(found)))


def _record(cycle: _Cycle, runs: Sequence[Any]) -> None:
    """Record a page of runs of any pipelines; those of no pipeline, or of one of several, are noted."""
    found: list[tuple[UUID, Any]] = []
    strange: list[tuple[str, Any]] = []
    nameless = []
    for raw in runs:
        external_id = cycle.feed.external_id_of(raw)
        if external_id is None:
            reason = "pipeline: the run does not say of which it is"
            nameless.append(reject(cycle.source, None, cycle.feed.run_id_of(raw), reason))
            continue
        pipelines = cycle.by_external_id.get(external_id, [])
        if len(pipelines) == 1:
            found.append((pipelines[0], raw))
        else:
            strange.append((external_id, raw))
    records, rejected = map_page(cycle.source, found, cycle.feed)
    cycle.seen_running |= {
        (record.pipeline_id, record.external_run_id) for record in records if record.status is RunStatus.RUNNING
    }
    write_page(cycle.source, records, [*nameless, *rejected], cycle.reporter)
    _note_strange(cycle, strange)


def _note_strange(cycle: _Cycle, strange: Sequence[tuple[str, Any]]) -> None:
    """Note runs of what nobody has registered, or more than one: somebody may want to."""
    if not strange:
        return
    # A pipeline that is disabled, or another client's where the source serves one, is no news to anybody.
    registered = find_registered(external_ids={external_id for external_id, _ in strange})
    reports = []
    for external_id, raw in strange:
        several = external_id in cycle.by_external_id
        if several or external_id not in registered:
            reason = SEVERAL_PIPELINES if several else NO_PIPELINE
            sample = {"job": external_id, "run_id": cycle.feed.run_id_of(raw) or ""}
            reports.append(UnmappedReport(name=external_id, reason=reason, status=None, sample=sample))
    cycle.reporter.unmapped(cycle.source.name, reports)
