"""Figures over time as the charts of ``components/chart.html`` take them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from flask import Flask, url_for
from markupsafe import Markup, escape

from chm_web.services.outcomes import HOUR, OverTime
from chm_web.web.formats import figure, iso, moment_label


def init_app(app: Flask) -> None:
    """Give ``chart_rows`` to all templates."""
    app.jinja_env.globals["chart_rows"] = chart_rows


def chart_rows(chart: Mapping[str, Any]) -> Markup:
    """Write a chart's figures as rows of a table, one a label: a macro takes several times as long for them."""
    form, unit = chart.get("times"), chart["unit"]
    shown = [series["values"] for series in chart["series"] if not series.get("level")]
    links = chart.get("links") or [None] * len(chart["labels"])
    rows = []
    for label, link, *values in zip(chart["labels"], links, *shown, strict=True):
        said = escape(label)
        if form:
            said = Markup(f'<time datetime="{said}" data-moment="{form}">{moment_label(label, form)}</time>')  # noqa: S704
        if link:
            said = Markup(f'<a href="{escape(link)}">{said}</a>')  # noqa: S704
        cells = "".join([f'<td class="num">{figure(value, unit)}</td>' for value in values])
        rows.append(f'<tr><th scope="row">{said}</th>{cells}</tr>\n')
    return Markup("".join(rows))  # noqa: S704


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
