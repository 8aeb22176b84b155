"""A dbt Cloud account's feed, from HTTP to the rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from pytest_httpserver import HTTPServer
from werkzeug import Request

from chm_web.ingestion.account import FEED, NO_TEXT
from chm_web.ingestion.checks import check_source
from chm_web.ingestion.client import SourceBusy, SourceRefused, SourceUnreachable
from chm_web.ingestion.job import OVERLAP
from chm_web.ingestion.progress import NO_PIPELINE, Counts
from chm_web.models import Pipeline, Platform, RunStatus
from chm_web.services.pipelines import disable_pipeline, update_pipeline
from tests.factories import find_run, make_pipeline
from tests.ingestion.airflows import AccountAccount, read_account
from tests.ingestion.dbt_clouds import JOB, RUNS, DbtCloud, dbt_run, dbt_source, refusal, running
from tests.ingestion.partners import FAST, stored


@pytest.fixture
def dbt(app: Flask, httpserver: HTTPServer) -> DbtCloud:
    """A dbt Cloud with three runs of one job."""
    return DbtCloud(httpserver, runs=[dbt_run(1), dbt_run(2, status=20, status_message="no"), running(3)])


@pytest.fixture
def pipeline(app: Flask) -> Pipeline:
    """The pipeline of that job."""
    return make_pipeline(external_id=str(JOB), platform=Platform.DBT)


def ago(**values: float) -> str:
    """A time as dbt Cloud writes it."""
    return (datetime.now(UTC) - timedelta(**values)).isoformat(sep=" ")


def run_id(number: int) -> str:
    """The id under which a run is kept."""
    return str(dbt_run(number)["id"])


def offsets(dbt: DbtCloud) -> list[tuple[str, int]]:
    """Which part of the feed was asked for, and from where on."""
    return [
        (next((name for name in request.args if name.endswith("__range")), "all"), int(request.args["offset"]))
        for request in dbt.lists
    ]


def test_the_runs_of_all_jobs_are_read_and_recorded(dbt: DbtCloud, pipeline: Pipeline) -> None:
    other = make_pipeline(external_id="816", platform=Platform.DBT)
    dbt.runs.append(dbt_run(4, job_definition_id=816, status=30))

    account = read_account(dbt_source(dbt.server))

    assert account.counts == Counts(pages=1, created=4)
    assert {find_run(pipeline.id, run_id(n)).status for n in (1, 2, 3)} == {"success", "failed", "running"}
    assert find_run(other.id, run_id(4)).status is RunStatus.CANCELED
    assert (account.ended, account.rejected, account.reports) == (2, [], [])


def test_a_feed_of_many_pages_is_read_by_what_came_and_not_by_what_was_asked_for(
    dbt: DbtCloud, pipeline: Pipeline
) -> None:
    dbt.runs = [dbt_run(n) for n in range(7)]
    dbt.max_limit = 3

    account = read_account(dbt_source(dbt.server))

    assert (account.counts.pages, account.counts.created) == (3, 7)
    assert offsets(dbt) == [("all", 0), ("all", 3), ("all", 6)]
    assert {(request.args["order_by"], request.args["limit"]) for request in dbt.lists} == {("id", "100")}


def test_the_next_cycle_asks_for_what_was_made_or_ended_since_by_dbt_clouds_clock(
    dbt: DbtCloud, pipeline: Pipeline
) -> None:
    source = dbt_source(dbt.server)
    began = datetime.now(UTC).replace(microsecond=0)
    account = read_account(source)
    mark = account.marks[FEED]
    dbt.asked.clear()

    read_account(source, account)

    assert began <= mark + OVERLAP <= datetime.now(UTC)
    ranges = [json.loads(value) for request in dbt.lists for name, value in request.args.items() if "__range" in name]
    assert offsets(dbt) == [("created_at__range", 0), ("finished_at__range", 0)]
    assert [datetime.fromisoformat(low) for low, _ in ranges] == [mark, mark]
    assert all(datetime.fromisoformat(high) > datetime.now(UTC) + timedelta(hours=2) for _, high in ranges)


def test_a_run_that_was_made_long_ago_and_has_ended_now_is_brought_by_its_end(
    dbt: DbtCloud, pipeline: Pipeline
) -> None:
    source, account = dbt_source(dbt.server), AccountAccount()
    dbt.runs = [running(1, created_at=ago(days=9))]
    read_account(source, account)
    ended = dbt_run(1, created_at=ago(days=9), started_at=ago(days=9), finished_at=ago(seconds=1))
    dbt.runs = [ended, dbt_run(2, created_at=ago(seconds=2))]
    dbt.asked.clear()

    read_account(source, account)

    assert {find_run(pipeline.id, run_id(n)).status for n in (1, 2)} == {RunStatus.SUCCESS}


def test_a_run_that_left_the_queue_is_asked_for_by_itself(dbt: DbtCloud, pipeline: Pipeline) -> None:
    source, account = dbt_source(dbt.server), AccountAccount()
    dbt.runs = [running(1, status=1, started_at=None)]
    read_account(source, account)
    dbt.runs = [running(1)]

    read_account(source, account)

    run = find_run(pipeline.id, run_id(1))
    assert (run.status, run.status_reason) == (RunStatus.RUNNING, None)
    assert run.started_at == datetime(2024, 5, 27, 10, 42, 16, 179903, UTC)


def test_both_parts_of_the_feed_are_paged(dbt: DbtCloud, pipeline: Pipeline) -> None:
    source, account = dbt_source(dbt.server), AccountAccount()
    read_account(source, account)
    dbt.runs = [dbt_run(n, created_at=ago(seconds=9), finished_at=ago(seconds=5)) for n in range(10, 13)]
    dbt.max_limit = 2
    dbt.asked.clear()

    read_account(source, account)

    created, finished = "created_at__range", "finished_at__range"
    assert offsets(dbt) == [(created, 0), (created, 2), (finished, 0), (finished, 2)]
    assert stored() == 6


def test_runs_of_a_job_that_nobody_registered_are_noted(dbt: DbtCloud, pipeline: Pipeline) -> None:
    dbt.runs.append(dbt_run(9, job_definition_id=99))

    account = read_account(dbt_source(dbt.server))

    assert account.counts.created == 3
    assert [(one.name, one.reason, one.sample["run_id"]) for one in account.reports] == [("99", NO_PIPELINE, run_id(9))]


@pytest.mark.parametrize("external_id", ["816", "not a job"])
def test_a_pipeline_that_is_registered_later_gets_its_history_if_it_is_a_job(
    dbt: DbtCloud, pipeline: Pipeline, external_id: str
) -> None:
    source, account = dbt_source(dbt.server), AccountAccount()
    dbt.runs += [dbt_run(n, job_definition_id=816) for n in (7, 8)]
    read_account(source, account)
    later = make_pipeline(external_id=external_id, platform=Platform.DBT)

    read_account(source, account)

    assert stored() == (5 if external_id == "816" else 3)
    assert account.ended == 2
    assert account.known_ids == {pipeline.id, later.id}


def test_a_disabled_pipeline_gets_what_it_missed_when_it_is_back(dbt: DbtCloud, pipeline: Pipeline) -> None:
    source, account = dbt_source(dbt.server), AccountAccount()
    read_account(source, account)
    disable_pipeline(pipeline_id=pipeline.id)
    dbt.runs.append(dbt_run(9))
    read_account(source, account)
    update_pipeline(pipeline_id=pipeline.id, changes={"is_active": True})

    read_account(source, account)

    assert (stored(), account.reports) == (4, [])


# -- why runs failed ------------------------------------------------------------------------------------------------


def recent(number: int, **values: Any) -> dict[str, Any]:
    """A run that has failed just now: old failures are not asked about."""
    times = {"created_at": ago(minutes=3), "started_at": ago(minutes=2), "finished_at": ago(minutes=1)}
    return dbt_run(number, **{**times, "status": 20, **values})


STEPS = [
    {"index": 4, "name": "Invoke dbt with `dbt run`", "status": 20, "logs": "Database Error in model orders"},
    {"index": 3, "name": "Invoke dbt with `dbt deps`", "status": 10, "logs": "Installed"},
]


@pytest.mark.parametrize(
    ("steps", "text"),
    [(STEPS, "Invoke dbt with `dbt run`: Database Error in model orders"), (STEPS[1:], NO_TEXT), ([], NO_TEXT)],
)
def test_a_failed_run_without_a_message_gets_the_log_of_its_step_once(
    dbt: DbtCloud, pipeline: Pipeline, steps: list[dict[str, Any]], text: str
) -> None:
    dbt.runs, dbt.steps = [recent(1)], {recent(1)["id"]: steps}
    source, account = dbt_source(dbt.server), AccountAccount()

    read_account(source, account)
    read_account(source, account)

    assert find_run(pipeline.id, run_id(1)).error_message == text
    assert [request.args["include_related"] for request in dbt.singles] == ['["run_steps"]']


def test_a_message_is_text_enough_and_successes_are_not_asked_about(dbt: DbtCloud, pipeline: Pipeline) -> None:
    dbt.runs = [recent(1, status_message="no warehouse"), recent(2, status=10), recent(3, status=30)]

    read_account(dbt_source(dbt.server))

    assert find_run(pipeline.id, run_id(1)).error_message == "no warehouse"
    assert dbt.singles == []


def test_texts_are_asked_for_within_a_budget(
    dbt: DbtCloud, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chm_web.ingestion.account.MAX_TEXTS", 2)
    dbt.runs = [recent(n) for n in range(5)]

    read_account(dbt_source(dbt.server))

    assert len(dbt.singles) == 2


def test_a_failed_run_that_is_gone_stops_nobody(dbt: DbtCloud, pipeline: Pipeline) -> None:
    dbt.runs = [recent(1)]
    dbt.before = lambda request: None if request.path.endswith("/runs/") else refusal(404, "gone")

    read_account(dbt_source(dbt.server))

    assert find_run(pipeline.id, run_id(1)).error_message == NO_TEXT


# -- faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("headers", "seconds"), [({"Retry-After": "240"}, 240), ({}, 300)])
def test_a_pause_is_left_to_the_queue_and_the_reading_goes_on_behind_the_last_page(
    dbt: DbtCloud, pipeline: Pipeline, headers: Mapping[str, str], seconds: int
) -> None:
    source, account = dbt_source(dbt.server), AccountAccount()
    dbt.runs, dbt.max_limit = [dbt_run(n) for n in range(5)], 2
    dbt.before = lambda request: refusal(429, "slow down", **headers) if request.args.get("offset") == "4" else None
    with pytest.raises(SourceBusy) as busy:
        read_account(source, account)
    before = (stored(), FEED in account.marks)
    dbt.before = lambda request: None
    dbt.asked.clear()

    read_account(source, account)

    assert busy.value.retry_after == seconds
    assert before == (4, False)
    assert offsets(dbt) == [("all", 4)]
    assert (stored(), FEED in account.marks) == (5, True)


def pause_at(dbt: DbtCloud, number: int) -> None:
    """Let it ask for a pause at the so-manieth request for a single run."""
    dbt.asked.clear()
    pause = refusal(429, "slow down", **{"Retry-After": "240"})
    dbt.before = lambda request: pause if len(dbt.singles) == number and request.path != RUNS else None


def test_what_single_runs_have_told_before_a_pause_is_kept(dbt: DbtCloud, pipeline: Pipeline) -> None:
    source, account = dbt_source(dbt.server), AccountAccount()
    dbt.runs = [running(1), running(2)]
    read_account(source, account)
    dbt.runs = [dbt_run(1), dbt_run(2)]
    pause_at(dbt, 2)

    with pytest.raises(SourceBusy):
        read_account(source, account)

    statuses = {find_run(pipeline.id, run_id(n)).status for n in (1, 2)}
    assert statuses == {RunStatus.RUNNING, RunStatus.SUCCESS}


def test_texts_that_came_before_a_pause_are_kept(dbt: DbtCloud, pipeline: Pipeline) -> None:
    dbt.runs = [recent(n) for n in range(3)]
    dbt.steps = {run["id"]: STEPS for run in dbt.runs}
    pause_at(dbt, 3)

    with pytest.raises(SourceBusy):
        read_account(dbt_source(dbt.server))

    told = [find_run(pipeline.id, run_id(n)).error_message for n in range(3)]
    assert sorted(bool(text) for text in told) == [False, True, True]


def test_a_run_that_ends_while_the_feed_is_paged_moves_none_of_the_others_out(
    dbt: DbtCloud, pipeline: Pipeline
) -> None:
    source, account = dbt_source(dbt.server), AccountAccount()
    dbt.runs = [running(1)]
    read_account(source, account)
    ended = [dbt_run(n, finished_at=ago(seconds=5)) for n in range(1, 6)]
    dbt.runs, dbt.max_limit = [running(1), *ended[1:]], 2

    def end(request: Request) -> None:
        if "finished_at__range" in request.args and request.args["offset"] == "2":
            dbt.runs = ended

    dbt.before = end

    read_account(source, account)

    assert {find_run(pipeline.id, run_id(n)).status for n in range(1, 6)} == {RunStatus.SUCCESS}


def test_a_token_that_is_wrong_is_told_and_never_shown(dbt: DbtCloud, pipeline: Pipeline) -> None:
    with pytest.raises(SourceRefused, match=r"refused access \(401\)") as refused:
        read_account(dbt_source(dbt.server, token="quite-wrong-0123"))
    assert "quite-wrong" not in str(refused.value)


def test_a_token_that_is_withdrawn_in_the_middle_keeps_what_was_read(dbt: DbtCloud, pipeline: Pipeline) -> None:
    dbt.runs, dbt.max_limit = [dbt_run(n) for n in range(5)], 2
    dbt.before = lambda request: refusal(401, "Invalid token.") if request.args["offset"] == "4" else None
    account = AccountAccount()

    with pytest.raises(SourceRefused):
        read_account(dbt_source(dbt.server), account)

    assert (stored(), account.marks) == (4, {})


def test_an_account_that_is_not_there_or_not_for_the_token_is_told_so(dbt: DbtCloud, pipeline: Pipeline) -> None:
    with pytest.raises(SourceUnreachable, match="has no account 1 at this address, or the token may not read its runs"):
        check_source(dbt_source(dbt.server, account_id="1"), FAST)


def test_check_tries_a_first_page(dbt: DbtCloud, pipeline: Pipeline) -> None:
    assert check_source(dbt_source(dbt.server), FAST) == "It answers and lets us in. It serves 1 pipeline."
    assert (offsets(dbt), stored()) == ([("all", 0)], 0)


@pytest.mark.parametrize("cursor", ["all:0", "finished_at:x", "nonsense"])
def test_a_place_that_means_nothing_any_more_starts_the_feed_over(
    dbt: DbtCloud, pipeline: Pipeline, cursor: str
) -> None:
    source, account = dbt_source(dbt.server), AccountAccount()
    read_account(source, account)
    dbt.max_limit = 1
    dbt.runs = [dbt_run(n, created_at=ago(seconds=3), finished_at=ago(seconds=2)) for n in (11, 12)]
    dbt.before = lambda request: refusal(429, "wait") if request.args.get("offset") == "1" else None
    with pytest.raises(SourceBusy):
        read_account(source, account)
    dbt.before = lambda request: None
    position = account.positions[FEED]
    account.positions[FEED] = type(position)(position.since, cursor, position.asked_at)

    read_account(source, account)

    assert stored() == 5


def test_an_address_where_something_else_answers_is_told_so(app: Flask, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/api/v2/accounts/4711/runs/").respond_with_json({"hello": "world"})
    with pytest.raises(SourceUnreachable, match="answered something else"):
        read_account(dbt_source(httpserver))
