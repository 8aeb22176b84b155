"""Two accounts at one platform: which of them a pipeline is in, nobody has said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from pytest_httpserver import HTTPServer

from chm_web.config import Config
from chm_web.ingestion.account import NO_TEXT
from chm_web.ingestion.progress import SyncScope
from chm_web.ingestion.queue import request_sync
from chm_web.ingestion.sources import Source
from chm_web.models import Pipeline, Platform, RunStatus
from chm_web.services.runs import record_runs
from tests.factories import find_run, make_pipeline, make_record
from tests.ingestion.airflows import DAG, PASSWORD, USER, Airflow, airflow_source, dag_run, read_account
from tests.ingestion.conftest import WorkerProcess, app_reading, wait_for
from tests.ingestion.partners import base_url

TOLD = "extract: ValueError: vendor file missing: orders_20261123.csv"


@pytest.fixture
def elsewhere() -> Iterator[Airflow]:
    """An Airflow that has runs of other DAGs alone."""
    with HTTPServer(host="127.0.0.1") as server:
        yield Airflow(server, runs=[dag_run(9, dag_id="another", state="success")])


@pytest.fixture
def airflow(httpserver: HTTPServer) -> Airflow:
    """The Airflow whose run failed."""
    return Airflow(httpserver, runs=[dag_run(1)])


def failed(pipeline: Pipeline, *run_ids: str) -> None:
    """Record runs that failed an hour ago, by a platform that does not say why."""
    ended = datetime.now(UTC) - timedelta(hours=1)
    began = ended - timedelta(minutes=1)
    values = {"status": RunStatus.FAILED, "started_at": began, "finished_at": ended, "attempt_at": began}
    record_runs(records=[make_record(pipeline, external_run_id=run_id, **values) for run_id in run_ids])


def test_an_account_says_nothing_of_a_run_that_another_one_may_know(
    app: Flask, airflow: Airflow, elsewhere: Airflow
) -> None:
    pipeline = make_pipeline(external_id=DAG, platform=Platform.AIRFLOW)
    failed(pipeline, "scheduled__1")

    read_account(airflow_source(elsewhere.server, name="other"), is_alone=False)

    assert find_run(pipeline.id, "scheduled__1").error_message is None
    read_account(airflow_source(airflow.server), is_alone=False)
    assert find_run(pipeline.id, "scheduled__1").error_message == TOLD


def test_runs_of_another_account_leave_ones_own_a_turn(
    app: Flask, airflow: Airflow, elsewhere: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chm_web.ingestion.account.MAX_TEXTS", 2)
    pipeline = make_pipeline(external_id=DAG, platform=Platform.AIRFLOW)
    failed(pipeline, "scheduled__1", *(f"not-here-{number}" for number in range(4)))
    source = airflow_source(airflow.server)

    for _ in range(60):
        read_account(source, is_alone=False)
        if find_run(pipeline.id, "scheduled__1").error_message == TOLD:
            break

    # Two of five in each cycle: sixty in vain would be the work of 10^13 unlucky fleets.
    assert find_run(pipeline.id, "scheduled__1").error_message == TOLD


@pytest.fixture
def partner_app(
    committed_app: Flask, config: Config, airflow: Airflow, elsewhere: Airflow, tmp_path: Path
) -> Iterator[Flask]:
    """An app with real commits and both accounts, the one that knows nothing of it first."""
    (tmp_path / "password").write_text(PASSWORD)
    path = tmp_path / "sources.toml"
    path.write_text(
        "".join(
            f'[sources.{name}]\nkind = "airflow"\nbase_url = "{base_url(one.server)}"\nusername = "{USER}"\n'
            'password = "file:password"\n'
            for name, one in (("a_other", elsewhere), ("b_ours", airflow))
        )
    )
    with app_reading(airflow.server, config, sources_file=path) as app:
        yield app


def test_two_configured_accounts_leave_it_to_the_one_that_knows(
    partner_app: Flask, start_worker: Callable[[], WorkerProcess]
) -> None:
    pipeline = make_pipeline(external_id=DAG, platform=Platform.AIRFLOW)
    failed(pipeline, "scheduled__1", "gone-from-both")
    start_worker()

    wait_for(request_sync(scope=SyncScope(), requested_by="jo")[0])

    assert find_run(pipeline.id, "scheduled__1").error_message == TOLD
    assert find_run(pipeline.id, "gone-from-both").error_message is None


@pytest.mark.parametrize(
    ("mine", "other", "may_share"),
    [
        ({}, {"name": "other"}, True),
        ({}, {}, False),
        ({"client": "Acme"}, {"name": "other"}, True),
        ({"client": "Acme"}, {"name": "other", "client": "Acme"}, True),
        ({"client": "Acme"}, {"name": "other", "client": "Birch"}, False),
        ({}, {"name": "other", "kind": "dbt_cloud", "platforms": (Platform.DBT,)}, False),
    ],
)
def test_sources_share_what_neither_has_for_itself(
    httpserver: HTTPServer, mine: dict[str, Any], other: dict[str, Any], may_share: bool
) -> None:
    def source(values: dict[str, Any]) -> Source:
        return airflow_source(httpserver, **values)

    assert source(mine).may_share_pipelines_with(source(other)) is may_share
    assert source(other).may_share_pipelines_with(source(mine)) is may_share


def test_an_account_alone_says_that_it_does_not_know(app: Flask, airflow: Airflow) -> None:
    pipeline = make_pipeline(external_id=DAG, platform=Platform.AIRFLOW)
    failed(pipeline, "gone")

    read_account(airflow_source(airflow.server))

    assert find_run(pipeline.id, "gone").error_message == NO_TEXT
