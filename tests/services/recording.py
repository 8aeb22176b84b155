"""What the tests of ``record_runs`` share."""

from __future__ import annotations

from datetime import datetime, timedelta

from chm_web.models import RunStatus
from chm_web.services.runs import RecordResult, RunRecord, record_runs
from tests.factories import NOW

RUNNING, SKIPPED, CANCELED, SUCCESS, FAILED = RunStatus


def at(minutes: float) -> datetime:
    """A moment, in minutes after NOW."""
    return NOW + timedelta(minutes=minutes)


def record(*records: RunRecord) -> RecordResult:
    """Record one batch."""
    return record_runs(records=records)


def counts(result: RecordResult) -> tuple[int, int, int, int]:
    """Created, updated, unchanged, rejected."""
    return result.created, result.updated, result.unchanged, len(result.rejected)
