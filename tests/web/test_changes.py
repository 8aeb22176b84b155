"""What has changed since yesterday, on the first page and by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from chm_web.models import Platform, RunStatus
from tests.factories import make_client, make_pipeline, make_run
from tests.web.scenes import ago, make_failing, make_healthy

PARTIAL = {"HX-Request": "true"}


def make_broken_since(hours: float, **values: Any) -> None:
    """A pipeline that succeeded ten days ago and has failed for so many hours."""
    pipeline = make_failing(hours=hours, **values)
    make_run(pipeline, started_at=ago(days=10), finished_at=ago(days=10) + timedelta(minutes=1))


def test_first_page_asks_for_the_changes_it_was_asked_for(client: FlaskClient) -> None:
    make_healthy()

    page = client.get("/?changed=7d&by=platform").text

    assert 'hx-get="/overview/changes?changed=7d&amp;by=platform"' in page
    assert '<a href="/overview/changes?changed=7d&amp;by=platform">' in page


def test_newly_failing_pipeline_shows_what_it_was_and_why(client: FlaskClient) -> None:
    make_broken_since(3, client=make_client(name="Acme Retail"), name="orders_daily", error="disk full")

    page = client.get("/overview/changes", headers=PARTIAL).text

    for expected in ("Newly failing", "orders_daily", "Acme Retail", "Healthy", "First failure", "disk full"):
        assert expected in page


def test_changes_lead_to_the_flaky_pipelines(client: FlaskClient) -> None:
    make_healthy()

    part = client.get("/overview/changes", headers=PARTIAL).text

    assert '<a href="/insights">flaky pipelines</a>' in part


def test_recovery_is_told(client: FlaskClient) -> None:
    pipeline = make_failing(hours=30, name="came_back")
    make_run(pipeline, started_at=ago(hours=2), finished_at=ago(hours=1))

    page = client.get("/overview/changes", headers=PARTIAL).text

    assert 'id="recovered"' in page
    assert "came_back" in page


def test_blip_is_told_as_such(client: FlaskClient) -> None:
    pipeline = make_healthy(name="hiccup")
    make_run(pipeline, status=RunStatus.FAILED, started_at=ago(hours=5), finished_at=ago(hours=4))

    page = client.get("/overview/changes", headers=PARTIAL).text

    assert 'id="blip"' in page
    assert "failed 1 time" in page


def test_newly_late_pipeline_says_for_how_long(client: FlaskClient) -> None:
    pipeline = make_pipeline(name="gone_quiet", expected_every_minutes=60)
    make_run(pipeline, started_at=ago(hours=4), finished_at=ago(hours=3, minutes=20))

    page = client.get("/overview/changes", headers=PARTIAL).text

    # Late 75 minutes after the success.
    assert 'id="gone_silent"' in page
    assert "2 h 5 min</time>" in page


def test_longer_ago_compares_with_longer_ago(client: FlaskClient) -> None:
    make_broken_since(50, name="since_two_days")

    assert "since_two_days" not in client.get("/overview/changes", headers=PARTIAL).text
    assert "since_two_days" in client.get("/overview/changes?changed=7d", headers=PARTIAL).text
    since = f"{ago(hours=60):%Y-%m-%dT%H:%M}"
    assert (
        "since_two_days" in client.get(f"/overview/changes?changed=custom&changed_since={since}", headers=PARTIAL).text
    )


def test_nothing_changed_is_said_plainly(client: FlaskClient) -> None:
    make_failing(hours=50)

    assert "Nothing has changed" in client.get("/overview/changes", headers=PARTIAL).text


@pytest.mark.parametrize(
    "query",
    [
        "changed=1y",
        "changed=custom",
        "changed=custom&changed_since=soon",
        "changed=custom&changed_since=2190-01-01",
        "by=colour",
        "window=1y",
    ],
)
def test_what_cannot_be_had_is_a_bad_request(client: FlaskClient, query: str) -> None:
    assert client.get(f"/overview/changes?{query}").status_code == 400
    assert client.get(f"/?{query}").status_code == 400


def test_changes_are_a_page_of_their_own_without_javascript(client: FlaskClient) -> None:
    make_healthy()

    page = client.get("/overview/changes").text

    assert "<h1>Changes</h1>" in page
    assert 'href="/overview/changes?changed=7d#changes"' in page


def test_part_of_the_first_page_leads_back_to_it(client: FlaskClient) -> None:
    make_healthy()

    part = client.get("/overview/changes?by=platform", headers=PARTIAL).text

    assert 'href="/?by=platform&amp;changed=7d#changes"' in part


def test_failures_are_stacked_by_client_or_platform(client: FlaskClient) -> None:
    # A client called as a platform is keeps its own way to write it.
    make_failing(client=make_client(name="airflow"), platform=Platform.AIRFLOW)

    by_client = client.get("/overview/changes", headers=PARTIAL).text
    by_platform = client.get("/overview/changes?by=platform", headers=PARTIAL).text

    assert '"name": "airflow"' in by_client
    assert '"name": "Airflow"' in by_platform


def test_no_failures_are_said_plainly(client: FlaskClient) -> None:
    pipeline = make_pipeline()
    make_run(pipeline, started_at=ago(hours=2), finished_at=ago(hours=1))

    assert "No run failed in the last 24 hours." in client.get("/overview/changes", headers=PARTIAL).text
