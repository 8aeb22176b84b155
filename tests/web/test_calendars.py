"""Days of runs as cells and as rows."""

from __future__ import annotations

import re
from datetime import date, timedelta

import pytest

from chm_web.services.pipeline_history import DayOfRuns, DayState
from chm_web.web.calendars import calendar, calendar_mark, calendar_rows

MONDAY = date(2026, 10, 26)


def days_from(first: date, count: int, *, succeeded: int = 1, failed: int = 0, runs: int = 1) -> list[DayOfRuns]:
    """Days that follow each other, all alike."""
    return [DayOfRuns(first + timedelta(days=after), succeeded, failed, runs) for after in range(count)]


def places(drawn: str) -> list[tuple[int, int]]:
    """Where the cells stand, in columns and rows."""
    corners = re.findall(r'<rect x="(\d+)" y="(\d+)"', drawn)
    return [((int(x) - 36) // 21, (int(y) - 18) // 21) for x, y in corners]


def month_words(drawn: str) -> list[str]:
    """Which months are named above the cells."""
    return re.findall(r'y="10">(\w+)<', drawn)


def test_a_week_is_a_column_that_begins_on_monday() -> None:
    drawn = calendar(days_from(MONDAY + timedelta(days=5), 4), "Days")

    assert places(drawn) == [(0, 5), (0, 6), (1, 0), (1, 1)]
    assert 'viewBox="0 0 75 164" width="75" height="164"' in drawn


def test_months_are_named_where_their_first_whole_week_stands() -> None:
    assert month_words(calendar(days_from(MONDAY, 21), "Days")) == ["Nov"]
    assert month_words(calendar(days_from(date(2026, 10, 12), 28), "Days")) == ["Oct", "Nov"]
    assert month_words(calendar(days_from(date(2026, 10, 21), 2), "Days")) == []


def test_a_cell_says_what_happened_and_what_all_of_it_shows_is_escaped() -> None:
    drawn = calendar([DayOfRuns(MONDAY, 1234, 2, 1240)], 'Days of "A & B"')

    assert "<title>26 Oct 2026: 1,234 succeeded, 2 failed, 4 others</title>" in drawn
    assert 'aria-label="Days of &#34;A &amp; B&#34;"' in drawn


@pytest.mark.parametrize(
    ("state", "succeeded", "failed", "runs"),
    [
        (DayState.SUCCEEDED, 1, 0, 1),
        (DayState.MIXED, 1, 1, 2),
        (DayState.FAILED, 0, 1, 1),
        (DayState.UNDECIDED, 0, 0, 1),
        (DayState.EMPTY, 0, 0, 0),
    ],
)
def test_a_cell_is_marked_as_the_legend_says(state: DayState, succeeded: int, failed: int, runs: int) -> None:
    drawn = calendar([DayOfRuns(MONDAY, succeeded, failed, runs)], "Days")

    assert f'<g class="day-{state}">' in drawn
    assert drawn.count("<path") == calendar_mark(state).count("<path") == (state not in ("succeeded", "empty"))


def test_states_are_told_apart_without_colour() -> None:
    marks = [calendar_mark(state) for state in ("mixed", "failed", "undecided")]

    assert len(set(marks)) == 3


def test_rows_are_of_days_with_runs_newest_first_and_lead_to_them() -> None:
    days = [DayOfRuns(MONDAY, 3, 1, 5), *days_from(MONDAY + timedelta(days=1), 1, succeeded=0, runs=0)]
    days += days_from(MONDAY + timedelta(days=6), 1)

    rows = calendar_rows(days, "/a&b").strip().split("\n")

    assert rows == [
        '<tr><th scope="row"><a href="/a&amp;b?since=2026-11-01&amp;until=2026-11-02#runs">1 Nov 2026'
        '</a></th><td class="num">1</td><td class="num">0</td><td class="num">0</td></tr>',
        '<tr><th scope="row"><a href="/a&amp;b?since=2026-10-26&amp;until=2026-10-27#runs">26 Oct 2026'
        '</a></th><td class="num">3</td><td class="num">1</td><td class="num">1</td></tr>',
    ]
