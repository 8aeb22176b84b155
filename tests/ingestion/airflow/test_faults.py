"""An Airflow that refuses, pauses, changes while it is read, or answers nonsense."""

from __future__ import annotations

from dataclasses import replace

import pytest
from flask import Flask
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from chm_web.ingestion.account import FEED
from chm_web.ingestion.client import SourceBusy, SourceRefused, SourceUnreachable
from chm_web.ingestion.job import OVERLAP
from chm_web.models import Pipeline, RunStatus
from tests.factories import find_run
from tests.ingestion.airflows import (
    FAILED_RUN,
    VERSIONS,
    AccountAccount,
    Airflow,
    airflow_source,
    dag_run,
    read_account,
    recorded,
    refusal,
)
from tests.ingestion.partners import stored


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
