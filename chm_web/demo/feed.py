"""The partner's feeds: each pipeline's runs as ready-made JSON, in the order of their last change.

A finished run never changes, so its JSON is made once and kept. What is still open (waiting or running) is a
handful of runs a pipeline at most, and is made anew for each page.
"""

import base64
import binascii
import json
import threading
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from chm_web.demo.history import (
    Plan,
    Run,
    history_start,
    plans_between,
    seen_at,
    to_datetime,
    to_ms,
)
from chm_web.demo.incidents import DAY_MS, HOUR_MS
from chm_web.demo.messages import host_of
from chm_web.demo.model import Pipeline

# A run's place in its feed, which is also what a cursor holds: updated_at (ms) and external_run_id.
Key = tuple[int, str]


class BadCursorError(ValueError):
    """A cursor this partner never gave out."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page: the runs' JSON, and the cursor of the page after it, None on the last."""

    runs: list[bytes]
    next_cursor: str | None


class Feed:
    """One pipeline's feed. Safe to be read by several threads."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._lock = threading.Lock()
        self._keys: list[Key] = []
        self._json: list[bytes] = []
        self._open: list[Plan] = []
        self._planned_until: int | None = None

    def page(self, *, now: datetime, cursor: str | None, updated_since: datetime | None, limit: int) -> Page:
        """Give up to `limit` runs as they stand at now, after the cursor and changed at or after a time.

        Raises BadCursorError. `now` must not go backwards by more than the clock's own corrections: a run
        that has once been seen finished stays finished.
        """
        floor: Key = (to_ms(history_start(now)), "")
        if updated_since is not None:
            floor = max(floor, (to_ms(updated_since), ""))
        after = None if cursor is None else read_cursor(cursor)
        with self._lock:
            open_runs = self._advance(to_ms(now))
            first = bisect_left(self._keys, floor)
            if after is not None:
                first = max(first, bisect_right(self._keys, after))
            # One more than asked for tells whether there is a next page.
            keys = self._keys[first : first + limit + 1]
            texts = self._json[first : first + limit + 1]
        rows = list(zip(keys, texts, strict=True))
        rows += [row for row in open_runs if row[0] >= floor and (after is None or row[0] > after)]
        rows.sort()
        more = len(rows) > limit
        rows = rows[:limit]
        return Page([text for _, text in rows], write_cursor(rows[-1][0]) if more else None)

    def _advance(self, moment: int) -> list[tuple[Key, bytes]]:
        """Take the feed up to a moment; give the open runs as they stand then."""
        if self._planned_until is None:
            # Early enough for every run that was published since the oldest day that is kept.
            lag = self._pipeline.profile.lag_hours * HOUR_MS
            self._planned_until = to_ms(history_start(to_datetime(moment))) - lag - DAY_MS
        if moment >= self._planned_until:
            self._open += plans_between(self._pipeline, self._planned_until, moment + 1)
            self._planned_until = moment + 1
        # Runs join the feed in the order of publication, so that the keys stay sorted as it grows.
        self._open.sort(key=lambda plan: (plan.published, plan.external_run_id))
        done = bisect_right(self._open, moment, key=lambda plan: plan.published)
        for plan in self._open[:done]:
            run = seen_at(self._pipeline, plan, plan.published)
            if run is not None:
                self._keys.append((plan.published, plan.external_run_id))
                self._json.append(to_json(self._pipeline, run))
        del self._open[:done]
        seen = [run for plan in self._open if (run := seen_at(self._pipeline, plan, moment)) is not None]
        return [((to_ms(run.updated_at), run.external_run_id), to_json(self._pipeline, run)) for run in seen]


def to_json(pipeline: Pipeline, run: Run) -> bytes:
    """Write a run as the partner's API gives it."""
    record = {
        "external_run_id": run.external_run_id,
        "status": run.status,
        "started_at": _text(run.started_at),
        "finished_at": _text(run.finished_at),
        "duration_seconds": run.duration_seconds,
        "rows_processed": run.rows_processed,
        "error_message": run.error_message,
        "status_reason": run.status_reason,
        "updated_at": _text(run.updated_at),
        "attempt": run.attempt,
        "trigger": run.trigger,
        "worker_host": run.worker_host,
        "log_url": f"https://logs.{host_of(pipeline)}/runs/{quote(run.external_run_id, safe='')}",
    }
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


def write_cursor(key: Key) -> str:
    """Pack a place in the feed into an opaque text that needs no escaping in a URL."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> Key:
    """Unpack a cursor; raises BadCursorError for anything write_cursor never gave."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        updated, run_id = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, TypeError, RecursionError) as error:
        raise BadCursorError(cursor) from error
    if type(updated) is not int or not isinstance(run_id, str):
        raise BadCursorError(cursor)
    return updated, run_id


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
