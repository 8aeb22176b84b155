"""Which pipeline the runs of a DAG belong to, and pipelines that come later."""

from __future__ import annotations

import pytest
from werkzeug import Response

from chm_web.ingestion.client import SourceBusy
from chm_web.ingestion.progress import NO_PIPELINE, SEVERAL_PIPELINES
from chm_web.models import Pipeline, Platform, RunStatus
from chm_web.services.pipelines import disable_pipeline, update_pipeline
from tests.factories import find_run, make_client, make_pipeline
from tests.ingestion.airflows import (
    DAG,
    FAILED_RUN,
    LONG_AGO,
    AccountAccount,
    Airflow,
    airflow_source,
    dag_run,
    read_account,
)
from tests.ingestion.partners import stored


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


def test_a_history_that_was_read_before_a_pause_is_not_read_once_more(airflow: Airflow, pipeline: Pipeline) -> None:
    source, account = airflow_source(airflow.server), AccountAccount()
    names = ["first", "second", "third"]
    airflow.runs += [dag_run(n, dag_id=name) for n, name in enumerate(names)]
    read_account(source, account)
    airflow.changed = {f"scheduled__{n}": LONG_AGO for n in range(len(names))}
    for name in names:
        make_pipeline(external_id=name, platform=Platform.AIRFLOW)

    def histories() -> list[str]:
        return [name for name in names if any(f"/dags/{name}/dagRuns?" in request.url for request in airflow.asked)]

    airflow.before = lambda request: Response("", 429, {"Retry-After": "60"}) if len(histories()) == 2 else None
    with pytest.raises(SourceBusy):
        read_account(source, account)
    before = histories()
    airflow.before = lambda request: None
    airflow.asked.clear()

    read_account(source, account)

    # The one that met the pause is in both.
    assert (len(before), len(histories()), len({*before, *histories()})) == (2, 2, 3)
    assert stored() == 7


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
