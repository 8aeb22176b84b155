"""Pure helpers of every platform's mapper: what arrives as JSON becomes the values of a run record."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from chm_web.models import RunStatus

# Words for a run's state that platforms use, in lower case. A platform with words of its own adds a table of its own.
STATUS_MAP: Mapping[str, RunStatus] = {
    "running": RunStatus.RUNNING,
    "started": RunStatus.RUNNING,
    "in_progress": RunStatus.RUNNING,
    "queued": RunStatus.RUNNING,
    "pending": RunStatus.RUNNING,
    "scheduled": RunStatus.RUNNING,
    "starting": RunStatus.RUNNING,
    "waiting": RunStatus.RUNNING,
    "retrying": RunStatus.RUNNING,
    "success": RunStatus.SUCCESS,
    "succeeded": RunStatus.SUCCESS,
    "successful": RunStatus.SUCCESS,
    "completed": RunStatus.SUCCESS,
    "complete": RunStatus.SUCCESS,
    "finished": RunStatus.SUCCESS,
    "done": RunStatus.SUCCESS,
    "ok": RunStatus.SUCCESS,
    "passed": RunStatus.SUCCESS,
    "failed": RunStatus.FAILED,
    "failure": RunStatus.FAILED,
    "error": RunStatus.FAILED,
    "errored": RunStatus.FAILED,
    "crashed": RunStatus.FAILED,
    "timeout": RunStatus.FAILED,
    "timed_out": RunStatus.FAILED,
    "canceled": RunStatus.CANCELED,
    "cancelled": RunStatus.CANCELED,
    "aborted": RunStatus.CANCELED,
    "stopped": RunStatus.CANCELED,
    "killed": RunStatus.CANCELED,
    "terminated": RunStatus.CANCELED,
    "skipped": RunStatus.SKIPPED,
    "ignored": RunStatus.SKIPPED,
}

# Words that say more than their canonical status does: kept as the reason.
_TELLING = frozenset({"timeout", "timed_out", "crashed", "killed", "queued", "pending", "scheduled", "retrying"})

CLOCK_SKEW = "clock_skew"

_WHOLE_NUMBER = re.compile(r"\s*[+-]?[0-9]{1,40}\s*")


class Unmappable(ValueError):
    """A run cannot be mapped. The message names the field and the reason."""

    def __init__(self, field: str, issue: str) -> None:
        super().__init__(f"{field}: {issue}")
        self.field = field
        self.issue = issue


def map_status(
    word: Any, *, is_finished: bool, table: Mapping[str, RunStatus] = STATUS_MAP
) -> tuple[RunStatus, str | None]:
    """Give the canonical status for a platform's word, and the word itself where it says more.

    An unknown word is kept as the reason: of a finished run it counts as failed, else as running.

    Raises:
        Unmappable: there is no word at all.
    """
    if not isinstance(word, str) or not word.strip():
        raise Unmappable("status", "is missing" if word is None or word == "" else "must be text")
    key = word.strip().lower().replace("-", "_").replace(" ", "_")
    status = table.get(key)
    if status is None:
        return (RunStatus.FAILED if is_finished else RunStatus.RUNNING), word.strip()[:200]
    return status, key if key in _TELLING else None


def parse_time(value: Any, field: str) -> datetime | None:
    """Give a time from ISO 8601 text or from seconds (or milliseconds) since 1970. Without a zone it is UTC.

    The year 1, which some languages write for "no time yet", is null.

    Raises:
        Unmappable: it is neither.
    """
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value.strip())
        elif isinstance(value, int | float) and not isinstance(value, bool):
            if not math.isfinite(value):
                return None
            seconds = value / 1000 if abs(value) >= 1e11 else value
            moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
        else:
            raise ValueError(type(value).__name__)
    except (ValueError, OverflowError):
        raise Unmappable(field, f"{str(value)[:60]!r} is not a time") from None
    if moment.year == 1:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def parse_number(value: Any, field: str) -> float | None:
    """Give a number; text that holds one counts. NaN and Infinity are null.

    Raises:
        Unmappable: it is no number.
    """
    if value is None or value == "":
        return None
    if not isinstance(value, bool) and isinstance(value, str | int | float):
        try:
            number = float(value)
        except ValueError:
            pass
        except OverflowError:
            raise Unmappable(field, "is too large") from None
        else:
            return number if math.isfinite(number) else None
    raise Unmappable(field, f"{str(value)[:60]!r} is not a number")


def parse_count(value: Any, field: str) -> int | None:
    """Give a whole number exactly; text that holds one and floats without a fraction count.

    Raises:
        Unmappable: it is no whole number.
    """
    if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    number = parse_number(value, field)
    if number is None:
        return None
    if not number.is_integer():
        raise Unmappable(field, f"{value!r} is not a whole number")
    return int(number)


def sum_counts(values: Iterable[Any]) -> int | None:
    """Add up the counts among some values; None when none of them is one."""
    counts = []
    for value in values:
        try:
            count = parse_count(value, "count")
        except Unmappable:
            continue
        # Some platforms write -1 for "not known".
        if count is not None and count >= 0:
            counts.append(count)
    return sum(counts) if counts else None


def parse_text(value: Any) -> str | None:
    """Give a text as it is, and anything else as its JSON."""
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)[:40_000]


def parse_id(value: Any, field: str) -> str:
    """Give an id as text; whole numbers count.

    Raises:
        Unmappable: it is missing or something else.
    """
    if value is None or value == "":
        raise Unmappable(field, "is missing")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Unmappable(field, "must be text or a whole number")
    return str(value)


def clamp_finish(started: datetime | None, finished: datetime | None) -> tuple[datetime | None, str | None]:
    """Give the end of a run that clocks of two machines put before its start: the start, and the reason."""
    if started is not None and finished is not None and finished < started:
        return started, CLOCK_SKEW
    return finished, None
