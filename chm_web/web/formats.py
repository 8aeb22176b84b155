"""How values are said on a page: times, durations, numbers and the words for statuses. Registered as filters."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from flask import Flask

from chm_web.models import Run, RunStatus
from chm_web.services.health import Health, TimedRun
from chm_web.services.pipeline_history import DayOfRuns, DayState
from chm_web.services.pipeline_table import median_seconds
from chm_web.services.runs import error_of, summarize_error

MINUTE, HOUR, DAY = 60, 3600, 86400

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

WORDS: dict[str, str] = {
    Health.FAILING: "Failing",
    Health.LATE: "Late",
    Health.RUNNING: "Running",
    Health.HEALTHY: "Healthy",
    Health.NO_DATA: "No data",
    RunStatus.SUCCESS: "Success",
    RunStatus.FAILED: "Failed",
    RunStatus.CANCELED: "Canceled",
    RunStatus.SKIPPED: "Skipped",
    "airflow": "Airflow",
    "dbt": "dbt",
    "cron": "cron",
    "vendor_api": "Vendor API",
    "custom": "Custom",
    "ingestion": "Ingestion",
    "transform": "Transform",
    "quality": "Quality",
    "export": "Export",
    "healthcheck": "Health check",
    "queued": "Waiting",
    "finished": "Finished",
    "on_failure": "On failure",
    "failures_in_window": "Failures in a window",
    "partner": "Partner",
    "dbt_cloud": "dbt Cloud",
    "slack": "Slack",
    "email": "Email",
    "webhook": "Webhook",
}

STATUS_VERBS = {
    RunStatus.FAILED: "failed",
    RunStatus.SUCCESS: "succeeded",
    RunStatus.RUNNING: "running",
    RunStatus.CANCELED: "canceled",
    RunStatus.SKIPPED: "skipped",
}
"""What runs did, after their number: 3 failed."""


def init_app(app: Flask) -> None:
    """Make the functions below the filters of the same name."""
    app.jinja_env.globals["choices"] = choices
    for function in (
        against,
        change,
        days_summary,
        duration,
        error_of,
        iso,
        number,
        percent,
        points,
        received_words,
        span,
        stamp,
        summarize_error,
        words,
    ):
        app.jinja_env.filters[function.__name__] = function


def words(value: str) -> str:
    """Say a status, a platform or another enumerated value as people do."""
    return WORDS.get(value, value)


def number(value: int) -> str:
    """Group the digits: 1,234,567."""
    return f"{value:,}"


def percent(share: float | None) -> str:
    """Say a share of 0 to 1 in per cent: 97.3 %; a dash where there is none. Never 100 or 0 for what only is near."""
    if share is None:
        return "-"
    if share in (0, 1):
        return f"{share * 100:.0f} %"
    return f"{min(max(share * 100, 0.1), 99.9):.1f} %"


def change(difference: float) -> str:
    """Say by how much a share has changed, in percentage points: +1.2 points; unchanged when that is none."""
    changed = points(difference)
    return f"{changed:+.1f} points".replace("-", "\N{MINUS SIGN}") if changed else "unchanged"


def points(difference: float) -> float:
    """Give by how much a share has changed in percentage points, to a tenth: no more of it is told anywhere."""
    return round(difference * 100, 1)


def choices(kind: Iterable[enum.StrEnum]) -> list[tuple[str, str]]:
    """Give the members of an enumeration with their words, to choose from."""
    return [(member.value, words(member)) for member in kind]


def figure(value: float | None, unit: str) -> str:
    """Say a figure of a chart, in its unit: runs, seconds or percent (0 to 100)."""
    if value is None:
        return "-"
    if unit == "seconds":
        return duration(value)
    return f"{value:.1f} %" if unit == "percent" else number(round(value))


def moment_label(moment: str, form: str) -> str:
    """Say the moment (RFC 3339) below a bar: its ``hour`` or its ``day``, in UTC."""
    day, written = _utc(datetime.fromisoformat(moment))
    return f"{day}, {written[11:16]}" if form == "hour" else day


def iso(moment: datetime) -> str:
    """Write a moment for machines, in UTC to the second."""
    return f"{_utc(moment)[1]}Z"


def stamp(moment: datetime) -> str:
    """Write a moment in full: 23 Nov 2026, 15:04:12 UTC."""
    day, written = _utc(moment)
    return f"{day} {written[:4]}, {written[11:]} UTC"


def short(moment: datetime) -> str:
    """Write a moment for a table's column, where the year is plain: 23 Nov, 15:04:12."""
    day, written = _utc(moment)
    return f"{day}, {written[11:]}"


def clock(moment: datetime) -> str:
    """Write the time of day: 15:04 UTC."""
    return f"{_utc(moment)[1][11:16]} UTC"


