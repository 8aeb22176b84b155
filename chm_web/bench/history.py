"""The runs of a fleet as rows of binary COPY, in the order in which they would have been ingested.

Every pipeline runs at a steady interval. Failures come in streaks (what broke stays broken for a while), and some
pipelines are flaky. Ids are UUIDv7 of the moment of ingestion, so that index locality is as in production.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cached_property

from chm_web.bench.fleet import Fleet, PipelineRow, uuid7_at

# The order of the fields that ``_Writer.row`` writes. What is left out is null or a default.
COLUMNS = (
    "id",
    "pipeline_id",
    "created_at",
    "updated_at",
    "ingested_at",
    "status",
    "external_run_id",
    "started_at",
    "finished_at",
    "duration_seconds",
    "rows_processed",
    "error_message",
    "payload",
    "attempt_at",
    "source_updated_at",
)
COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_TRAILER = b"\xff\xff"
ROWS_A_BLOCK = 2000

# A healthy pipeline breaks with the first chance, and what is broken stays so with the second: 3.1 % failed, in
# streaks of about three. Flaky pipelines fail one run in three, at any time. Together about 4 %.
_BREAKS, _STAYS_BROKEN, _FLAKY_FAILS = 0.0095, 0.7, 0.33
_CANCELED, _SKIPPED = 0.015, 0.015
_PAYLOAD_SHARE = 0.2
# Runs that began within this time before the end may still be running.
_STILL_RUNNING = timedelta(minutes=90)
_MOST_RUNNING = 200

_POSTGRES_EPOCH_MS = 946_684_800_000
_NULL = b"\xff\xff\xff\xff"
_HEAD = struct.Struct(">hi16si16siqiqiq").pack
_ENDED = struct.Struct(">iqiqid").pack
_BEGUN = struct.Struct(">iqii").pack
_LONG = struct.Struct(">iq").pack
_LENGTH = struct.Struct(">i").pack

ERRORS = (
    "Connection to warehouse-{n}.internal:5439 timed out after 30 s",
    "psycopg.errors.DeadlockDetected: deadlock detected\nDETAIL: Process {n} waits for ShareLock",
    "HTTP 503 Service Unavailable from the vendor's API after 5 attempts (request {n})",
    "Task load_partition failed: no space left on device (worker {n})",
    "Schema drift: column amount_{n} is missing in the source",
    "Database Error in model fct_orders_{n}: relation stg_orders does not exist\n  compiled SQL in target/run",
    "Row count check failed: expected at least {n} rows, found 0",
    'Traceback (most recent call last):\n  File "job.py", line {n}, in run\n    rows = client.fetch()\nTimeoutError',
    "Credentials of the source were rejected (401), attempt {n}",
    "Killed: out of memory (exit status 137) on node {n}",
)


def _field(value: bytes) -> bytes:
    return _LENGTH(len(value)) + value


_STATUS = {name: _field(name.encode()) for name in ("running", "success", "failed", "canceled", "skipped")}


class History:
    """The runs of ``fleet`` within the ``days`` before ``until``: exactly ``runs`` of them, the same for one seed."""

    def __init__(self, fleet: Fleet, *, runs: int, days: int, until: datetime, seed: int) -> None:
        self.runs = runs
        self._pipelines = fleet.pipelines
        self._until_ms = int(until.timestamp() * 1000)
        self._span_ms = days * 86_400_000
        self._seed = seed

    @cached_property
    def _cycle(self) -> list[int]:
        """Which pipeline (by index) runs when, within the interval of the rarest: each evenly spread."""
        chance = random.Random(f"{self._seed} cycle")
        moments: list[tuple[float, int]] = []
        for index, pipeline in enumerate(self._pipelines):
            offset = chance.random()
            moments += [((turn + offset) / pipeline.frequency, index) for turn in range(pipeline.frequency)]
        return [index for _, index in sorted(moments)]

    def interval(self, pipeline: PipelineRow) -> timedelta:
        """How long it is from one run of a pipeline to the next."""
        return timedelta(milliseconds=self._span_ms * len(self._cycle) / max(self.runs, 1) / pipeline.frequency)

    def blocks(self) -> Iterator[tuple[int, bytes]]:
        """Give the rows, without COPY's header and trailer, in blocks with the number of rows in each."""
        writer = _Writer(self._pipelines, [self.interval(p) for p in self._pipelines], self._seed)
        cycle, until, step = self._cycle, self._until_ms, self._span_ms / max(self.runs, 1)
        first = until - self._span_ms
        running_from = max(
            self.runs - max(round(self.runs * _STILL_RUNNING / timedelta(milliseconds=self._span_ms)), 8),
            self.runs - _MOST_RUNNING,
        )
        for start in range(0, self.runs, ROWS_A_BLOCK):
            numbers = range(start, min(start + ROWS_A_BLOCK, self.runs))
            rows = [
                writer.row(number, cycle[number % len(cycle)], int(first + number * step), number >= running_from)
                for number in numbers
            ]
            yield len(rows), b"".join(rows)


