"""The page of a pipeline."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from uuid import uuid4

from flask.testing import FlaskClient

from chm_web.models import RunStatus
from tests.factories import make_pipeline, make_run
from tests.web.scenes import ago, make_failing


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
    assert "Newest runs" in second


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

    fragment = client.get(f"/pipelines/{pipeline.id}/health?status=failed").text

    assert f'hx-get="/pipelines/{pipeline.id}/health?status=failed"' in fragment
