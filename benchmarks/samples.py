"""Run records as a platform would report them, the same for the same round: half of them carry a small payload."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from benchmarks.environment import BENCH_MARK
from chm_web.models import RunStatus
from chm_web.services.runs import RunRecord

_STATUSES = (RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.CANCELED, RunStatus.SKIPPED, RunStatus.RUNNING)
_WEIGHTS = (93, 4, 1, 1, 1)
_ERROR = (
    "Database Error in model fct_orders (models/marts/fct_orders.sql)\n  relation {number} does not exist\n"
    "  compiled code at target/run/marts/fct_orders.sql"
)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one writer writes in one round.

    ``mixed``: every page holds runs of pipelines all over the fleet, as an account-wide feed gives them; else each
    page is of one pipeline, as a per-pipeline feed gives them.

    ``new_every``: of so many records one has a key of its own, as where a feed's pages overlap; 0: none has.
    """

    round: int
    writer: int
    rows: int
    page_size: int
    mixed: bool
    until: datetime
    new_every: int = 0

    def pages(self, pipelines: list[UUID]) -> Iterator[list[RunRecord]]:
        """Make up the records, a page at a time."""
        chance = random.Random(f"{self.round} {self.writer}")
        for first in range(0, self.rows, self.page_size):
            chosen = chance.choice(pipelines)
            yield [
                make_record(
                    chance.choice(pipelines) if self.mixed else chosen,
                    f"{BENCH_MARK}{self.round}-{self.writer}-{number:07}{self._suffix(number)}",
                    self.until - timedelta(minutes=chance.randint(60, 3000)),
                    chance,
                )
                for number in range(first, min(first + self.page_size, self.rows))
            ]

    def _suffix(self, number: int) -> str:
        return "-new" if self.new_every and number % self.new_every == 0 else ""


def make_record(pipeline_id: UUID, external_run_id: str, started: datetime, chance: random.Random) -> RunRecord:
    """Make up one record."""
    status = chance.choices(_STATUSES, _WEIGHTS)[0]
    finished = None if status is RunStatus.RUNNING else started + timedelta(seconds=chance.randint(5, 3000))
    number = chance.randint(1, 10**6)
    return RunRecord(
        pipeline_id=pipeline_id,
        external_run_id=external_run_id,
        status=status,
        started_at=started,
        finished_at=finished,
        rows_processed=number if status is RunStatus.SUCCESS else None,
        error_message=_ERROR.format(number=number) if status is RunStatus.FAILED else None,
        payload=make_payload(number) if chance.random() < 0.5 else None,
        attempt_at=started,
        source_updated_at=finished or started,
    )


def make_payload(number: int) -> dict[str, Any]:
    """What a partner says beside the contract."""
    return {"trigger": "schedule", "region": "eu-west-1", "attempt": 1, "bytes_read": number * 311, "tags": ["daily"]}


def as_json(record: RunRecord) -> dict[str, Any]:
    """A record as the partner contract has it."""

    def moment(value: datetime | None) -> str | None:
        return value.isoformat().replace("+00:00", "Z") if value else None

    return {
        "external_run_id": record.external_run_id,
        "status": record.status.value,
        "started_at": moment(record.started_at),
        "finished_at": moment(record.finished_at),
        "rows_processed": record.rows_processed,
        "error_message": record.error_message,
        "updated_at": moment(record.source_updated_at),
        **(record.payload or {}),
    }


def payload_bytes(payload: dict[str, Any] | None) -> bytes | None:
    """A payload in jsonb's binary form."""
    return None if payload is None else b"\x01" + json.dumps(payload, separators=(",", ":")).encode()
