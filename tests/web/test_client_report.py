"""A client's report for a period."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from flask.testing import FlaskClient

from chm_web.models import Pipeline, RunStatus
from chm_web.web.client_report import period_words
from tests.factories import make_client, make_pipeline, make_run
from tests.web.scenes import ago

PERIOD = "window=custom&since=2026-03-01&until=2026-03-15"
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


def make_run_at(pipeline: Pipeline, hours: float, status: RunStatus = RunStatus.SUCCESS) -> None:
    """A run that ended so many hours after the period began."""
    ended = BEGIN + timedelta(hours=hours)
    make_run(pipeline, status=status, started_at=ended - timedelta(minutes=1), finished_at=ended)


@pytest.fixture
def pipeline() -> Pipeline:
    """A pipeline that failed for five hours in the period, of ten runs, and once in ten before it."""
    pipeline = make_pipeline(make_client(name="Acme Retail"), name="orders_daily")
    for hours in range(8):
        make_run_at(pipeline, 100 + hours)
    make_run_at(pipeline, 50, RunStatus.FAILED)
    make_run_at(pipeline, 52.5, RunStatus.FAILED)
    make_run_at(pipeline, 55)
    make_run_at(pipeline, -50, RunStatus.FAILED)
    for hours in range(9):
        make_run_at(pipeline, -40 + hours)
    return pipeline


def test_report_sums_up_the_period_and_compares_it(client: FlaskClient, pipeline: Pipeline) -> None:
    page = " ".join(client.get(f"/clients/{pipeline.client_id}/report?{PERIOD}").text.split())

    assert "Acme Retail: pipeline report" in page
    assert "1 March 2026 to 14 March 2026" in page
    assert "11 runs of 1 pipeline finished: 9 succeeded and 2 failed" in page
    assert "8.2 percentage points lower than in the 14 days before, when it was 90.0 % of 10 runs" in page


def test_report_tells_the_longest_interruptions(client: FlaskClient, pipeline: Pipeline) -> None:
    page = client.get(f"/clients/{pipeline.client_id}/report?{PERIOD}").text

    interruptions = page[page.index("Longest interruptions") :]
    assert "3 Mar, 02:00:00" in interruptions
    assert "3 Mar, 07:00:00" in interruptions
    assert ">5 h</td>" in interruptions


def test_pipelines_with_changing_results_stand_in_the_order_of_their_first_figure(client: FlaskClient) -> None:
    owner = make_client()
    seldom, often = make_pipeline(owner, name="seldom"), make_pipeline(owner, name="often")
    for hours in range(20):
        make_run_at(seldom, hours, RunStatus.FAILED if hours in (5, 9, 13) else RunStatus.SUCCESS)
    for hours in range(5):
        make_run_at(often, hours, RunStatus.FAILED if hours % 2 else RunStatus.SUCCESS)

    page = client.get(f"/clients/{owner.id}/report?{PERIOD}").text

    table = page[page.index("Pipelines with changing results") : page.index("Pipelines</h2>")]
    figures = re.findall(
        r'<th scope="row">(\w+)</th><td[^>]*>([\d.]+ %)</td><td data-label="Changes"[^>]*>(\d+)', table
    )
    assert figures == [("often", "100 %", "4"), ("seldom", "31.6 %", "6")]


def test_report_is_of_the_last_month_unless_asked_otherwise(client: FlaskClient) -> None:
    last_month = datetime.now(UTC).replace(day=1) - timedelta(days=1)

    page = client.get(f"/clients/{make_client().id}/report").text

    assert f'<p class="report-period">{last_month:%B %Y}</p>' in page
    assert "No run finished in this period." in page


def test_interruption_that_goes_on_is_told_as_such(client: FlaskClient) -> None:
    pipeline = make_pipeline()
    make_run(pipeline, status=RunStatus.FAILED, started_at=ago(hours=4), finished_at=ago(hours=3))

    page = client.get(f"/clients/{pipeline.client_id}/report?window=7d").text

    assert "not yet" in page
    assert "3 h so far" in page


def test_report_shows_no_error_text_and_no_other_client(client: FlaskClient, pipeline: Pipeline) -> None:
    make_run(
        pipeline,
        status=RunStatus.FAILED,
        started_at=BEGIN,
        finished_at=BEGIN + timedelta(hours=1),
        error_message="an error of ours",
    )
    make_client(name="Somebody Else")

    page = client.get(f"/clients/{pipeline.client_id}/report?{PERIOD}").text

    assert "an error of ours" not in page
    assert "Somebody Else" not in page


def test_report_of_an_unknown_client_is_not_found(client: FlaskClient) -> None:
    assert client.get(f"/clients/{uuid4()}/report").status_code == 404


@pytest.mark.parametrize("query", ["window=1y", "window=custom", "window=custom&since=2026-03-02&until=2026-03-01"])
def test_period_that_cannot_be_had_is_a_bad_request(client: FlaskClient, query: str) -> None:
    assert client.get(f"/clients/{make_client().id}/report?{query}").status_code == 400


def test_client_page_leads_to_its_report(client: FlaskClient) -> None:
    owner = make_client()

    assert f'href="/clients/{owner.id}/report"' in client.get(f"/clients/{owner.id}").text


def test_number_of_queries_is_fixed(client: FlaskClient, count_queries: Callable[[Callable[[], Any]], int]) -> None:
    owner = make_client()
    address = f"/clients/{owner.id}/report?{PERIOD}"
    make_run_at(make_pipeline(owner), 1)
    few = count_queries(lambda: client.get(address))
    for _ in range(5):
        make_run_at(make_pipeline(owner), 1, RunStatus.FAILED)

    assert count_queries(lambda: client.get(address)) == few


@pytest.mark.parametrize(
    ("since", "until", "words"),
    [
        ("2026-10-01", "2026-11-01", "October 2026"),
        ("2026-10-01", "2026-12-01", "1 October 2026 to 30 November 2026"),
        ("2026-12-25", "2027-01-02", "25 December 2026 to 1 January 2027"),
        ("2026-10-01T08:00", "2026-10-02", "1 Oct 2026, 08:00 to 2 Oct 2026, 00:00 UTC"),
    ],
)
def test_period_is_said_as_people_do(since: str, until: str, words: str) -> None:
    moments = [datetime.fromisoformat(moment).replace(tzinfo=UTC) for moment in (since, until)]

    assert period_words(*moments) == words
