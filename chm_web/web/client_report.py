"""What a client's report shows: one period, in words that can be sent to the client."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from chm_web.services import stability
from chm_web.services.clients import get_client
from chm_web.services.outcomes import OverTime
from chm_web.web import asked
from chm_web.web.formats import figure, moment_label, span
from chm_web.web.timelines import NARROWEST

PIPELINES_LIMIT = 40
_LABELS = 6


@dataclass(frozen=True)
class Bar:
    """One bar of a printed chart, in per cent of its width and height; ``label`` stands below some of them."""

    x: float
    width: float
    height: float
    title: str
    label: str


def client_report(client_id: UUID) -> dict[str, Any]:
    """Give the values of a client's report for the period that the address asks for."""
    now = datetime.now(UTC)
    window = asked.window(now=now, options=("month", "30d", "7d"))
    report = stability.report_client(client_id=client_id, since=window.since, until=window.until)
    return {
        "now": now,
        "client": get_client(client_id=client_id),
        "report": report,
        "window": window,
        "ends_at": min(window.until, now),
        "is_open": window.until >= now,
        "period": period_words(window.since, window.until),
        "length": span(window.until - window.since),
        "bars": _bars(report.failures),
        "most": max(report.failures.series[0].values, default=0),
        "listed": report.by_pipeline[:PIPELINES_LIMIT],
    }


def period_words(since: datetime, until: datetime) -> str:
    """Say a period as a report does: October 2026, 1 to 14 October 2026, 1 Oct 2026, 08:00 to 2 Oct 2026, 09:00 UTC."""
    if any(
        (moment.hour, moment.minute, moment.second, moment.microsecond) != (0, 0, 0, 0) for moment in (since, until)
    ):
        return asked.Window("custom", since, until).words
    last = until - timedelta(days=1)
    if since.day == 1 and until.day == 1 and (since.year, since.month) == (last.year, last.month):
        return f"{since:%B %Y}"
    return f"{since:%-d %B %Y} to {last:%-d %B %Y}"


def _bars(figures: OverTime) -> list[Bar]:
    values = figures.series[0].values
    most = max(values, default=0)
    step = 100 / max(len(values), 1)
    form = "day" if figures.bucket >= timedelta(days=1) else "hour"
    bars = []
    for place, (start, failures) in enumerate(zip(figures.starts, values, strict=True)):
        label = moment_label(start.isoformat(), form)
        bars.append(
            Bar(
                x=round(place * step, 2),
                width=round(max(step * 0.7, NARROWEST), 2),
                height=round(100 * failures / most, 1) if most else 0,
                title=f"{label}: {figure(failures, 'runs')} failed",
                label=label if place % max(len(values) // _LABELS, 1) == 0 and place * step < 92 else "",
            )
        )
    return bars
