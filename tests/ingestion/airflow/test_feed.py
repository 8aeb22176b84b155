"""An Airflow's account feed, from HTTP to the rows: what is asked for, and what becomes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from pytest_httpserver import HTTPServer

from benchmarks.statements import count_statements
from chm_web.ingestion.account import FEED
from chm_web.ingestion.job import OVERLAP
from chm_web.ingestion.progress import Counts
from chm_web.models import Pipeline, RunStatus
from tests.factories import find_run
from tests.ingestion.airflows import (
    DAG,
    FAILED_RUN,
    LONG_AGO,
    VERSIONS,
    AccountAccount,
    Airflow,
    airflow_source,
    dag_run,
    read_account,
    recorded,
)
from tests.ingestion.partners import stored


@pytest.mark.parametrize("version", VERSIONS)
def test_the_runs_of_all_dags_are_read_and_recorded(
    app: Flask, httpserver: HTTPServer, pipeline: Pipeline, version: str
) -> None:
    name, major = ("dagruns_list", 2) if version[0] == "2" else ("dagruns_list_final", 3)
    airflow = Airflow(httpserver, version=version, runs=recorded(name, major)["dag_runs"])

    account = read_account(airflow_source(httpserver))

    statuses = {run["dag_run_id"]: run["state"] for run in airflow.runs}
    assert account.counts == Counts(pages=1, created=len(statuses))
    assert {run_id: find_run(pipeline.id, run_id).status for run_id in statuses} == statuses
    assert (account.ended, account.rejected, account.reports) == (1, [], [])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_feed_of_many_pages_is_read_to_its_end(
    app: Flask, httpserver: HTTPServer, pipeline: Pipeline, version: str
) -> None:
    # Airflow gives no more than it likes to, whatever is asked for.
    Airflow(httpserver, version=version, runs=[dag_run(n) for n in range(7)], max_limit=3)

    account = read_account(airflow_source(httpserver))

    assert (account.counts.pages, account.counts.created) == (3, 7)


def test_the_next_cycle_asks_for_what_changed_since_by_airflows_clock(airflow: Airflow, pipeline: Pipeline) -> None:
    source = airflow_source(airflow.server)
    began = datetime.now(UTC).replace(microsecond=0)
    account = read_account(source)
    mark = account.marks[FEED]
    airflow.asked.clear()
    airflow.changed = {run["dag_run_id"]: LONG_AGO for run in airflow.runs if run["dag_run_id"] != FAILED_RUN}

    read_account(source, account)

    # What a Date header tells: whole seconds.
    assert mark.microsecond == 0
    assert began <= mark + OVERLAP <= datetime.now(UTC)
    feeds = [request.args for request in airflow.asked if request.path.endswith("~/dagRuns")]
    assert [datetime.fromisoformat(args["updated_at_gte"]) for args in feeds] == [mark]
    assert account.counts == Counts(pages=2, created=4, unchanged=1)


def test_a_day_later_the_last_two_days_are_read_again(airflow: Airflow, pipeline: Pipeline) -> None:
    source = airflow_source(airflow.server)
    account = read_account(source)
    account.deep[FEED] -= timedelta(days=1, hours=1)

    read_account(source, account)
    read_account(source, account)

    feeds = [request.args.get("updated_at_gte") for request in airflow.asked if request.path.endswith("~/dagRuns")]
    deep, after = (datetime.fromisoformat(since) for since in feeds if since)
    assert deep <= datetime.now(UTC) - timedelta(hours=48)
    assert after > deep + timedelta(hours=47)


def test_a_cleared_run_goes_from_failed_to_running_to_its_new_end(airflow: Airflow, pipeline: Pipeline) -> None:
    source, account = airflow_source(airflow.server), AccountAccount()
    queued = recorded("dagrun_after_clear_requeued")
    begun = {**queued, "state": "running", "start_date": "2026-11-23T02:00:02Z"}
    ended = {**begun, "state": "success", "end_date": "2026-11-23T02:00:12Z", "duration": 10.0}
    seen = []
    for state in (recorded("dagrun_get_failed"), queued, begun, ended):
        airflow.runs = [state]
        read_account(source, account)
        run = find_run(pipeline.id, FAILED_RUN)
        seen.append((run.status, run.started_at))

    first, second = (
        datetime.fromisoformat("2026-11-23T01:58:40.203141Z"),
        datetime.fromisoformat("2026-11-23T02:00:02Z"),
    )
    assert seen == [
        (RunStatus.FAILED, first),
        (RunStatus.RUNNING, None),
        (RunStatus.RUNNING, second),
        (RunStatus.SUCCESS, second),
    ]
    run = find_run(pipeline.id, FAILED_RUN)
    assert (run.duration_seconds, run.status_reason, run.error_message, stored()) == (10, None, None, 1)


def test_a_page_is_mapped_and_written_in_three_statements_at_most(airflow: Airflow, pipeline: Pipeline) -> None:
    airflow.runs = [dag_run(n, state="success", dag_id=DAG if n % 2 else "nobody's") for n in range(300)]

    with count_statements() as seen:
        account = read_account(airflow_source(airflow.server))

    # What is asked once a cycle stands beside: the pipelines, the running runs, the failed ones without a text.
    of_pages = {words: n for words, n in seen.items() if n > 1 and words.startswith(("SELECT", "COPY", "WITH"))}
    assert account.counts.pages == 3
    assert 2 * account.counts.pages <= sum(of_pages.values()) <= 3 * account.counts.pages, of_pages
