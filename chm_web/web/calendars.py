"""Days of runs as cells, a week a column with its Monday on top, and the same days as rows of a table.

Ninety days are drawn on every look at a pipeline: here and not by a macro, as the parts of ``elements`` are.
"""

from __future__ import annotations

from collections.abc import Sequence

from flask import Flask
from markupsafe import Markup, escape

from chm_web.services.pipeline_history import DayOfRuns, DayState
from chm_web.web.formats import day_words, number, written_month

CELL = 21
"""From one cell to the next; a cell itself is 18 wide and high."""

_LEFT, _TOP = 36, 18
_WEEKDAYS = ((0, "Mon"), (2, "Wed"), (4, "Fri"), (6, "Sun"))


def init_app(app: Flask) -> None:
    """Give the functions below to all templates."""
    app.jinja_env.globals.update(calendar=calendar, calendar_mark=calendar_mark, calendar_rows=calendar_rows)


def calendar(days: Sequence[DayOfRuns], label: str) -> Markup:
    """Draw days that follow each other, oldest first; each cell says what happened. ``label``: what all of it shows."""
    shift = days[0].day.weekday()
    width = (len(days) + shift + 6) // 7 * CELL + _LEFT - 3
    height = 7 * CELL + _TOP - 1
    parts = [f'<text class="day-word" x="0" y="{row * CELL + 32}">{name}</text>' for row, name in _WEEKDAYS]
    named_month = 0
    for place, day in enumerate(days, start=shift):
        column, row = divmod(place, 7)
        x, y = column * CELL + _LEFT, row * CELL + _TOP
        date = day.day
        # Over the first whole week of a month; over the first column where enough of the month is left.
        if date.month != named_month and ((date.day < 8 and row == 0) or (place == shift and date.day < 18)):
            parts.append(f'<text class="day-word" x="{x}" y="10">{written_month(date)}</text>')
            named_month = date.month
        parts.append(
            f'<g class="day-{day.state}"><title>{day_words(day)}</title>'
            f'<rect x="{x}" y="{y}" width="18" height="18" rx="3"/>{_mark(day.state, x, y)}</g>'
        )
    # All of it is made of our own words and of numbers, but for the label.
    return Markup(  # noqa: S704
        f'<svg class="day-grid" role="img" aria-label="{escape(label)}" viewBox="0 0 {width} {height}"'
        f' width="{width}" height="{height}">{"".join(parts)}</svg>'
    )


def calendar_mark(state: str) -> Markup:
    """Draw what tells the cell of a state from others without any colour, for a cell at the corner."""
    return Markup(_mark(DayState(state), 0, 0))  # noqa: S704


def calendar_rows(days: Sequence[DayOfRuns], page: str) -> Markup:
    """Write the days that had runs as rows of a table, the newest first; ``page`` lists the runs of a window."""
    address = escape(page)
    return Markup(  # noqa: S704
        "".join(
            f'<tr><th scope="row"><a href="{address}?since={day.day}&amp;until={day.next_day}#runs">'
            f"{day.day.day} {written_month(day.day)} {day.day.year}</a></th>"
            f'<td class="num">{number(day.succeeded)}</td><td class="num">{number(day.failed)}</td>'
            f'<td class="num">{number(day.others)}</td></tr>\n'
            for day in reversed(days)
            if day.runs
        )
    )


def _mark(state: DayState, x: int, y: int) -> str:
    if state is DayState.FAILED:
        return f'<path d="M{x + 5.5} {y + 5.5}l7 7m0 -7l-7 7"/>'
    if state is DayState.MIXED:
        return f'<path d="M{x + 18} {y + 2}v13a3 3 0 0 1 -3 3h-13z"/>'
    return f'<path d="M{x + 5} {y + 9}h8"/>' if state is DayState.UNDECIDED else ""
