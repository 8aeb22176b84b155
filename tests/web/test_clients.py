"""The page of a client."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

from flask.testing import FlaskClient

from chm_web.models import Channel, RunStatus
from tests.factories import make_alert_rule, make_client, make_pipeline, make_run
from tests.web.scenes import ago, make_failing, make_healthy


def test_client_page_lists_its_pipelines_worst_first(client: FlaskClient) -> None:
    owner = make_client(name="Acme Retail")
    make_healthy(client=owner, name="all_well")
    make_failing(client=owner, name="very_broken")

    page = client.get(f"/clients/{owner.id}").text

    assert "<h1>Acme Retail</h1>" in page
    assert page.index("very_broken") < page.index("all_well")
    assert '<a class="fact" href="#pipelines">2 pipelines</a>' in page


def test_client_page_counts_runs_of_the_window_by_status(client: FlaskClient) -> None:
    owner = make_client()
    pipeline = make_pipeline(owner)
    for hours in (1, 2, 50):
        ended = ago(hours=hours)
        make_run(pipeline, started_at=ended - timedelta(minutes=1), finished_at=ended)

    def successes(window: str) -> bool:
        return "Success</dt><dd>3</dd>" in client.get(f"/clients/{owner.id}?window={window}").text

    assert not successes("24h")
    assert successes("7d")


def test_client_page_says_the_success_rate(client: FlaskClient) -> None:
    owner = make_client()
    pipeline = make_pipeline(owner)
    for status in (RunStatus.SUCCESS, RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.SKIPPED):
        make_run(pipeline, status=status, started_at=ago(hours=2), finished_at=ago(hours=1))

    assert "66.7 %" in client.get(f"/clients/{owner.id}").text


def test_client_page_refuses_an_unknown_window(client: FlaskClient) -> None:
    assert client.get(f"/clients/{make_client().id}?window=1y").status_code == 400


def test_unknown_client_is_not_found(client: FlaskClient) -> None:
    assert client.get(f"/clients/{uuid4()}").status_code == 404


def test_client_without_pipelines_says_what_to_do(client: FlaskClient) -> None:
    assert "no active pipelines" in client.get(f"/clients/{make_client().id}").text


def test_refresh_of_a_client_keeps_its_window(client: FlaskClient) -> None:
    owner = make_client()

    fragment = client.get(f"/clients/{owner.id}/health?window=7d", headers={"HX-Request": "true"}).text

    assert f'hx-get="/clients/{owner.id}/health?window=7d"' in fragment
    assert "Runs in the last 7 days" in fragment


def test_refreshed_part_of_a_client_leads_to_its_page(client: FlaskClient) -> None:
    owner = make_client()

    fragment = client.get(f"/clients/{owner.id}/health?window=7d", headers={"HX-Request": "true"}).text

    assert f'href="/clients/{owner.id}?window=30d"' in fragment


def test_success_rate_is_compared_with_the_window_before(client: FlaskClient) -> None:
    pipeline = make_pipeline(make_client())
    for status, hours in ((RunStatus.SUCCESS, 2), (RunStatus.SUCCESS, 30), (RunStatus.FAILED, 31)):
        make_run(pipeline, status=status, started_at=ago(hours=hours), finished_at=ago(hours=hours))

    assert "+50.0 points, was 50.0 %" in client.get(f"/clients/{pipeline.client_id}").text


def test_client_page_takes_a_window_of_ones_own(client: FlaskClient) -> None:
    pipeline = make_pipeline(make_client())
    make_run(pipeline, started_at=ago(days=40), finished_at=ago(days=40) + timedelta(minutes=1))
    since, until = (f"{ago(days=days):%Y-%m-%dT%H:%M}" for days in (41, 39))

    page = client.get(f"/clients/{pipeline.client_id}?window=custom&since={since}&until={until}").text

    assert "Success</dt><dd>1</dd>" in page
    assert f'name="since" value="{since}"' in page


def test_client_with_many_pipelines_shows_some_and_leads_to_all(client: FlaskClient) -> None:
    owner = make_client()
    for number in range(52):
        make_pipeline(owner, name=f"pipeline number {number:02}")

    page = client.get(f"/clients/{owner.id}").text

    assert page.count('id="pipeline-') == 50
    assert "in most trouble of 52" in page
    assert f'href="/pipelines?client_id={owner.id}"' in page


def test_timeline_shows_runs_by_status(client: FlaskClient) -> None:
    pipeline = make_pipeline(make_client())
    make_run(pipeline, started_at=ago(hours=13), finished_at=ago(hours=12))
    make_run(pipeline, status=RunStatus.FAILED, started_at=ago(hours=7), finished_at=ago(hours=6))
    make_run(pipeline, status=RunStatus.RUNNING, started_at=ago(hours=1))

    page = client.get(f"/clients/{pipeline.client_id}").text

    assert 'aria-label="1 failed, 1 succeeded, 1 running"' in page


def test_rules_of_a_client_and_of_its_pipelines_are_listed(client: FlaskClient) -> None:
    owner = make_client()
    pipeline = make_pipeline(owner, name="orders_daily")
    make_alert_rule(client_id=owner.id)
    make_alert_rule(
        pipeline_id=pipeline.id, channel=Channel.WEBHOOK, destination="https://hooks.example/secret", is_enabled=False
    )
    make_alert_rule(client_id=make_client().id, destination="#others")

    page = client.get(f"/clients/{owner.id}").text

    assert "<code>#data-alerts</code>" in page
    assert "<code>https://hooks.example/[redacted]</code>" in page
    assert "secret" not in page
    assert "#others" not in page


def test_client_without_rules_is_told_so(client: FlaskClient) -> None:
    assert "No alert rule covers this client" in client.get(f"/clients/{make_client().id}").text


def test_number_of_queries_of_a_client_is_fixed(
    client: FlaskClient, count_queries: Callable[[Callable[[], Any]], int]
) -> None:
    owner = make_client()
    make_failing(client=owner)
    few = count_queries(lambda: client.get(f"/clients/{owner.id}"))
    for _ in range(6):
        make_failing(client=owner)
        make_healthy(client=owner)

    assert count_queries(lambda: client.get(f"/clients/{owner.id}")) == few
