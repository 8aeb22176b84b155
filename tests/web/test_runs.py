"""The runs of all clients, the page of a run, and recording one by hand."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from chm_web.access.permissions import Role
from chm_web.models import Platform, RunStatus
from chm_web.services.runs import get_latest_run, list_pipeline_runs
from tests.factories import make_client, make_pipeline, make_run
from tests.http import client_of
from tests.web.scenes import ago, make_failing, make_healthy

CountQueries = Callable[[Callable[[], Any]], int]


def read_csv(text: str) -> list[dict[str, str]]:
    """The rows of a file by their heads."""
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))


def shown(page: str) -> list[str]:
    """The names of the pipelines whose runs a page lists, from the top."""
    return re.findall(r'<td class="cell-pipeline"><a [^>]*>([^<]*)</a>', page)


# -- runs of all clients ------------------------------------------------------------------------------------------


def test_runs_of_all_clients_are_listed_newest_first(client: FlaskClient) -> None:
    run = make_run(make_pipeline(name="older"), started_at=ago(hours=5), finished_at=ago(hours=2))
    make_run(make_pipeline(name="newer"), started_at=ago(hours=6), finished_at=ago(hours=1))

    page = client.get("/runs").text

    assert shown(page) == ["newer", "older"]
    assert f'<a class="name" href="/runs/{run.id}">' in page


def test_seven_days_are_shown_unless_asked_otherwise(client: FlaskClient) -> None:
    for days in (0.5, 6, 8, 31):
        make_run(make_pipeline(name=f"{days} days"), started_at=ago(days=days), finished_at=ago(days=days))

    assert shown(client.get("/runs").text) == ["0.5 days", "6 days"]
    assert shown(client.get("/runs?window=24h").text) == ["0.5 days"]
    assert shown(client.get("/runs?window=30d").text) == ["0.5 days", "6 days", "8 days"]


def test_window_of_ones_own_ends_before_its_end(client: FlaskClient) -> None:
    for hour in (9, 10, 11):
        at = datetime(2026, 3, 1, hour, tzinfo=UTC)
        make_run(make_pipeline(name=f"{hour} h"), started_at=at, finished_at=at)

    page = client.get("/runs?window=custom&since=2026-03-01T09:30&until=2026-03-01T11:00").text

    assert shown(page) == ["10 h"]
    assert 'name="since" value="2026-03-01T09:30"' in page


@pytest.mark.parametrize(
    "query",
    [
        "window=custom",
        "window=custom&since=2026-03-02&until=2026-03-01",
        "window=9d",
        "status=odd",
        "client_id=1",
        "platform=odd",
        "cursor=odd",
    ],
)
def test_what_cannot_be_listed_is_a_bad_request(client: FlaskClient, query: str) -> None:
    assert client.get(f"/runs?{query}").status_code == 400
    if not query.startswith("cursor"):
        assert client.get(f"/runs.csv?{query}").status_code == 400


@pytest.fixture
def three(app: Flask) -> dict[str, str]:
    """Three runs that every filter tells apart; gives the queries that find the first alone."""
    one = make_pipeline(make_client(name="Acme"), name="orders", platform=Platform.DBT)
    ended = ago(hours=1)
    make_run(one, status=RunStatus.FAILED, started_at=ended, finished_at=ended, error_message="connection refused")
    for name in ("invoices", "prices"):
        make_run(make_pipeline(name=name, platform=Platform.CRON), started_at=ended, finished_at=ended)
    return {
        "status": "status=failed",
        "client": f"client_id={one.client_id}",
        "platform": "platform=dbt",
        "name": "q=ORD",
        "pipeline": f"pipeline_id={one.id}",
        "error": "error=REFUSED",
    }


def test_errors_are_searched_in_so_many_days_and_the_page_says_so(client: FlaskClient) -> None:
    for name, days in (("march", 40), ("april", 3)):
        ended = datetime(2026, 5, 1, tzinfo=UTC) - timedelta(days=days)
        times = {"started_at": ended, "finished_at": ended}
        make_run(make_pipeline(name=name), status=RunStatus.FAILED, error_message="out of memory", **times)

    page = client.get("/runs?window=custom&since=2026-01-01&until=2026-05-01&error=memory").text

    assert shown(page) == ["april"]
    assert "In the last 31 days before" in page
    assert "Errors are searched in 31 days at most." in page


@pytest.mark.parametrize("name", ["status", "client", "platform", "name", "pipeline", "error"])
def test_filters_narrow_the_page_and_the_file(client: FlaskClient, three: dict[str, str], name: str) -> None:
    assert shown(client.get(f"/runs?{three[name]}").text) == ["orders"]
    assert [row["pipeline"] for row in read_csv(client.get(f"/runs.csv?{three[name]}").text)] == ["orders"]


def test_filters_and_window_survive_each_other(client: FlaskClient, three: dict[str, str]) -> None:
    page = html.unescape(client.get(f"/runs?window=30d&status=failed&{three['pipeline']}").text)

    assert f'href="/runs?window=24h&status=failed&{three["pipeline"]}"' in page
    form = page.split("data-filters")[1].split("</form>")[0]
    assert '<input type="hidden" name="window" value="30d">' in form
    assert '<option value="failed" selected>' in form
    assert 'aria-label="Runs of all pipelines"' in form


def test_pipeline_that_is_filtered_by_must_exist(client: FlaskClient) -> None:
    assert client.get(f"/runs?pipeline_id={uuid4()}").status_code == 404


def test_next_page_of_runs_goes_on_where_the_first_ended(client: FlaskClient) -> None:
    pipeline = make_pipeline()
    for minutes in range(51):
        make_run(pipeline, started_at=ago(minutes=minutes), finished_at=None, rows_processed=9000 + minutes)
    first = client.get("/runs?status=success").text
    link = re.search(r'pager-next" href="([^"]+)', first)
    assert link

    second = client.get(html.unescape(link.group(1))).text

    assert (len(shown(first)), len(shown(second))) == (50, 1)
    assert "9,050" in second
    assert 'href="/runs?status=success"' in second


def test_no_runs_says_what_to_do(client: FlaskClient) -> None:
    assert "look at a longer time, or at the ingestion" in client.get("/runs").text
    filtered = client.get("/runs?status=failed&window=30d").text
    assert "Take away a filter" in filtered
    assert 'href="/runs?window=30d">Clear filters' in filtered


def test_error_shows_for_runs_that_failed_alone(client: FlaskClient) -> None:
    at = {"started_at": ago(hours=1), "finished_at": ago(hours=1)}
    make_run(
        make_pipeline(),
        **at,
        status=RunStatus.FAILED,
        error_message="Traceback (most recent call last):\n x\nKeyError: 1",
    )
    make_run(make_pipeline(), **at, status=RunStatus.CANCELED, status_reason="by the operator")
    make_run(make_pipeline(), **at, error_message="only a warning")

    for text in (client.get("/runs").text, client.get("/runs.csv").text):
        assert "KeyError: 1" in text
        assert "by the operator" in text
        assert "only a warning" not in text


def test_file_holds_what_the_page_shows(client: FlaskClient) -> None:
    pipeline = make_pipeline(make_client(name="=cmd()"), name="orders", platform=Platform.DBT)
    started = ago(hours=1).replace(microsecond=0)
    run = make_run(
        pipeline,
        external_run_id="x/1",
        started_at=started,
        finished_at=started + timedelta(seconds=90),
        rows_processed=12,
    )
    expected = {
        "status": "success",
        "pipeline": "orders",
        "client": "'=cmd()",
        "platform": "dbt",
        "external_run_id": "x/1",
        "started_at": f"{started:%Y-%m-%dT%H:%M:%SZ}",
        "finished_at": f"{started + timedelta(seconds=90):%Y-%m-%dT%H:%M:%SZ}",
        "duration_seconds": "90.0",
        "rows_processed": "12",
        "error": "",
        "run_id": str(run.id),
    }

    answer = client.get("/runs.csv")

    assert answer.headers["Content-Disposition"] == f'attachment; filename="runs-{datetime.now(UTC):%Y-%m-%d}.csv"'
    assert read_csv(answer.text) == [expected]
    assert read_csv(client.get(f"/pipelines/{pipeline.id}/runs.csv").text) == [expected]


def test_file_of_a_pipeline_follows_its_filters(client: FlaskClient) -> None:
    pipeline = make_failing()
    make_run(pipeline, started_at=ago(hours=1), finished_at=ago(minutes=50))

    rows = read_csv(client.get(f"/pipelines/{pipeline.id}/runs.csv?status=failed").text)

    assert [row["status"] for row in rows] == ["failed"]


def test_queries_of_the_runs_page_are_as_many_for_any_fleet(client: FlaskClient, count_queries: CountQueries) -> None:
    make_healthy()
    few = count_queries(lambda: client.get("/runs"))
    for _ in range(20):
        make_healthy()

    assert count_queries(lambda: client.get("/runs")) == few == 2


# -- one run ------------------------------------------------------------------------------------------------------


def test_run_shows_its_error_in_full_and_its_payload_as_text(client: FlaskClient) -> None:
    error = "line 1\n  <b>line 2</b>\n" + "x" * 5000 + " the end"
    at = ago(hours=1)
    payload = {"note": "<script>alert(1)</script>", "größe": [1, None]}
    run = make_run(status=RunStatus.FAILED, started_at=at, finished_at=at, error_message=error, payload=payload)

    page = client.get(f"/runs/{run.id}").text

    assert f">{html.escape(error)}</pre>" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&#34;größe&#34;: [\n    1,\n    null\n  ]" in page
    assert "<script>alert" not in page


def test_run_compares_its_duration_with_the_median(client: FlaskClient) -> None:
    pipeline = make_pipeline()
    for hours in (5, 4, 3):
        make_run(pipeline, started_at=ago(hours=hours), finished_at=ago(hours=hours) + timedelta(minutes=10))
    started = ago(hours=2)
    slow = make_run(pipeline, status=RunStatus.FAILED, started_at=started, finished_at=started + timedelta(minutes=25))

    page = client.get(f"/runs/{slow.id}").text

    assert "25 min" in page
    assert "2.5 times the median, 10 min" in page


def test_run_leads_to_its_neighbours_and_the_last_success(client: FlaskClient) -> None:
    pipeline = make_pipeline()
    good, bad, worse, later = (
        make_run(pipeline, status=status, started_at=ago(hours=hours), finished_at=ago(hours=hours))
        for hours, status in (
            (4, RunStatus.SUCCESS),
            (3, RunStatus.FAILED),
            (2, RunStatus.FAILED),
            (1, RunStatus.SUCCESS),
        )
    )

    page = client.get(f"/runs/{worse.id}").text
    links = page.split('aria-label="Other runs of this pipeline, by event time"')[1].split("</nav>")[0]

    assert re.findall(r'href="/runs/([^"]+)"', links) == [str(good.id), str(bad.id), str(later.id)]


def test_run_tells_when_it_was_received(client: FlaskClient) -> None:
    run = make_run(started_at=ago(hours=3), finished_at=ago(hours=2))

    page = client.get(f"/runs/{run.id}").text

    assert "2 h after the event time" in page
    assert "when it ended" in page


def test_run_says_who_reported_it(client: FlaskClient, csrf_token: str) -> None:
    pipeline = make_pipeline()
    fed = make_run(pipeline)
    client.post(f"/pipelines/{pipeline.id}/runs/new", data={"csrf_token": csrf_token, "status": "skipped"})
    by_hand = list_pipeline_runs(pipeline_id=pipeline.id, status=RunStatus.SKIPPED).items[0]

    assert "<dd>The platform&#39;s feed</dd>" in client.get(f"/runs/{fed.id}").text
    assert f"<dd>{by_hand.updated_by}</dd>" in client.get(f"/runs/{by_hand.id}").text


def test_run_under_way_refreshes_itself_and_one_that_has_ended_does_not(client: FlaskClient) -> None:
    running = make_run(status=RunStatus.RUNNING, started_at=ago(minutes=14))

    page = client.get(f"/runs/{running.id}").text

    assert f'<div id="run" data-polls hx-get="/runs/{running.id}"' in page
    assert "14 min" in page
    assert '<div id="run">' in client.get(f"/runs/{make_run().id}").text


def test_run_that_says_nothing_of_itself_still_shows(client: FlaskClient) -> None:
    run = make_run(status=RunStatus.FAILED, started_at=None, finished_at=None)

    page = client.get(f"/runs/{run.id}").text

    assert "The platform gave no message" in page
    assert "it has no time of its own" in page
    assert "The source sent nothing more" in page


def test_unknown_run_is_not_found(client: FlaskClient) -> None:
    assert client.get(f"/runs/{uuid4()}").status_code == 404


def test_queries_of_a_run_do_not_grow_with_its_pipeline(client: FlaskClient, count_queries: CountQueries) -> None:
    alone = make_run()
    pipeline = make_pipeline()
    runs = [make_run(pipeline, started_at=ago(hours=hours), finished_at=ago(hours=hours)) for hours in range(30)]

    few = count_queries(lambda: client.get(f"/runs/{alone.id}"))

    assert count_queries(lambda: client.get(f"/runs/{runs[9].id}")) == few == 3


# -- by hand ------------------------------------------------------------------------------------------------------


def test_run_is_recorded_by_hand_and_shown(client: FlaskClient, csrf_token: str) -> None:
    pipeline = make_pipeline()
    form = {
        "csrf_token": csrf_token,
        "status": "failed",
        "started_at": "2026-11-01T10:00",
        "finished_at": "2026-11-01T10:05:30",
        "rows_processed": "1,200",
        "error_message": "first\r\nsecond",
        "external_run_id": "",
    }

    answer = client.post(f"/pipelines/{pipeline.id}/runs/new", data=form)
    run = get_latest_run(pipeline_id=pipeline.id)

    assert (answer.status_code, answer.headers["Location"]) == (303, f"/runs/{run.id}")
    assert (run.started_at, run.duration_seconds) == (datetime(2026, 11, 1, 10, tzinfo=UTC), 330)
    assert (run.rows_processed, run.error_message) == (1200, "first\nsecond")
    assert run.external_run_id.startswith("manual-")
    assert "The run is recorded." in client.get(answer.headers["Location"]).text


@pytest.mark.parametrize(
    ("values", "field", "issue"),
    [
        ({"status": ""}, "status", "needed"),
        (
            {"started_at": "2026-11-01T10:00", "finished_at": "2026-11-01T09:00"},
            "finished_at",
            "Must not be before started_at",
        ),
        ({"status": "running", "finished_at": "2026-11-01T09:00"}, "finished_at", "A running run has no finished_at"),
        ({"started_at": "yesterday"}, "started_at", "Not a valid"),
        ({"duration_seconds": "a while"}, "duration_seconds", "Give a number"),
        ({"rows_processed": "-1"}, "rows_processed", "Must be 0 or more."),
        ({"external_run_id": "taken"}, "external_run_id", "has a run with this external id already"),
    ],
)
def test_run_that_cannot_be_recorded_keeps_what_was_typed(
    client: FlaskClient, csrf_token: str, values: dict[str, str], field: str, issue: str
) -> None:
    pipeline = make_pipeline()
    make_run(pipeline, external_run_id="taken")
    form = {"csrf_token": csrf_token, "status": "success", "status_reason": "typed & kept", **values}

    answer = client.post(f"/pipelines/{pipeline.id}/runs/new", data=form)
    problem = re.search(rf'id="{field}-problem">([^<]*)<', answer.text)

    assert answer.status_code == 422
    assert problem
    assert issue in problem.group(1)
    assert "typed &amp; kept" in answer.text
    assert len(list_pipeline_runs(pipeline_id=pipeline.id).items) == 1


def test_form_of_an_unknown_pipeline_is_not_found(client: FlaskClient, csrf_token: str) -> None:
    path = f"/pipelines/{uuid4()}/runs/new"

    assert client.get(path).status_code == 404
    assert client.post(path, data={"csrf_token": csrf_token, "status": "success"}).status_code == 404


def test_viewers_are_not_offered_what_they_may_not_do(app: Flask) -> None:
    path = f"/pipelines/{make_pipeline().id}"

    assert "Record a run" in client_of(app, role=Role.OPERATOR).get(path).text
    assert "Record a run" not in client_of(app, role=Role.VIEWER).get(path).text
