"""Checks and cleans every value of a run record before anything reaches the database.

One value that PostgreSQL cannot store would abort a whole page, so none gets that far: what can be mended is mended
(NUL and lone surrogates become U+FFFD, NaN and Infinity become null), what cannot makes the record be rejected.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import Any

import orjson

from chm_web.models import EXTERNAL_ID_MAX_LENGTH
from chm_web.services.redaction import is_suspect, redact_text, redact_value

MAX_BIGINT = 2**63 - 1
MIN_TIME = datetime(1970, 1, 1, tzinfo=UTC)
MAX_TIME = datetime(2200, 1, 1, tzinfo=UTC)
_MIN_YEAR, _MAX_YEAR = MIN_TIME.year, MAX_TIME.year
MAX_TEXT_LENGTH = 32_000
MAX_PAYLOAD_BYTES = 64 * 1024
MAX_PAYLOAD_DEPTH = 32

UNSTORABLE = re.compile("[\0\ud800-\udfff]")
"""What PostgreSQL's text cannot hold: NUL, and halves of surrogate pairs."""
# What Python's own encoder has no word for is no plain payload, whatever orjson would make of it.
_PLAIN_ALONE = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
# For what orjson does not take. One encoder for all: json.dumps with options makes a new one in every call.
_encode_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _storable(text: str) -> str:
    # Most texts are plain, and these two looks are much quicker than a search.
    if text.isascii() and "\0" not in text:
        return text
    return UNSTORABLE.sub("\ufffd", text)


class BadValue(ValueError):
    """A value cannot be stored. The message names the field and the reason."""

    def __init__(self, field: str, issue: str) -> None:
        super().__init__(f"{field}: {issue}")
        self.field = field
        self.issue = issue


def clean_external_id(value: object, field: str = "external_run_id") -> str:
    """Give a platform's id as it can be stored.

    Raises:
        BadValue: it is not text, or not of 1 to 512 characters.
    """
    if not isinstance(value, str):
        raise BadValue(field, "is missing" if value is None else f"must be text, not {type(value).__name__}")
    if not 1 <= len(value) <= EXTERNAL_ID_MAX_LENGTH:
        raise BadValue(field, f"must have 1 to {EXTERNAL_ID_MAX_LENGTH} characters, not {len(value):,}")
    return _storable(value)


def clean_text(value: str | None, field: str) -> str | None:
    """Give a free text as it can be stored: without secrets, and cut when it is very long.

    Raises:
        BadValue: it is not text.
    """
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise BadValue(field, f"must be text, not {type(value).__name__}")
    # Cut after redaction, with room before it, so that a cut never leaves half a secret unrecognised.
    value = redact_text(_storable(value[: 2 * MAX_TEXT_LENGTH]))
    if len(value) > MAX_TEXT_LENGTH:
        value = value[:MAX_TEXT_LENGTH] + " … [cut]"
    return value


def clean_time(value: datetime | None, field: str) -> datetime | None:
    """Give a time in UTC; one without a zone is UTC.

    Raises:
        BadValue: it is not a time, or not between 1970 and 2199.
    """
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise BadValue(field, f"must be a time, not {type(value).__name__}")
    # By the year alone: comparing whole times costs more than all other checks of a record together.
    if not _MIN_YEAR <= value.year < _MAX_YEAR:
        raise BadValue(field, f"the year {value.year} is out of range (1970 to 2199)")
    if value.tzinfo is UTC:
        return value
    return value.replace(tzinfo=UTC) if value.utcoffset() is None else value.astimezone(UTC)


def clean_duration(value: float | None) -> float | None:
    """Give a duration in seconds; NaN and Infinity are null.

    Raises:
        BadValue: it is negative, or not a number.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadValue("duration_seconds", f"must be a number of seconds, not {type(value).__name__}")
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds):
        return None
    if seconds < 0:
        raise BadValue("duration_seconds", "must not be negative")
    return seconds


def clean_count(value: int | None, field: str = "rows_processed") -> int | None:
    """Give a count as a bigint.

    Raises:
        BadValue: it is not a whole number between 0 and 2^63 - 1.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadValue(field, f"must be a whole number, not {type(value).__name__}")
    if not 0 <= value <= MAX_BIGINT:
        raise BadValue(field, "must be between 0 and 9,223,372,036,854,775,807")
    return value


def clean_payload(value: dict[str, Any] | None) -> bytes | None:
    """Give a payload as JSON in UTF-8: storable as jsonb, without secrets, at most 64 KiB.

    Raises:
        BadValue: it is not an object.
    """
    if value is None:
        return None
    if not isinstance(value, dict):
        raise BadValue("payload", f"must be an object, not {type(value).__name__}")
    encoded = _encode_plain(value)
    if encoded is None:
        encoded = _encode(_clean_json("", value, MAX_PAYLOAD_DEPTH))
    if len(encoded) > MAX_PAYLOAD_BYTES:
        return _encode(_summary(value, len(encoded)))
    return encoded


def _encode_plain(value: dict[str, Any]) -> bytes | None:
    """Encode a payload that needs no cleaning, as nearly all do; None when it does."""
    try:
        encoded = _encode_quickly(value)
        # One that is too large is summed up anyway: no need to look at all of it.
        if len(encoded) <= MAX_PAYLOAD_BYTES and (b"\\u0000" in encoded or is_suspect(encoded.decode())):
            return None
        return encoded
    except (ValueError, TypeError, RecursionError):
        # NaN, a lone surrogate, a number too long to print, a nesting too deep, a value that JSON has no word for.
        return None


def _encode_quickly(value: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(value, option=_PLAIN_ALONE)
    except TypeError:
        return _encode(value)


def _encode(value: Any) -> bytes:
    return _encode_json(value).encode()


def _clean_json(name: str, value: Any, depth: int) -> Any:
    if not isinstance(value, dict | list | tuple):
        return redact_value(name, _clean_scalar(value))
    if depth == 0:
        return "[nested too deeply]"
    if isinstance(value, dict):
        return {_clean_key(key): _clean_member(str(key), item, depth) for key, item in value.items()}
    return [_clean_json(name, item, depth - 1) for item in value]


def _clean_scalar(value: Any) -> str | int | float | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):
        # jsonb holds longer numbers, but nothing that reads it back does.
        return value if abs(value) < 10**300 else None
    return UNSTORABLE.sub("\ufffd", str(value)[: 2 * MAX_PAYLOAD_BYTES])


def _clean_member(name: str, value: Any, depth: int) -> Any:
    """Clean one member of an object. A sensitive name hides its whole value, objects and lists included."""
    if isinstance(value, dict | list | tuple):
        hidden = redact_value(name, "[...]")
        return hidden if hidden != "[...]" else _clean_json("", value, depth - 1)
    return _clean_json(name, value, depth - 1)


def _clean_key(key: object) -> str:
    return redact_text(UNSTORABLE.sub("\ufffd", str(key)))


def _summary(value: dict[str, Any], size: int) -> dict[str, Any]:
    """What is kept of a payload that is too large: its size and its short plain values."""
    kept: dict[str, Any] = {"_cut": f"The payload had {size:,} bytes; at most {MAX_PAYLOAD_BYTES:,} are kept."}
    for key, item in list(value.items())[:50]:
        if isinstance(item, bool | int | float) or (isinstance(item, str) and len(item) <= 200):
            kept[_clean_key(key)[:200]] = _clean_json(str(key), item, 1)
    return kept
