"""The page of a pipeline."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from chm_web.access.permissions import Role
from chm_web.models import RunStatus
from chm_web.services.runs import list_pipeline_runs
from tests.factories import make_alert_rule, make_pipeline, make_run
from tests.http import client_of
from tests.web.scenes import ago, make_failing

CountQueries = Callable[[Callable[[], Any]], int]


def test_failing_pipeline_shows_its_last_error_in_full(client: FlaskClient) -> None:
    error = "first line\n  second line " + "x" * 600 + " the end"
    pipeline = make_failing(error=error)

    page = client.get(f"/pipelines/{pipeline.id}").text

    assert f">{error}</pre>" in page


def test_pipeline_page_shows_streak_and_expectation(client: FlaskClient) -> None:
    pipeline = make_failing(expected_every_minutes=90)

    page = client.get(f"/pipelines/{pipeline.id}").text

    assert "Failures in a row</dt><dd>1</dd>" in page
    assert "Expected every</dt><dd>1 h 30 min</dd>" in page


def test_runs_can_be_filtered_by_status(client: FlaskClient) -> None:
    pipeline = make_failing(error="only in the failed run")
    make_run(pipeline, started_at=ago(hours=1), finished_at=ago(minutes=50))

    page = client.get(f"/pipelines/{pipeline.id}?status=success").text

    assert "only in the failed run" not in page
    assert 'aria-current="true">Success' in page


def test_unknown_status_filter_is_a_bad_request(client: FlaskClient) -> None:
    assert client.get(f"/pipelines/{make_pipeline().id}?status=odd").status_code == 400


def test_older_runs_follow_page_by_page(client: FlaskClient) -> None:
    pipeline = make_pipeline()
    for number in range(51):
        started = ago(hours=number + 1)
        make_run(
            pipeline,
            started_at=started,
            finished_at=started + timedelta(minutes=1),
            rows_processed=9000 + number,
        )
    first = client.get(f"/pipelines/{pipeline.id}").text
    older = re.search(r'pager-next" href="([^"#]+)', first)
    assert older

    second = client.get(html.unescape(older.group(1))).text

    assert "9,050" not in first
    assert "9,050" in second
    assert "9,049" not in second
    assert "First page" in second


def test_damaged_cursor_is_a_bad_request(client: FlaskClient) -> None:
    assert client.get(f"/pipelines/{make_pipeline().id}?cursor=nonsense").status_code == 400


def test_pipeline_without_runs_says_so(client: FlaskClient) -> None:
    assert "No runs yet" in client.get(f"/pipelines/{make_pipeline().id}").text


def test_running_run_shows_how_long_it_has_run(client: FlaskClient) -> None:
    pipeline = make_pipeline()
    make_run(pipeline, status=RunStatus.RUNNING, started_at=ago(minutes=14))

    assert "14 min" in client.get(f"/pipelines/{pipeline.id}").text


def test_unknown_pipeline_is_not_found(client: FlaskClient) -> None:
    assert client.get(f"/pipelines/{uuid4()}").status_code == 404


def test_refresh_of_a_pipeline_keeps_its_filter(client: FlaskClient) -> None:
    pipeline = make_pipeline()

    page = client.get(f"/pipelines/{pipeline.id}?status=failed&since=2026-11-01").text

    assert f'hx-get="/pipelines/{pipeline.id}?status=failed&amp;since=2026-11-01" hx-select="#health"' in page


def test_dates_are_a_window_of_event_time(client: FlaskClient) -> None:
    pipeline = make_pipeline()
    for day in (1, 2, 3):
        ended = datetime(2026, 11, day, tzinfo=UTC)
        make_run(pipeline, started_at=ended - timedelta(hours=1), finished_at=ended, rows_processed=7000 + day)

    page = client.get(f"/pipelines/{pipeline.id}?since=2026-11-02&until=2026-11-03").text

    assert [rows for rows in ("7,001", "7,002", "7,003") if rows in page] == ["7,002"]
    assert "From 2 Nov 2026, 00:00:00 UTC to before 3 Nov 2026, 00:00:00 UTC" in page


def test_dates_the_wrong_way_round_are_a_bad_request(client: FlaskClient) -> None:
    answer = client.get(f"/pipelines/{make_pipeline().id}?since=2026-11-02&until=2026-11-01")

    assert answer.status_code == 400
    assert "window is empty" in answer.text


def test_status_keeps_the_dates(client: FlaskClient) -> None:
    pipeline = make_pipeline()

    page = client.get(f"/pipelines/{pipeline.id}?since=2026-11-02").text

    assert f'href="/pipelines/{pipeline.id}?since=2026-11-02&amp;status=failed#runs"' in page


def test_each_run_of_a_pipeline_leads_to_its_page(client: FlaskClient) -> None:
    pipeline = make_pipeline()
    run = make_run(pipeline)

    assert f'<a class="name" href="/runs/{run.id}">' in client.get(f"/pipelines/{pipeline.id}").text


def test_last_error_leads_to_the_run_that_failed(client: FlaskClient) -> None:
    pipeline = make_failing()
    run = list_pipeline_runs(pipeline_id=pipeline.id).items[0]

    heading = client.get(f"/pipelines/{pipeline.id}").text.split("<h3>Last error")[1].split("</h3>")[0]

    assert f'href="/runs/{run.id}"' in heading


def test_durations_are_drawn_with_median_and_95th_percentile(client: FlaskClient) -> None:
    pipeline = make_pipeline()
    runs = [
        make_run(
            pipeline, started_at=ago(hours=10 - place), finished_at=ago(hours=10 - place) + timedelta(minutes=took)
        )
        for place, took in enumerate((1, 2, 3))
    ]

    page = client.get(f"/pipelines/{pipeline.id}").text
    chart = json.loads(page.split('id="durations-data">')[1].split("</script>")[0])

    assert "Median <strong>2 min</strong>, 95th percentile <strong>2 min 54 s</strong> of 3 successes" in page
    assert [series["name"] for series in chart["series"]] == ["Success", "Median", "95th percentile"]
    assert chart["series"][0]["values"] == pytest.approx([60, 120, 180], abs=0.1)
    assert chart["links"] == [f"/runs/{run.id}" for run in runs]


def test_calendar_tells_each_day_by_shape_and_counts(client: FlaskClient) -> None:
    pipeline = make_pipeline()
    noon = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(hours=12)
    make_run(pipeline, finished_at=noon, started_at=noon)
    make_run(pipeline, finished_at=noon, started_at=noon, status=RunStatus.FAILED)

    page = client.get(f"/pipelines/{pipeline.id}").text

    assert 'aria-label="The last 90 days: 1 with some failures, 89 without runs"' in page
    assert f'<g class="day-mixed"><title>{noon.day} {noon:%b %Y}: 1 succeeded, 1 failed</title>' in page
    assert f"since={noon:%Y-%m-%d}&amp;until={noon + timedelta(days=1):%Y-%m-%d}#runs" in page


def test_rules_say_whose_they_are_and_hide_the_keys_of_their_addresses(client: FlaskClient) -> None:
    pipeline = make_pipeline()
    make_alert_rule(client_id=pipeline.client_id, destination="https://hooks.example.com/services/T0/key")

    before = client.get(f"/pipelines/{pipeline.id}").text
    make_alert_rule(pipeline_id=pipeline.id, destination="#data-alerts")
    after = client.get(f"/pipelines/{pipeline.id}").text

    assert "The rules of its client" in before
    assert "This pipeline has rules of its own, so the client's 1 rule does not apply to it." in after
    assert "https://hooks.example.com/[redacted]" in before
    assert "services/T0/key" not in before + after


def test_rules_lead_to_their_forms_for_those_who_may_change_them(app: Flask) -> None:
    pipeline = make_pipeline()
    rule = make_alert_rule(pipeline_id=pipeline.id)
    links = (f'href="/alert-rules/{rule.id}/edit"', f'href="/alert-rules/new?pipeline_id={pipeline.id}"')

    offered = client_of(app, role=Role.OPERATOR).get(f"/pipelines/{pipeline.id}").text
    plain = client_of(app, role=Role.VIEWER).get(f"/pipelines/{pipeline.id}").text

    assert [link in offered for link in links] == [True, True]
    assert [link in plain for link in links] == [False, False]


def test_pipeline_without_rules_says_that_nobody_is_told(client: FlaskClient) -> None:
    assert "nobody is told when it fails" in client.get(f"/pipelines/{make_pipeline().id}").text


def test_recipes_name_the_pipeline_and_no_token(client: FlaskClient) -> None:
    pipeline = make_pipeline(external_id="sales/orders")

    page = client.get(f"/pipelines/{pipeline.id}").text

    assert f"curl -X PUT 'http://localhost/api/v1/pipelines/{pipeline.id}/runs/RUN_ID'" in page
    assert "<code>sales/orders</code>" in page
    assert "Bearer TOKEN" in page


def test_queries_of_a_pipeline_do_not_grow_with_its_runs(client: FlaskClient, count_queries: CountQueries) -> None:
    one, many = make_failing(), make_failing()
    for hours in range(4, 40):
        make_run(many, started_at=ago(hours=hours), finished_at=ago(hours=hours))
        make_alert_rule(pipeline_id=many.id, destination=f"#channel-{hours}")

    few = count_queries(lambda: client.get(f"/pipelines/{one.id}"))

    assert count_queries(lambda: client.get(f"/pipelines/{many.id}")) == few <= 8


def test_address_to_ping_is_shown_to_those_who_may_report_runs(app: Flask) -> None:
    pipeline = make_pipeline()
    page = client_of(app, role=Role.OPERATOR).get(f"/pipelines/{pipeline.id}").text
    found = re.search(r"(/ping/[^\s/<]+)\n", page)

    assert found
    assert app.test_client().get(found.group(1)).status_code == 200
    # The line of a crontab calls the same address.
    assert re.search(rf"curl -fsS [^<]+{re.escape(found.group(1))}/\$s</pre>", page)


def test_address_to_ping_is_a_secret_to_viewers(app: Flask) -> None:
    assert "/ping/" not in client_of(app, role=Role.VIEWER).get(f"/pipelines/{make_pipeline().id}").text
