"""What an address asks for: filters, windows of time and pages, read from the query string.

All state of a list stands in its address, so that Back, bookmarks and links to colleagues work. What an address asks
for and cannot be had is answered by 400 in words, never quietly left out: a list under a wrong filter would mislead.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from flask import abort, request, url_for

from chm_web.web.formats import iso

E = TypeVar("E", bound=enum.StrEnum)

MAX_TEXT = 200

WINDOWS = {"24h": timedelta(hours=24), "7d": timedelta(days=7), "14d": timedelta(days=14), "30d": timedelta(days=30)}
WINDOW_WORDS = {"24h": "24 hours", "7d": "7 days", "14d": "14 days", "30d": "30 days", "month": "month"}
WINDOW_LABELS = {"24h": "24 h", "7d": "7 d", "14d": "14 d", "30d": "30 d", "month": "Last month"}


def one_of(name: str, kind: type[E]) -> E | None:
    """Give a member of an enumeration that the parameter ``name`` asks for; None when it asks for none."""
    value = request.args.get(name)
    if not value:
        return None
    try:
        return kind(value)
    except ValueError:
        abort(400, description=f"{name}: there is no “{value}”. Choose one of {', '.join(kind)}.")


def text(name: str) -> str | None:
    """Give the text that the parameter ``name`` asks for, without the space around it; None when there is none."""
    value = request.args.get(name, "").strip()
    if len(value) > MAX_TEXT or "\x00" in value:
        abort(400, description=f"{name}: give at most {MAX_TEXT} characters of text.")
    return value or None


def uuid(name: str) -> UUID | None:
    """Give the id that the parameter ``name`` asks for; None when there is none."""
    value = request.args.get(name)
    if not value:
        return None
    try:
        return UUID(value)
    except ValueError:
        abort(400, description=f"{name}: “{value}” is no id.")


def choice(name: str, options: tuple[str, ...], default: str | None = None) -> str:
    """Give which of ``options`` the parameter ``name`` asks for, by default the first unless ``default`` says which."""
    value = request.args.get(name) or default or options[0]
    if value not in options:
        abort(400, description=f"{name}: there is no “{value}”. Choose one of {', '.join(options)}.")
    return value


def order(kind: type[E], default: str) -> tuple[E, bool]:
    """Give which order of a list the parameter ``order`` asks for, and whether the other way round (``-name``)."""
    value = request.args.get("order") or default
    try:
        return kind(value.removeprefix("-")), value.startswith("-")
    except ValueError:
        abort(
            400, description=f"order: there is no “{value}”. Choose one of {', '.join(kind)}, or one with - before it."
        )


@dataclass(frozen=True)
class Window:
    """A window of event time, since inclusive, until exclusive.

    ``key``: one of ``WINDOW_WORDS``, or ``custom``. ``options``: the keys of the windows to choose from beside it.
    """

    key: str
    since: datetime
    until: datetime
    options: tuple[str, ...] = field(default=(), compare=False)

    @property
    def choices(self) -> list[tuple[str, str]]:
        """Give the windows to choose from, with their words."""
        return [(key, WINDOW_LABELS[key]) for key in self.options]

    @property
    def words(self) -> str:
        """Say it within a sentence: ``the last 24 hours``, or between which days."""
        if self.key != "custom":
            return f"the last {WINDOW_WORDS[self.key]}"
        return f"{self.since:%-d %b %Y, %H:%M} to {self.until:%-d %b %Y, %H:%M} UTC"

    @property
    def query(self) -> dict[str, str]:
        """Give the parameters that ask for it, to put into a link."""
        if self.key != "custom":
            return {"window": self.key}
        return {"window": "custom", "since": iso(self.since), "until": iso(self.until)}


def window(
    *,
    now: datetime,
    options: tuple[str, ...] = ("24h", "7d", "30d"),
    default: str | None = None,
    custom: bool = True,
) -> Window:
    """Give the window of time asked for.

    Args:
        now: the moment at which a window ends; ``month`` is the calendar month before it.
        options: which of ``WINDOW_WORDS`` can be asked for.
        default: which one it is when none is asked for; by default the first.
        custom: whether ``window=custom`` may be asked for. It takes ``since`` and ``until`` (UTC, as a date or a date
            with a time); ``until`` may be left out and then is ``now``.
    """
    key = choice("window", (*options, "custom") if custom else options, default)
    if key == "month":
        this_month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return Window(key, (this_month - timedelta(days=1)).replace(day=1), this_month, options)
    if key != "custom":
        return Window(key, now - WINDOWS[key], now, options)
    since, until = moment("since"), moment("until") or now
    if since is None:
        abort(400, description="since: say when the window begins, such as 2026-11-01 or 2026-11-01T08:00 (UTC).")
    if since >= until:
        abort(400, description="since: must be before until.")
    return Window(key, since, until, options)


def moment(name: str) -> datetime | None:
    """Give the moment that the parameter ``name`` asks for: a date, or a date with a time; without a zone it is UTC."""
    value = request.args.get(name)
    if not value:
        return None
    try:
        found = datetime.fromisoformat(value)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        found = None
    if found is None or not 1970 <= found.year <= 2199:
        abort(400, description=f"{name}: “{value}” is no date such as 2026-11-01 or 2026-11-01T08:00 (UTC).")
    return found


def parameters() -> dict[str, Any]:
    """Give the parameters of the page at hand, the empty ones left aside, to keep them in another address."""
    # Some names are no parameters of an address but mean something to url_for.
    return {
        name: value for name, value in request.args.items() if value and name != "endpoint" and not name.startswith("_")
    }


def same_page(endpoint: str | None = None, /, **changes: Any) -> str:
    """Give the address of the page at hand with other parameters: None takes one away.

    A list that is filtered or ordered anew begins at its first page, so a cursor is kept only when it is named.
    A part that refreshes itself at an address of its own names the ``endpoint`` of its page.
    """
    asked = {name: value for name, value in parameters().items() if name != "cursor"}
    # What the path names is not for the query to say otherwise.
    values = {**asked, **changes, **(request.view_args or {})}
    assert request.endpoint is not None  # noqa: S101 - the guard has seen to it
    return url_for(endpoint or request.endpoint, **{name: value for name, value in values.items() if value is not None})