class _Writer:
    """Makes up one run after another. What can be made beforehand is: this is called millions of times."""

    def __init__(self, pipelines: list[PipelineRow], intervals: list[timedelta], seed: int) -> None:
        self._chance = random.Random(f"{seed} runs")
        self._ids = [pipeline.id.bytes for pipeline in pipelines]
        # A run ends before the pipeline's next one begins.
        self._typical_ms = [
            min(pipeline.typical_seconds, interval.total_seconds() * 0.6) * 1000
            for pipeline, interval in zip(pipelines, intervals, strict=True)
        ]
        self._run_ids = [_RUN_IDS.get(pipeline.platform, _plain_run_id) for pipeline in pipelines]
        self._flaky = [pipeline.is_flaky for pipeline in pipelines]
        # As many are broken at the beginning as at any other time, so that short histories have failures too.
        share = _BREAKS / (_BREAKS + 1 - _STAYS_BROKEN)
        self._broken = bytearray(self._chance.random() < share for _ in pipelines)
        self._errors = [_field(text.format(n=self._chance.randint(1, 999)).encode()) for text in ERRORS * 20]
        self._payloads = [_field(b"\x01" + _payload(self._chance)) for _ in range(500)]

    def row(self, number: int, index: int, created_ms: int, may_run: bool) -> bytes:
        """Make up the run that is ingested at ``created_ms``, ``number`` being its place in the whole history."""
        chance = self._chance.random
        status = self._next_status(index, may_run)
        took = int(self._typical_ms[index] * (0.6 + 0.8 * chance()))
        if status == "skipped":
            took = 0
        finished = created_ms - 1000 - int(60_000 * chance())
        started = finished if status == "running" else finished - took
        created = (created_ms - _POSTGRES_EPOCH_MS) * 1000
        started_us = (started - _POSTGRES_EPOCH_MS) * 1000
        run_id = uuid7_at(created_ms, self._chance.getrandbits(74)).to_bytes(16, "big")
        rows = failed = _NULL
        if status == "success":
            rows = _LONG(8, int(chance() ** 3 * 2_000_000))
        elif status == "failed":
            failed = self._errors[int(chance() * len(self._errors))]
        payload = self._payloads[int(chance() * len(self._payloads))] if chance() < _PAYLOAD_SHARE else _NULL
        if status == "running":
            times, changed = _BEGUN(8, started_us, -1, -1), started_us
        else:
            changed = started_us + took * 1000
            times = _ENDED(8, started_us, 8, changed, 8, took / 1000)
        return b"".join(
            (
                _HEAD(len(COLUMNS), 16, run_id, 16, self._ids[index], 8, created, 8, created, 8, created),
                _STATUS[status],
                self._run_ids[index](number, started),
                times,
                rows,
                failed,
                payload,
                _LONG(8, started_us),
                _LONG(8, changed),
            )
        )

    def _next_status(self, index: int, may_run: bool) -> str:
        chance = self._chance.random
        if may_run and chance() < 0.5:
            return "running"
        lot = chance()
        if lot < _CANCELED:
            return "canceled"
        if lot < _CANCELED + _SKIPPED:
            return "skipped"
        if self._flaky[index]:
            return "failed" if chance() < _FLAKY_FAILS else "success"
        is_broken = chance() < (_STAYS_BROKEN if self._broken[index] else _BREAKS)
        self._broken[index] = is_broken
        return "failed" if is_broken else "success"


def _airflow_run_id(number: int, started_ms: int) -> bytes:
    moment = datetime.fromtimestamp(started_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return _field(f"scheduled__{moment}".encode())


def _dbt_run_id(number: int, started_ms: int) -> bytes:
    return _field(b"%d" % (70_000_000 + number))


def _plain_run_id(number: int, started_ms: int) -> bytes:
    return _field(b"run-%010d" % number)


_RUN_IDS: dict[str, Callable[[int, int], bytes]] = {"airflow": _airflow_run_id, "dbt": _dbt_run_id}


def _payload(chance: random.Random) -> bytes:
    facts = {
        "trigger": chance.choice(("schedule", "schedule", "manual", "upstream")),
        "attempt": chance.randint(1, 3),
        "region": chance.choice(("eu-west-1", "eu-central-1", "us-east-1")),
        "bytes_read": chance.randint(1_000, 900_000_000),
    }
    return json.dumps(facts, separators=(",", ":")).encode()
