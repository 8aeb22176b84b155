"""An Airflow's account feed, from HTTP to the rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from benchmarks.statements import count_statements
from chm_web.ingestion.account import FEED, NO_TEXT
from chm_web.ingestion.client import SourceBusy, SourceRefused, SourceUnreachable
from chm_web.ingestion.job import OVERLAP
from chm_web.ingestion.progress import NO_PIPELINE, SEVERAL_PIPELINES, Counts
from chm_web.models import Pipeline, Platform, RunStatus
from chm_web.services.pipelines import disable_pipeline, update_pipeline
from chm_web.services.runs import record_runs
from tests.factories import find_run, make_client, make_pipeline, make_record
from tests.ingestion.airflows import (
    DAG,
    LONG_AGO,
    AccountAccount,
    Airflow,
    airflow_source,
    dag_run,
    read_account,
    recorded,
    refusal,
)
from tests.ingestion.partners import stored

FAILED_RUN = "manual__2026-11-23T01:58:38.517682+00:00"


@pytest.fixture
def airflow(app: Flask, httpserver: HTTPServer) -> Airflow:
    """An Airflow 3 that has the recorded runs."""
    return Airflow(httpserver, runs=recorded("dagruns_list_final")["dag_runs"])


@pytest.fixture
def pipeline(app: Flask) -> Pipeline:
    """The pipeline of the recorded DAG."""
    return make_pipeline(external_id=DAG, platform=Platform.AIRFLOW)


VERSIONS = ["3.3.2", "3.1.8", "2.11.2"]


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


# -- which pipeline -------------------------------------------------------------------------------------------------


def test_runs_of_a_dag_that_nobody_registered_are_noted_and_the_page_is_saved(
    airflow: Airflow, pipeline: Pipeline
) -> None:
    airflow.runs.append(dag_run(1, dag_id="new dag"))

    account = read_account(airflow_source(airflow.server))

    assert account.counts.created == 4
    [report] = account.reports
    assert (report.name, report.reason, report.sample["run_id"]) == ("new dag", NO_PIPELINE, "scheduled__1")


def test_runs_of_a_dag_that_two_clients_have_are_noted_as_nobodys(airflow: Airflow, pipeline: Pipeline) -> None:
    make_pipeline(external_id=DAG, platform=Platform.AIRFLOW)

    account = read_account(airflow_source(airflow.server))

    assert stored() == 0
    assert {report.reason for report in account.reports} == {SEVERAL_PIPELINES}


def test_a_source_of_one_client_knows_whose_the_dag_is(airflow: Airflow, pipeline: Pipeline) -> None:
    mine = make_pipeline(make_client(name="Acme"), external_id=DAG, platform=Platform.AIRFLOW)

    read_account(airflow_source(airflow.server, client="Acme"))

    assert find_run(mine.id, FAILED_RUN).pipeline_id == mine.id
    assert stored() == 4


def test_a_disabled_pipeline_is_left_alone_and_gets_what_it_missed_when_it_is_back(
    airflow: Airflow, pipeline: Pipeline
) -> None:
    source, account = airflow_source(airflow.server), AccountAccount()
    read_account(source, account)
    disable_pipeline(pipeline_id=pipeline.id)
    airflow.runs.append(dag_run(1))
    read_account(source, account)
    missed = (stored(), account.reports)
    airflow.changed = {"scheduled__1": LONG_AGO}

    update_pipeline(pipeline_id=pipeline.id, changes={"is_active": True})
    read_account(source, account)

    assert missed == (4, [])
    assert stored() == 5


def test_a_pipeline_that_is_registered_later_gets_its_history(airflow: Airflow, pipeline: Pipeline) -> None:
    source, account = airflow_source(airflow.server), AccountAccount()
    airflow.runs += [dag_run(n, dag_id="later/dag") for n in range(3)]
    read_account(source, account)
    airflow.changed = {f"scheduled__{n}": LONG_AGO for n in range(3)}
    later = make_pipeline(external_id="later/dag", platform=Platform.AIRFLOW)

    read_account(source, account)

    assert find_run(later.id, "scheduled__2").status is RunStatus.FAILED
    assert account.known_ids == {pipeline.id, later.id}


def test_a_pipeline_that_airflow_does_not_know_stops_nobody(airflow: Airflow, pipeline: Pipeline) -> None:
    source, account = airflow_source(airflow.server), AccountAccount()
    read_account(source, account)
    make_pipeline(external_id="unknown", platform=Platform.AIRFLOW)

    read_account(source, account)

    assert account.ended == 2


def test_many_new_pipelines_get_their_history_even_if_the_reading_for_it_is_broken_off_for_good(
    airflow: Airflow, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chm_web.ingestion.account.MANY_NEW", 0)
    source, account = airflow_source(airflow.server), AccountAccount()
    airflow.runs += [dag_run(n, dag_id="later") for n in range(3)]
    airflow.changed = {f"scheduled__{n}": LONG_AGO for n in range(3)}
    read_account(source, account)
    later = make_pipeline(external_id="later", platform=Platform.AIRFLOW)
    airflow.max_limit = 2
    airflow.before = lambda request: Response("", 429, {"Retry-After": "60"}) if "after-3" in request.url else None
    with pytest.raises(SourceBusy):
        read_account(source, account)
    airflow.before = lambda request: None
    account.positions.clear()

    read_account(source, account)

    assert find_run(later.id, "scheduled__2").status is RunStatus.FAILED
    assert account.known_ids == {pipeline.id, later.id}


def test_a_page_is_mapped_and_written_in_three_statements_at_most(airflow: Airflow, pipeline: Pipeline) -> None:
    airflow.runs = [dag_run(n, state="success", dag_id=DAG if n % 2 else "nobody's") for n in range(300)]

    with count_statements() as seen:
        account = read_account(airflow_source(airflow.server))

    # What is asked once a cycle stands beside: the pipelines, the running runs, the failed ones without a text.
    of_pages = {words: n for words, n in seen.items() if n > 1 and words.startswith(("SELECT", "COPY", "WITH"))}
    assert account.counts.pages == 3
    assert 2 * account.counts.pages <= sum(of_pages.values()) <= 3 * account.counts.pages, of_pages


# -- runs that ended unseen, and error texts ------------------------------------------------------------------------


def test_a_run_that_is_held_as_running_is_asked_for_when_the_feed_is_silent(
    airflow: Airflow, pipeline: Pipeline
) -> None:
    source, account = airflow_source(airflow.server), AccountAccount()
    running = {**recorded("dagrun_get_failed"), "state": "running", "end_date": None, "duration": None}
    airflow.runs = [running]
    read_account(source, account)
    airflow.runs = [recorded("dagrun_get_failed")]
    airflow.changed = {FAILED_RUN: LONG_AGO}

    read_account(source, account)

    assert find_run(pipeline.id, FAILED_RUN).status is RunStatus.FAILED


def test_a_running_run_that_the_feed_brings_is_not_asked_for_once_more(airflow: Airflow, pipeline: Pipeline) -> None:
    airflow.runs = [dag_run(1, state="running", end_date=None)]

    read_account(airflow_source(airflow.server))

    assert airflow.paths("scheduled__1") == []


def test_a_running_run_that_airflow_has_forgotten_stays_and_stops_nobody(airflow: Airflow, pipeline: Pipeline) -> None:
    record_runs(records=[make_record(pipeline, external_run_id="gone", status=RunStatus.RUNNING)])

    account = read_account(airflow_source(airflow.server))

    assert (find_run(pipeline.id, "gone").status, account.ended) == (RunStatus.RUNNING, 1)


def recent(run: dict[str, Any], **values: Any) -> dict[str, Any]:
    """A run that has failed just now: old failures are not asked about."""
    now = datetime.now(UTC)
    times = {
        "start_date": (now - timedelta(minutes=2)).isoformat(),
        "end_date": (now - timedelta(minutes=1)).isoformat(),
    }
    return {**run, **times, **values}


@pytest.mark.parametrize(
    ("version", "text"),
    [("3.3.2", "extract: ValueError: vendor file missing: orders_20261123.csv"), ("2.11.2", "extract failed")],
)
def test_a_failed_run_gets_the_error_of_the_task_that_failed(
    airflow: Airflow, pipeline: Pipeline, version: str, text: str
) -> None:
    airflow.version = version
    airflow.runs = [recent(dag_run(1))]
    source, account = airflow_source(airflow.server), AccountAccount()

    read_account(source, account)
    airflow.asked.clear()
    read_account(source, account)

    assert find_run(pipeline.id, "scheduled__1").error_message == text
    # Once told, it is not asked for again.
    assert airflow.paths("taskInstances") == []


def test_a_note_is_text_enough(airflow: Airflow, pipeline: Pipeline) -> None:
    airflow.runs = [recent(dag_run(1, note="vendor outage"))]

    read_account(airflow_source(airflow.server))

    assert find_run(pipeline.id, "scheduled__1").error_message == "vendor outage"
    assert airflow.paths("taskInstances") == []


@pytest.mark.parametrize(("part", "text"), [("/logs/", "extract failed"), ("taskInstances", NO_TEXT)])
def test_what_airflow_does_not_tell_of_a_failure_is_not_asked_for_for_ever(
    airflow: Airflow, pipeline: Pipeline, part: str, text: str
) -> None:
    airflow.runs = [recent(dag_run(1))]
    airflow.before = lambda request: Response("{}", 404) if part in request.path else None

    read_account(airflow_source(airflow.server))

    assert find_run(pipeline.id, "scheduled__1").error_message == text


def test_a_failed_run_whose_id_no_path_can_hold_costs_its_own_text_alone(airflow: Airflow, pipeline: Pipeline) -> None:
    airflow.runs = [recent(dag_run(1, dag_run_id="..")), recent(dag_run(2))]

    account = read_account(airflow_source(airflow.server))

    assert find_run(pipeline.id, "..").error_message == NO_TEXT
    assert find_run(pipeline.id, "scheduled__2").error_message is not None
    assert (account.ended, FEED in account.marks) == (1, True)


def test_texts_are_asked_for_within_a_budget(
    airflow: Airflow, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chm_web.ingestion.account.MAX_TEXTS", 2)
    airflow.runs = [recent(dag_run(n)) for n in range(5)]

    read_account(airflow_source(airflow.server))

    assert len(airflow.paths("/logs/")) == 2


# -- faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "status"), [("dagruns_401_no_token", 401), ("dagruns_403_bad_token", 403)])
def test_a_token_that_expires_in_the_middle_of_the_feed_is_renewed_once(
    airflow: Airflow, pipeline: Pipeline, name: str, status: int
) -> None:
    airflow.runs = [dag_run(n) for n in range(5)]
    airflow.max_limit = 2
    expired: list[Request] = []

    def expire(request: Request) -> Response | None:
        if request.args.get("cursor") != "after-1" or expired:
            return None
        expired.append(request)
        return refusal(name)

    airflow.before = expire

    account = read_account(airflow_source(airflow.server))

    assert (account.counts.created, airflow.signed_in) == (5, 2)


@pytest.mark.parametrize("name", ["dagruns_401_no_token", "dagruns_403_bad_token"])
def test_a_refusal_that_a_new_sign_in_does_not_help_ends_the_reading(
    airflow: Airflow, pipeline: Pipeline, name: str
) -> None:
    airflow.before = lambda request: refusal(name) if request.path.endswith("dagRuns") else None

    with pytest.raises(SourceRefused, match="refused access"):
        read_account(airflow_source(airflow.server))

    assert airflow.signed_in == 2


@pytest.mark.parametrize("version", ["3.3.2", "2.11.2"])
def test_a_wrong_password_is_told_and_never_shown(airflow: Airflow, pipeline: Pipeline, version: str) -> None:
    airflow.version = version
    with pytest.raises(SourceRefused, match=r"refused access \(40[13]\)") as refused:
        read_account(airflow_source(airflow.server, password="quite-wrong-0123"))
    assert "quite-wrong" not in str(refused.value)


def test_a_given_token_is_used_as_it_is(airflow: Airflow, pipeline: Pipeline) -> None:
    source = airflow_source(airflow.server, username=None, password=None, token=airflow.token)

    account = read_account(source)

    assert (account.counts.created, airflow.signed_in) == (4, 0)


@pytest.mark.parametrize("version", VERSIONS)
def test_runs_that_join_and_change_while_the_feed_is_paged_cost_none_of_the_others(
    airflow: Airflow, pipeline: Pipeline, version: str
) -> None:
    airflow.version, airflow.max_limit = version, 2
    runs = [dag_run(n) for n in range(6)]
    airflow.runs = runs[1:]

    def change(request: Request) -> Response | None:
        if len(airflow.paths("~/dagRuns")) == 2 and runs[0] not in airflow.runs:
            # One joins in front of what was read; one that was read changes.
            airflow.runs = [runs[0], {**runs[1], "state": "success"}, *runs[2:]]
        return None

    airflow.before = change

    read_account(airflow_source(airflow.server))

    assert {find_run(pipeline.id, f"scheduled__{n}").status for n in range(1, 6)} == {RunStatus.FAILED}


def test_pages_that_repeat_and_reorder_runs_end_in_the_same_rows(airflow: Airflow, pipeline: Pipeline) -> None:
    source, account = airflow_source(airflow.server), AccountAccount()
    early = {**recorded("dagrun_get_failed"), "state": "running", "end_date": None, "duration": None}
    airflow.runs = [recorded("dagrun_get_failed"), early, recorded("dagrun_get_failed"), early]
    airflow.max_limit = 1
    airflow.version = "3.1.8"

    read_account(source, account)

    run = find_run(pipeline.id, FAILED_RUN)
    assert (run.status, run.duration_seconds, stored()) == (RunStatus.FAILED, 33.658722, 1)


def test_a_run_that_cannot_be_understood_costs_itself_alone(airflow: Airflow, pipeline: Pipeline) -> None:
    airflow.runs += [dag_run(1, start_date="yesterday"), dag_run(2, dag_id=None), dag_run(3, state=None)]

    account = read_account(airflow_source(airflow.server))

    assert (account.counts.created, account.counts.rejected) == (4, 3)
    assert {item.external_run_id: item.pipeline_id for item in account.rejected} == {
        "scheduled__1": pipeline.id,
        "scheduled__2": None,
        "scheduled__3": pipeline.id,
    }


def test_a_pause_keeps_the_place_and_the_next_visit_goes_on_behind_it(airflow: Airflow, pipeline: Pipeline) -> None:
    source, account = airflow_source(airflow.server), AccountAccount()
    airflow.runs = [dag_run(n, state="success") for n in range(6)]
    airflow.max_limit = 2
    airflow.before = lambda request: (
        Response("slow down", 429, {"Retry-After": "60"}) if request.args.get("cursor") == "after-3" else None
    )
    with pytest.raises(SourceBusy) as busy:
        read_account(source, account)
    seconds, read, is_marked = busy.value.retry_after, stored(), FEED in account.marks
    airflow.before = lambda request: None
    asked_at = account.positions[FEED].asked_at
    airflow.asked.clear()

    read_account(source, account)

    assert seconds == 60
    assert read == 4
    assert not is_marked
    assert [request.args["cursor"] for request in airflow.asked if request.path.endswith("~/dagRuns")] == ["after-3"]
    assert (stored(), account.marks[FEED]) == (6, asked_at - OVERLAP)


def test_a_place_that_is_good_no_more_starts_the_feed_over(airflow: Airflow, pipeline: Pipeline) -> None:
    source, account = airflow_source(airflow.server), AccountAccount()
    airflow.max_limit = 2
    airflow.before = lambda request: Response("", 429, {"Retry-After": "60"}) if "after-1" in request.url else None
    with pytest.raises(SourceBusy):
        read_account(source, account)
    airflow.before = lambda request: None
    account.positions[FEED] = replace(account.positions[FEED], cursor="cursor:of-an-older-airflow")

    read_account(source, account)

    assert stored() == 4


def test_an_address_where_no_airflow_answers_is_told_so(app: Flask, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/api/v2/version").respond_with_json({"hello": "world"})
    with pytest.raises(SourceUnreachable, match="is it Airflow"):
        read_account(airflow_source(httpserver))
