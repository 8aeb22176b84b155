"""How stable pipelines are, in the fleet of ``tests.reporting.scene`` and in spans worked out by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from chm_web.models import Client, Platform, RunStatus
from chm_web.services import stability
from chm_web.services.exceptions import NotFound
from tests.factories import NOW, make_client, make_pipeline, make_record
from tests.reporting import scene
from tests.reporting.scene import CANCELED, FAILED, SUCCESS, ago
from tests.services.recording import record

pytestmark = pytest.mark.usefixtures("app")

SINCE = ago(24 * 7)


def client_with(*runs: tuple[RunStatus, float], **values: Any) -> Client:
    """A client with one pipeline; of its runs, the status and how many hours before NOW they ended."""
    client = make_client()
    pipeline = make_pipeline(client, **values)
    record(*(make_record(pipeline, **scene.run(status, hours)) for status, hours in runs))
    return client


def spans(client: Client, since: float = 100, until: float = 0) -> list[tuple[float, float | None, int]]:
    """The outages of a client: when they began and ended, in hours before NOW, and how many failures."""
    found = stability.list_outages(client_id=client.id, since=ago(since), until=ago(until))

    return [
        (
            (NOW - outage.began_at) / timedelta(hours=1),
            None if outage.ended_at is None else (NOW - outage.ended_at) / timedelta(hours=1),
            outage.failures,
        )
        for outage in found
    ]


def test_flaky_pipelines_are_those_that_change_most_often() -> None:
    ids = scene.build()

    flaky = stability.list_flaky(since=SINCE, until=NOW)

    # prices: success, failed, success, failed, success, success; broken only ever failed.
    assert [(each.pipeline_id, each.runs, each.failed, each.changes, each.flakiness) for each in flaky] == [
        (ids["prices"], 6, 2, 4, 0.8)
    ]


@pytest.mark.parametrize(
    ("runs", "changes"),
    [
        ((SUCCESS, SUCCESS, FAILED, FAILED, FAILED), []),  # it broke
        ((FAILED, FAILED, SUCCESS, SUCCESS, SUCCESS), []),  # it was mended
        ((SUCCESS, SUCCESS, FAILED, SUCCESS, SUCCESS), [2]),
        ((SUCCESS, FAILED, SUCCESS, SUCCESS), []),  # too few to tell
    ],
)
def test_flaky_takes_a_change_and_one_back(runs: tuple[RunStatus, ...], changes: list[int]) -> None:
    client_with(*((status, 30.0 - number) for number, status in enumerate(runs)))

    assert [each.changes for each in stability.list_flaky(since=SINCE, until=NOW)] == changes


def test_flaky_pipelines_of_one_client_leave_out_the_rest() -> None:
    ids = scene.build()

    assert len(stability.list_flaky(since=SINCE, until=NOW, client_id=ids["Acme"])) == 1
    assert stability.list_flaky(since=SINCE, until=NOW, client_id=ids["Birch"]) == []


def test_platforms_are_compared_with_the_window_before() -> None:
    client_with((SUCCESS, 40), (SUCCESS, 41), (FAILED, 42), (FAILED, 5), (SUCCESS, 6), platform=Platform.DBT)
    client_with((SUCCESS, 30), platform=Platform.CRON)

    dbt, cron = stability.list_platforms(since=ago(24), until=NOW)

    assert (dbt.platform, dbt.runs, dbt.failed, dbt.failure_rate) == ("dbt", 2, 1, 0.5)
    assert dbt.failure_rate_before == pytest.approx(1 / 3)
    assert (cron.platform, cron.runs, cron.failure_rate, cron.failure_rate_before) == ("cron", 0, None, 0)


def test_clients_with_most_failures_of_the_day_come_first() -> None:
    client_with(*[(FAILED, 100.0 + hours) for hours in range(5)])
    client_with((FAILED, 3), (FAILED, 2))

    found = stability.list_failures_by_client(now=NOW)

    assert [(each.failures_24h, each.failures_7d) for each in found] == [(2, 2), (0, 5)]


def test_durations_are_counted_and_ranked() -> None:
    pipeline = make_pipeline(platform=Platform.DBT)
    record(*(make_record(pipeline, **scene.run(SUCCESS, 3, seconds=seconds)) for seconds in (0.5, 10, 20, 7200)))

    counted = stability.count_durations(since=SINCE, until=NOW)
    (dbt,) = stability.list_durations(since=SINCE, until=NOW)

    assert {(each.lower_seconds, each.runs) for each in counted if each.runs} == {(0, 1), (5, 1), (15, 1), (7200, 1)}
    assert counted[-1].upper_seconds is None
    assert (dbt.platform, dbt.runs, dbt.p50_seconds, dbt.max_seconds) == ("dbt", 4, 15, 7200)


class TestOutages:
    """From a first failure to the next success."""

    def test_outage_lasts_from_the_first_failure_to_the_next_success(self) -> None:
        client = client_with((SUCCESS, 30), (FAILED, 20), (CANCELED, 18), (FAILED, 16), (SUCCESS, 12), (SUCCESS, 2))

        assert spans(client) == [(20, 12, 2)]

    def test_longest_comes_first(self) -> None:
        client = client_with((FAILED, 30), (SUCCESS, 29), (FAILED, 20), (SUCCESS, 10), (FAILED, 6), (SUCCESS, 3))

        assert spans(client) == [(20, 10, 1), (6, 3, 1), (30, 29, 1)]

    def test_outage_that_goes_on_has_no_end(self) -> None:
        client = client_with((SUCCESS, 30), (FAILED, 20))

        assert spans(client) == [(20, None, 1)]

    def test_outage_that_began_before_the_window_is_whole(self) -> None:
        client = client_with((SUCCESS, 60), (FAILED, 50), (FAILED, 40), (FAILED, 10), (SUCCESS, 5))

        assert spans(client, since=24) == [(50, 5, 3)]

    def test_outage_without_a_run_in_the_window_is_told(self) -> None:
        client = client_with((SUCCESS, 60), (FAILED, 50))

        assert spans(client, since=24) == [(50, None, 1)]

    def test_success_after_the_window_does_not_end_it(self) -> None:
        client = client_with((FAILED, 20), (SUCCESS, 5))

        assert spans(client, since=48, until=10) == [(20, None, 1)]

    def test_outage_that_ended_before_the_window_is_left_out(self) -> None:
        client = client_with((FAILED, 50), (SUCCESS, 40), (SUCCESS, 2))

        assert spans(client, since=24) == []

    def test_pipelines_are_told_apart(self) -> None:
        client = client_with((FAILED, 20), (SUCCESS, 18))
        other = make_pipeline(client)
        record(make_record(other, **scene.run(FAILED, 19)), make_record(other, **scene.run(SUCCESS, 11)))

        assert spans(client) == [(19, 11, 1), (20, 18, 1)]


def test_report_sums_up_a_period_and_the_one_before() -> None:
    ids = scene.build()

    report = stability.report_client(client_id=ids["Acme"], since=ago(48), until=NOW)

    assert report.runs.success_share == pytest.approx(5 / 9)
    assert report.runs.share_before == pytest.approx(2 / 8)
    assert [(each.pipeline_name, each.failed) for each in report.by_pipeline][:2] == [("orders", 2), ("invoices", 1)]
    assert sum(report.failures.series[0].values) == report.runs.counts[FAILED]


def test_report_of_an_unknown_client_is_not_found() -> None:
    with pytest.raises(NotFound):
        stability.report_client(client_id=make_pipeline().id, since=ago(48), until=NOW)
