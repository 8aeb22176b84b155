"""The small parts of pages that a list repeats hundreds of times: moments, strips of runs, badges of statuses.

They are made here and not by macros, which cost several times as much: a list of fifty pipelines has two hundred
moments and seven hundred bars. What always looks the same is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache

from flask import Flask
from markupsafe import Markup, escape

from chm_web.models import RunStatus
from chm_web.services.health import RecentRun, StripRun, TimedRun
from chm_web.web import formats
from chm_web.web.formats import bar_heights, duration, iso, stamp, strip_summary, words

SLOT, BAR, HEIGHT = 9, 7, 24
"""Of a strip: how far apart its bars are, how wide each is, and how high the highest."""

# Height tells failed from the rest without any colour: a failed run stands at full height, and nothing else does.
_HEIGHTS = {
    RunStatus.FAILED: HEIGHT,
    RunStatus.SUCCESS: 12,
    RunStatus.RUNNING: 12,
    RunStatus.CANCELED: 5,
    RunStatus.SKIPPED: 5,
}
_LONG = 20
"""A strip of more runs than this is stretched to the width that it is given."""
_FITS = 24
"""A name of so many characters is nowhere clipped."""


def init_app(app: Flask) -> None:
    """Give the functions below to all templates. Each moment is a <time>, which a script turns to the reader's zone."""
    for function in (ago, at, clock, full, lasting, strip, titled_strip, whole):
        app.jinja_env.globals[function.__name__] = function
    for name in ("badge", "shape"):
        app.jinja_env.globals[name] = _kept(app, "components/status.html", name)


def _kept(app: Flask, template: str, name: str) -> Callable[[str], Markup]:
    """Give a macro of a status, run once for each status; at every call while templates are being worked on."""

    def draw(status: str) -> Markup:
        drawn: Markup = getattr(app.jinja_env.get_template(template).module, name)(status)
        return drawn

    keep = lru_cache(draw)
    return lambda status: draw(status) if app.jinja_env.auto_reload else keep(status)


def ago(moment: datetime | None, now: datetime, missing: str = "Never") -> Markup:
    """Say how long ago a moment was."""
    if moment is None:
        return _missing(missing)
    return _time(moment, "title", formats.ago(moment, now), stamp(moment))


def lasting(since: datetime | None, now: datetime, missing: str = "-") -> Markup:
    """Say for how long something has lasted that began at a moment."""
    if since is None:
        return _missing(missing)
    return _time(since, "since", formats.span(now - since), f"Since {stamp(since)}")


def at(moment: datetime | None, missing: str = "-") -> Markup:
    """Write a moment as a table's column does."""
    return _missing(missing) if moment is None else _time(moment, "short", formats.short(moment), stamp(moment))


def clock(moment: datetime) -> Markup:
    """Write the time of day."""
    return _time(moment, "clock", formats.clock(moment), stamp(moment))


def full(moment: datetime | None, missing: str = "Not known") -> Markup:
    """Write a moment in full."""
    if moment is None:
        return _missing(missing)
    return Markup(f'<time datetime="{iso(moment)}" data-moment="full">{stamp(moment)}</time>')  # noqa: S704


def whole(name: str) -> Markup:
    """Give the title attribute of a name that may be too long for its place; nothing for one that fits everywhere."""
    return Markup(' title="{}"').format(name) if len(name) > _FITS else Markup("")


def strip(runs: Sequence[StripRun], length: int = 14, *, durations: bool = False) -> Markup:
    """Draw the last runs of a pipeline as bars, oldest first and the newest at the right.

    Args:
        runs: at most ``length`` of them; slots without a run are a faint line.
        length: how many bars there is room for.
        durations: whether height is also how long a run took, against the median of the strip's successes: three
            eighths of the strip are as long as that, six eighths twice as long or longer. A failed run is then a pale
            column that a cap closes at full height, filled from below as far as it took; a run under way is hollow.
    """
    heights: Sequence[int | None] = bar_heights(runs) if durations else [None] * len(runs)
    drawn = zip(range(length - len(runs), length), runs, heights, strict=True)
    return _strip(runs, length, [_bar(slot, run.status, took) for slot, run, took in drawn])


def titled_strip(runs: Sequence[RecentRun], length: int) -> Markup:
    """Draw the last runs of a pipeline as ``strip`` does; each bar says what it stands for."""
    slots = range(length - len(runs), length)
    return _strip(runs, length, [_titled(slot, run) for slot, run in zip(slots, runs, strict=True)])


def _strip(runs: Sequence[TimedRun], length: int, bars: list[str]) -> Markup:
    bars = [_free(slot) for slot in range(length - len(bars))] + bars
    width = length * SLOT - (SLOT - BAR)
    stretched = ' preserveAspectRatio="none"' if length > _LONG else ""
    # The summary is made of our own words and of numbers, as everything in a strip is.
    return Markup(  # noqa: S704
        f'<svg class="strip" role="img" aria-label="{strip_summary(runs)}" viewBox="0 0 {width} {HEIGHT}"'
        f' width="{width}" height="{HEIGHT}"{stretched}>{"".join(bars)}</svg>'
    )


def _time(moment: datetime, form: str, text: str, title: str) -> Markup:
    # Nothing in it comes from outside.
    return Markup(f'<time datetime="{iso(moment)}" title="{title}" data-moment="{form}">{text}</time>')  # noqa: S704


def _missing(text: str) -> Markup:
    return Markup(f'<span class="quiet">{escape(text)}</span>')  # noqa: S704


@lru_cache
def _free(slot: int) -> str:
    return f'<rect class="bar-free" x="{slot * SLOT}" y="{HEIGHT - 2}" width="{BAR}" height="2"/>'


@lru_cache(maxsize=4096)
def _bar(slot: int, status: RunStatus, took: int | None) -> str:
    """Draw one bar; ``took``: how high it stands for how long it took, None where height does not say that."""
    x = slot * SLOT
    if took is not None and status is RunStatus.FAILED:
        return (
            f'<path class="bar-column" d="M{x} 0h{BAR}v{HEIGHT}h-{BAR}z"/><path class="bar-failed"'
            f' d="M{x} 0h{BAR}v3h-{BAR}zm0 {HEIGHT - took}h{BAR}v{took}h-{BAR}z"/>'
        )
    if took is not None and status is RunStatus.RUNNING:
        return f'<rect class="bar-hollow" x="{x + 0.75}" y="12.75" width="5.5" height="10.5" rx="1.5"/>'
    height = took if took is not None and status is RunStatus.SUCCESS else _HEIGHTS[status]
    return f"{_opened(slot, status, height)}/>"


def _titled(slot: int, run: RecentRun) -> str:
    took = "" if run.duration_seconds is None else f", took {duration(run.duration_seconds)}"
    title = f"{words(run.status)}, {stamp(run.event_at)}{took}"
    return f"{_opened(slot, run.status, _HEIGHTS[run.status])}><title>{title}</title></rect>"


def _opened(slot: int, status: RunStatus, height: int) -> str:
    return (
        f'<rect class="bar-{status}" x="{slot * SLOT}" y="{HEIGHT - height}" width="{BAR}" height="{height}" rx="1.5"'
    )