def duration(value: float | timedelta) -> str:
    """Say how long something took, to the second where that matters: 0.4 s, 4 min 12 s, 2 h 5 min, 3 days 4 h."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if 0 < seconds < 9.95:
        return f"{max(seconds, 0.1):.1f} s".replace(".0 s", " s")
    whole = max(0, round(seconds))
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return _two(whole // MINUTE, "min", whole % MINUTE, "s")
    # Rounded before it is cut into units, so that 59 min 40 s never shows as 0 h 60 min.
    return _coarse(round(whole / MINUTE) * MINUTE)


def against(seconds: float, median: float) -> str:
    """Compare how long a run took with the median: 2.4 times the median, 35 % shorter than the median."""
    if median <= 0:
        return "the median is 0 s"
    ratio = seconds / median
    if ratio >= 1.995:
        return f"{ratio:.1f} times the median" if ratio < 9.95 else f"{ratio:,.0f} times the median"
    if 0.95 <= ratio <= 1.05:
        return "about the median"
    return f"{abs(ratio - 1) * 100:.0f} % {'longer' if ratio > 1 else 'shorter'} than the median"


def received_words(run: Run) -> str:
    """Say how long after a run's event time the last news of it came."""
    late = run.ingested_at - run.event_at
    if late < timedelta(seconds=1):
        return "at once" if late > timedelta(seconds=-1) else f"{duration(-late)} before the event time"
    return f"{duration(late)} after the event time"


def span(value: timedelta) -> str:
    """Say how long a state has lasted, where seconds do not matter: under 1 min, 12 min, 3 h 20 min, 2 days 5 h."""
    whole = max(0, int(value.total_seconds()))
    return "under 1 min" if whole < MINUTE else _coarse(whole)


def ago(moment: datetime, now: datetime) -> str:
    """Say how long ago a moment was, in its largest unit; a moment to come is "in 3 min"."""
    seconds = int((now - moment).total_seconds())
    if abs(seconds) < MINUTE:
        return "just now"
    size = abs(seconds)
    if size < HOUR:
        text = f"{size // MINUTE} min"
    elif size < 2 * DAY:
        text = f"{size // HOUR} h"
    else:
        text = f"{size // DAY} days"
    return f"{text} ago" if seconds > 0 else f"in {text}"


def strip_summary(runs: Sequence[TimedRun]) -> str:
    """Say in a sentence what a strip of runs (oldest first) shows."""
    if not runs:
        return "No runs yet"
    counts = Counter(run.status for run in runs)
    parts = [f"{counts[status]} {word}" for status, word in STATUS_VERBS.items() if counts[status]]
    subject = "Last run" if len(runs) == 1 else f"Last {len(runs)} runs"
    return f"{subject}: {', '.join(parts)}; the newest {STATUS_VERBS[runs[-1].status]}"


def day_words(day: DayOfRuns) -> str:
    """Say what happened on a day: 23 Nov 2026: 22 succeeded, 2 failed."""
    counts = ((day.succeeded, "succeeded"), (day.failed, "failed"), (day.others, "others"))
    parts = [f"{number(count)} {word}" for count, word in counts if count]
    return f"{day.day.day} {written_month(day.day)} {day.day.year}: {', '.join(parts) or 'no runs'}"


def written_month(day: date) -> str:
    """Give the month of a day as people write it, Nov: strftime takes three times as long, and a page has hundreds."""
    return _MONTHS[day.month - 1]


def days_summary(days: Sequence[DayOfRuns]) -> str:
    """Say in a sentence what a calendar of days shows."""
    counts = Counter(day.state for day in days)
    parts = [
        f"{counts[state]} {word}"
        for state, word in (
            (DayState.SUCCEEDED, "with successes alone"),
            (DayState.MIXED, "with some failures"),
            (DayState.FAILED, "with failures alone"),
            (DayState.UNDECIDED, "with neither"),
            (DayState.EMPTY, "without runs"),
        )
        if counts[state]
    ]
    return f"The last {len(days)} days: {', '.join(parts)}"


USUAL_HEIGHT, GREATEST_HEIGHT, LEAST_HEIGHT = 9, 18, 2


def bar_heights(runs: Sequence[TimedRun]) -> list[int]:
    """Give how high the bars of a strip stand for what its runs took.

    The median of the successful ones stands at half of what a bar may reach; twice as long or longer, at all of it.
    Against the greatest instead, a single slow run would flatten all others. A run that does not tell is as the median.
    """
    usual = median_seconds(runs)
    return [_bar_height(run.duration_seconds, usual) for run in runs]


def _bar_height(seconds: float | None, usual: float | None) -> int:
    if seconds is None or not usual:
        return USUAL_HEIGHT
    height = round(USUAL_HEIGHT * seconds / usual)
    if height > GREATEST_HEIGHT:
        return GREATEST_HEIGHT
    return height if height > LEAST_HEIGHT else LEAST_HEIGHT


@lru_cache(maxsize=1024)
def _utc(moment: datetime) -> tuple[str, str]:
    """Give the day of a moment as people write it, 23 Nov, and all of it as machines do, in UTC without a zone."""
    # Kept for as long as a page is made: it says a moment for people, for machines and in full, one after the other.
    moment = moment.astimezone(UTC)
    return f"{moment.day} {written_month(moment)}", moment.isoformat(timespec="seconds")[:19]


def _coarse(whole: int) -> str:
    if whole < HOUR:
        return f"{whole // MINUTE} min"
    if whole < DAY:
        return _two(whole // HOUR, "h", whole % HOUR // MINUTE, "min")
    days = whole // DAY
    if days >= 10:
        return f"{days} days"
    return _two(days, "day" if days == 1 else "days", whole % DAY // HOUR, "h")


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large} {large_unit} {small} {small_unit}" if small else f"{large} {large_unit}"
