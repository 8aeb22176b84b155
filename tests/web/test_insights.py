"""Flaky pipelines, failure rates, failures by client and durations."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from chm_web.models import Pipeline, Platform, RunStatus
from tests.factories import make_client, make_pipeline, make_run
from tests.web.scenes import ago, make_healthy

FAILED, SUCCESS = RunStatus.FAILED, RunStatus.SUCCESS
TABLES = ["flaky", "platforms", "clients", "durations", "percentiles"]


def make_flaky(days: float = 1, **values: Any) -> Pipeline:
    """A pipeline whose six runs, of a minute each, failed and succeeded by turns."""
    pipeline = make_pipeline(**values)
    for number, status in enumerate((FAILED, SUCCESS) * 3):
        ended = ago(days=days, hours=-number)
        make_run(pipeline, status=status, started_at=ended - timedelta(minutes=1), finished_at=ended)
    return pipeline


def rows_of(client: FlaskClient, table: str, query: str = "") -> list[dict[str, str]]:
    """The rows of a table as CSV."""
    response = client.get(f"/insights/{table}.csv{query}")
    assert response.status_code == 200
    return list(csv.DictReader(io.StringIO(response.text.removeprefix("\ufeff"))))


def test_flaky_pipeline_is_shown_with_its_figures(client: FlaskClient) -> None:
    make_flaky(client=make_client(name="Acme Retail"), name="prices")

    page = client.get("/insights").text

    for expected in ("prices", "Acme Retail", ">100 %<"):
        assert expected in page


def test_nothing_flaky_is_said_plainly(client: FlaskClient) -> None:
    make_healthy()

    assert "No pipeline is flaky" in client.get("/insights").text


def test_without_any_run_nothing_is_praised_and_the_way_to_begin_is_told(client: FlaskClient) -> None:
    make_pipeline()

    page = client.get("/insights").text

    assert "There are no runs yet" in page
    assert 'class="btn" href="/pipelines"' in page
    assert 'class="btn" href="/ingestion"' in page
    for praise in ("No pipeline is flaky", "No client had a failure", "shape-ok"):
        assert praise not in page


@pytest.mark.parametrize("days", [10, 60], ids=["in the window before", "long ago"])
def test_window_in_which_nothing_ran_is_not_praised(client: FlaskClient, days: int) -> None:
    make_run(started_at=ago(days=days), finished_at=ago(days=days))

    page = client.get("/insights").text

    assert "Nothing ran in the last 7 days." in page
    assert "There are no runs yet" not in page
    assert "shape-ok" not in page


@pytest.mark.parametrize(("days", "praised"), [(10, False), (2, True)])
def test_week_without_failures_is_praised_only_if_anything_ran_in_it(
    client: FlaskClient, days: int, praised: bool
) -> None:
    make_run(started_at=ago(days=days), finished_at=ago(days=days))

    page = client.get("/insights?window=30d").text

    blank = re.search(
        r'<div class="blank">\s*<svg class="shape shape-(\w+)"(?:(?!<div).)*No client had a failure', page, re.S
    )
    assert blank and (blank.group(1) == "ok") is praised


def test_longer_window_shows_what_is_older(client: FlaskClient) -> None:
    make_flaky(days=20, name="was_flaky")

    assert "was_flaky" not in client.get("/insights").text
    assert "was_flaky" in client.get("/insights?window=30d").text


def test_failure_rate_is_compared_with_the_window_before(client: FlaskClient) -> None:
    pipeline = make_pipeline(platform=Platform.DBT)
    for status, days in ((FAILED, 1), (SUCCESS, 2), (SUCCESS, 10)):
        make_run(pipeline, status=status, started_at=ago(days=days), finished_at=ago(days=days))

    page = client.get("/insights").text

    assert ">50.0 %<" in page
    assert "50.0 points" in page


def test_unknown_window_is_a_bad_request(client: FlaskClient) -> None:
    assert client.get("/insights?window=24h").status_code == 400


def test_section_is_in_the_navigation(client: FlaskClient) -> None:
    assert 'href="/insights" data-key="t"' in client.get("/clients").text


def test_files_hold_the_figures(client: FlaskClient) -> None:
    make_flaky(name="prices", platform=Platform.DBT, client=make_client(name="=Acme"))

    flaky, platforms, clients, durations, percentiles = (rows_of(client, table) for table in TABLES)

    assert (flaky[0]["client"], flaky[0]["pipeline"], flaky[0]["changes"]) == ("'=Acme", "prices", "5")
    assert platforms == [
        {
            "platform": "dbt",
            "runs": "6",
            "succeeded": "3",
            "failed": "3",
            "failure_rate": "0.5",
            "failure_rate_before": "",
        }
    ]
    assert clients[0]["failures_7d"] == "3"
    assert [row["runs"] for row in durations if row["from_seconds"] == "60"] == ["3"]
    assert percentiles[0]["p50_seconds"] == "60.0"


def test_file_has_the_window_of_the_page(client: FlaskClient) -> None:
    make_flaky(days=20)

    assert rows_of(client, "flaky") == []
    assert len(rows_of(client, "flaky", "?window=30d")) == 1
    assert 'href="/insights/flaky.csv?window=30d"' in client.get("/insights?window=30d").text


@pytest.mark.parametrize("address", ["/insights/nothing.csv", "/insights/flaky"])
def test_unknown_table_is_not_found(client: FlaskClient, address: str) -> None:
    assert client.get(address).status_code == 404


def test_number_of_queries_is_fixed(client: FlaskClient, count_queries: Callable[[Callable[[], Any]], int]) -> None:
    make_flaky()
    few = count_queries(lambda: client.get("/insights"))
    for _ in range(4):
        make_flaky()

    assert count_queries(lambda: client.get("/insights")) == few
