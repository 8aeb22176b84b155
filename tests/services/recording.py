"""What the tests of ``record_runs`` share."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa

from chm_web.extensions import db
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


def forget_hashes(pipeline_id: UUID) -> None:
    """Leave a pipeline's runs as rows are that were written before runs had a hash."""
    query = sa.text("UPDATE runs SET content_hash = NULL WHERE pipeline_id = :id AND content_hash IS NOT NULL")
    db.session.execute(query, {"id": pipeline_id})
    db.session.commit()
