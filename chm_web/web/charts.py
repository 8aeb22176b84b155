"""Figures over time as the charts of ``components/chart.html`` take them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from flask import url_for

from chm_web.services.outcomes import HOUR, OverTime
from chm_web.web.formats import iso


def stacked_runs(
    figures: OverTime, *, since: datetime, until: datetime, say: Callable[[str], str], **filters: object
) -> dict[str, Any]:
    """Make a chart of runs, stacked; a bar leads to the runs of its time that pass these filters.

    ``say``: how the name of a series is said.
    """
    return {
        "kind": "stacked",
        "unit": "runs",
        "times": "hour" if figures.bucket == HOUR else "day",
        "labels": [iso(start) for start in figures.starts],
        "series": [{"name": say(series.name), "values": series.values} for series in figures.series],
        "links": run_links(figures, since=since, until=until, **filters),
    }


def run_links(figures: OverTime, *, since: datetime, until: datetime, **filters: object) -> list[str]:
    """Give the address of each bucket's runs of the window that pass these filters."""
    chosen: Mapping[str, Any] = {**filters, "window": "custom"}
    # A moment holds nothing that an address must not: one call of url_for does for all buckets.
    base = url_for("runs.index", **chosen)
    return [
        f"{base}&since={iso(max(start, since))}&until={iso(min(start + figures.bucket, until))}"
        for start in figures.starts
    ]
