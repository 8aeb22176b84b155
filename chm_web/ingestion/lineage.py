"""Takes OpenLineage events in: find each one's pipeline, record its run, count what belongs to none."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from chm_web.ingestion import queue
from chm_web.ingestion.mapper import Unmappable
from chm_web.ingestion.platforms import openlineage
from chm_web.ingestion.platforms.openlineage import RunEvent, TaskFailure
from chm_web.ingestion.progress import NO_PIPELINE, SEVERAL_PIPELINES, UnmappedReport
from chm_web.models import RunStatus
from chm_web.services.pipelines import KnownPipeline, find_by_external_ids
from chm_web.services.redaction import redact_text
from chm_web.services.run_values import clean_text
from chm_web.services.runs import RecordResult, Rejection, RunRecord, record_runs

log = logging.getLogger(__name__)

SOURCE = "openlineage"
# Error texts wait in Redis for their runs: enough to understand, not a whole log.
_MAX_WAITING_TEXT = 4_000


@dataclass(frozen=True)
class LineageResult:
    """What became of events. Those of the first three wrote runs, or would have had the runs not stood so already."""

    created: int
    updated: int
    unchanged: int
    unmapped: int
    ignored: int
    rejected: tuple[Rejection, ...]


@dataclass
class _Events:
    """Events by what they are; runs and rejected ones by their places."""

    runs: dict[int, RunEvent] = field(default_factory=dict)
    failures: list[TaskFailure] = field(default_factory=list)
    ignored: int = 0
    rejected: list[Rejection] = field(default_factory=list)


def take_events(*, events: Sequence[Any], reported_by: str | None = None) -> LineageResult:
    """Take events in; idempotent, in any order. A bad event never costs the others. ``reported_by``: who sends them.

    Raises:
        Unavailable: the database does not answer. What was written by then may be sent again.
        NotWritable: the database answers, but cannot write.
    """
    read = _read(events)
    records, unmapped = _map(read)
    result = _record(records, reported_by)
    # After the commit: a text that finds its run must find its row too.
    _add_error_texts(read, records, result, reported_by)
    queue.note_unmapped(source=SOURCE, reports=unmapped)
    return LineageResult(
        created=result.created,
        updated=result.updated,
        unchanged=result.unchanged,
        unmapped=len(unmapped),
        ignored=read.ignored,
        rejected=tuple(sorted([*read.rejected, *result.rejected], key=lambda rejection: rejection.index)),
    )


def _read(events: Sequence[Any]) -> _Events:
    read = _Events()
    for index, raw in enumerate(events):
        try:
            event = openlineage.read_event(raw)
        except Exception as err:  # noqa: BLE001 - whatever a stranger's data does to us, it costs that event alone
            read.rejected.append(_rejected(index, raw, err))
            continue
        if isinstance(event, RunEvent):
            read.runs[index] = event
            continue
        read.ignored += 1
        if isinstance(event, TaskFailure):
            read.failures.append(event)
    return read


def _map(read: _Events) -> tuple[dict[int, RunRecord], list[UnmappedReport]]:
    """Give the records of runs by their events' places, and reports of what belongs to no pipeline."""
    wanted = {external_id for event in read.runs.values() for external_id in event.external_ids}
    known = find_by_external_ids(external_ids=wanted) if wanted else {}
    records: dict[int, RunRecord] = {}
    unmapped = []
    for index, event in read.runs.items():
        pipeline = _find_pipeline(event, known)
        if isinstance(pipeline, str):
            unmapped.append(_unmapped(event, pipeline))
            continue
        try:
            records[index] = openlineage.map_run(pipeline.id, event)
        except Exception as err:  # noqa: BLE001 - the same
            read.rejected.append(_rejected(index, event.raw, err))
    return records, unmapped


def _rejected(index: int, raw: Any, err: Exception) -> Rejection:
    if isinstance(err, Unmappable):
        return Rejection(index, None, openlineage.run_id_of(raw), err.field, redact_text(err.issue))
    log.warning("an event broke the mapper: %s", type(err).__name__)
    return Rejection(index, None, openlineage.run_id_of(raw), "event", f"cannot be understood ({type(err).__name__})")


def _find_pipeline(event: RunEvent, known: Mapping[str, list[KnownPipeline]]) -> KnownPipeline | str:
    """Give the one pipeline that an event can mean, or in words why there is none."""
    for external_id in event.external_ids:
        found = known.get(external_id, [])
        if len(found) > 1:
            # One id may stand on several platforms. On one platform it means somebody's, and we cannot know whose.
            found = [pipeline for pipeline in found if pipeline.platform is event.platform]
            if len(found) != 1:
                return SEVERAL_PIPELINES
        if found:
            return found[0]
    return NO_PIPELINE


def _unmapped(event: RunEvent, reason: str) -> UnmappedReport:
    sample = {
        "namespace": event.namespace,
        "job": event.job,
        "job_type": event.job_type,
        "platform": event.platform or "",
        "run_id": event.run_id,
        "event_type": event.type,
        "event_time": event.at.isoformat(),
        "producer": str(event.raw.get("producer") or ""),
    }
    return UnmappedReport(name=event.external_ids[0], reason=reason, status=event.status, sample=sample)


def _record(records: Mapping[int, RunRecord], reported_by: str | None) -> RecordResult:
    """Record runs; rejections name the events' places."""
    if not records:
        return RecordResult()
    places = list(records)
    result = record_runs(records=records.values(), updated_by=reported_by)
    return replace(result, rejected=tuple(replace(each, index=places[each.index]) for each in result.rejected))


def _add_error_texts(
    read: _Events, records: Mapping[int, RunRecord], result: RecordResult, reported_by: str | None
) -> None:
    """Give failed runs the error texts of their failed tasks."""
    refused = {rejection.index for rejection in result.rejected}
    failed = {
        read.runs[index].run_id: queue.RunKey(record.pipeline_id, record.external_run_id, record.finished_at)
        for index, record in records.items()
        if record.status is RunStatus.FAILED and index not in refused
    }
    texts = [(failure.parent_run_id, _waiting_text(failure.text)) for failure in read.failures]
    found = queue.match_failures(failed=failed, texts=texts)
    if found:
        # With the end of the attempt that failed: if the run has begun anew meanwhile, that has nothing of its text.
        record_runs(
            records=[
                RunRecord(
                    pipeline_id=run.pipeline_id,
                    external_run_id=run.external_run_id,
                    status=RunStatus.FAILED,
                    finished_at=run.finished_at,
                    error_message=text,
                )
                for run, text in found
            ],
            updated_by=reported_by,
        )


def _waiting_text(text: str) -> str:
    return (clean_text(text, "error_message") or "")[:_MAX_WAITING_TEXT]
