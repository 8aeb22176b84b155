"""How values are said."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from chm_web.models import RunStatus
from chm_web.services.health import Health, StripRun
from chm_web.services.pipeline_history import DayOfRuns
from chm_web.web import formats

NOW = datetime(2026, 11, 23, 15, 4, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.04, "0.1 s"),
        (0.44, "0.4 s"),
        (2, "2 s"),
        (9.97, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (252, "4 min 12 s"),
        (3599.7, "1 h"),
        (7499, "2 h 5 min"),
        (86399, "1 day"),
        (86400 + 3600, "1 day 1 h"),
        (3 * 86400 + 4 * 3600, "3 days 4 h"),
        (12 * 86400 + 4 * 3600, "12 days"),
    ],
)
def test_duration_is_said_as_people_say_it(seconds: float, said: str) -> None:
    assert formats.duration(seconds) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-5, "under 1 min"), (59, "under 1 min"), (60, "1 min"), (12000, "3 h 20 min"), (190800, "2 days 5 h")],
)
def test_span_leaves_seconds_out(seconds: int, said: str) -> None:
    assert formats.span(timedelta(seconds=seconds)) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "just now"),
        (59, "just now"),
        (60, "1 min ago"),
        (7300, "2 h ago"),
        (47 * 3600, "47 h ago"),
        (48 * 3600, "2 days ago"),
        (-200, "in 3 min"),
    ],
)
def test_ago_uses_the_largest_unit(seconds: int, said: str) -> None:
    assert formats.ago(NOW - timedelta(seconds=seconds), NOW) == said


def test_stamp_is_in_utc_and_says_so() -> None:
    there = NOW.astimezone(datetime.strptime("+0530", "%z").tzinfo)

    assert formats.stamp(there) == "23 Nov 2026, 15:04:12 UTC"
    assert formats.iso(there) == "2026-11-23T15:04:12Z"


def test_every_health_and_status_has_words() -> None:
    assert all(value in formats.WORDS for value in [*Health, *RunStatus])


def test_strip_summary_counts_by_status_and_names_the_newest() -> None:
    statuses = [RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.FAILED]
    runs = [StripRun(status, None) for status in statuses]

    assert formats.strip_summary(runs) == "Last 5 runs: 3 failed, 2 succeeded; the newest failed"


def test_strip_summary_of_nothing_says_so() -> None:
    assert formats.strip_summary([]) == "No runs yet"


@pytest.mark.parametrize(
    ("seconds", "median", "expected"),
    [
        (240, 100, "2.4 times the median"),
        (1234, 1, "1,234 times the median"),
        (135, 100, "35 % longer than the median"),
        (60, 100, "40 % shorter than the median"),
        (103, 100, "about the median"),
        (5, 0, "the median is 0 s"),
    ],
)
def test_duration_is_compared_with_the_median(seconds: float, median: float, expected: str) -> None:
    assert formats.against(seconds, median) == expected


def test_day_without_runs_says_so() -> None:
    assert formats.day_words(DayOfRuns(date(2026, 11, 3), 0, 0, 0)) == "3 Nov 2026: no runs"


def test_days_are_summed_up_by_how_they_went() -> None:
    day = date(2026, 11, 3)
    days = [DayOfRuns(day, 1, 0, 2), DayOfRuns(day, 0, 2, 2), DayOfRuns(day, 0, 0, 3), DayOfRuns(day, 3, 0, 3)]

    assert formats.days_summary(days) == (
        "The last 4 days: 2 with successes alone, 1 with failures alone, 1 with neither"
    )


def bars(*runs: tuple[RunStatus, float | None]) -> list[StripRun]:
    return [StripRun(status, seconds) for status, seconds in runs]


def test_bar_stands_for_the_duration_against_the_median_of_the_successes() -> None:
    ok, failed = RunStatus.SUCCESS, RunStatus.FAILED
    strip = bars((ok, 60), (ok, 120), (ok, 90), (ok, 180), (ok, 1), (ok, 900), (ok, 120), (failed, 60))

    # The median of the successes is 120 s: that is 9 of 18; no bar is lower than 2 or higher than 18.
    assert formats.bar_heights(strip) == [4, 9, 7, 14, 2, 18, 9, 4]


def test_bar_of_a_run_that_is_not_timed_is_as_the_median() -> None:
    assert formats.bar_heights(bars((RunStatus.SUCCESS, 60), (RunStatus.SUCCESS, None))) == [9, 9]


def test_bars_without_any_success_to_go_by_are_as_the_median() -> None:
    assert formats.bar_heights(bars((RunStatus.FAILED, 60), (RunStatus.SUCCESS, 0))) == [9, 9]


@pytest.mark.parametrize(
    ("difference", "said"),
    [(0.0123, "+1.2 points"), (-0.05, "\N{MINUS SIGN}5.0 points"), (0.0004, "unchanged"), (-0.0004, "unchanged")],
)
def test_change_of_a_share_is_in_percentage_points(difference: float, said: str) -> None:
    assert formats.change(difference) == said
