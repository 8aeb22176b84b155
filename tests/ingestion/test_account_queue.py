"""An account's feed read by a real worker, beside the partner of the environment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask

from chm_web.commands.sources import sources
from chm_web.config import Config
from chm_web.ingestion.progress import JobState, SyncScope
from chm_web.ingestion.queue import list_rejected, list_unmapped, read_signs, request_sync
from chm_web.models import Platform, RunStatus
from tests.factories import find_run, make_pipeline
from tests.ingestion.airflows import DAG, LONG_AGO, PASSWORD, USER, Airflow, dag_run
from tests.ingestion.conftest import WorkerProcess, app_reading, wait_for
from tests.ingestion.partners import base_url, stored

StartWorker = Callable[[], WorkerProcess]


@pytest.fixture
def partner_app(committed_app: Flask, config: Config, airflow: Airflow, tmp_path: Path) -> Iterator[Flask]:
    """An app with real commits and two sources: a partner, and an Airflow."""
    (tmp_path / "password").write_text(PASSWORD)
    path = tmp_path / "sources.toml"
    address = base_url(airflow.server)
    path.write_text(
        f'[sources.prod]\nkind = "airflow"\nbase_url = "{address}"\nusername = "{USER}"\npassword = "file:password"\n'
    )
    with app_reading(airflow.server, config, sources_file=path) as app:
        yield app


def test_an_ingestion_reads_the_account_and_tells_what_became_of_it(
    partner_app: Flask, airflow: Airflow, start_worker: StartWorker
) -> None:
    pipelines = [make_pipeline(external_id=name, platform=Platform.AIRFLOW) for name in (DAG, "quiet")]
    airflow.runs += [dag_run(1, start_date="yesterday"), dag_run(2, dag_id="nobody's")]
    start_worker()

    job = wait_for(request_sync(scope=SyncScope(), requested_by="jo")[0])

    assert (job.state, job.error) == (JobState.FINISHED, None)
    [prod] = job.sources
    assert (prod.name, prod.counts.created, prod.counts.rejected) == ("prod", 4, 1)
    assert (prod.pipelines_done, prod.pipelines_total) == (2, 2)
    assert [(run.source, run.pipeline_id) for run in list_rejected(job_id=job.id)] == [("prod", pipelines[0].id)]
    assert [(name.source, name.name) for name in list_unmapped()] == [("prod", "nobody's")]
    assert read_signs().sources[1].last_success_at is not None


def test_the_second_job_goes_on_where_the_first_one_ended(
    partner_app: Flask, airflow: Airflow, start_worker: StartWorker
) -> None:
    make_pipeline(external_id=DAG, platform=Platform.AIRFLOW)
    start_worker()
    wait_for(request_sync(scope=SyncScope(), requested_by="jo")[0])
    airflow.changed = {run["dag_run_id"]: LONG_AGO for run in airflow.runs}
    later = make_pipeline(external_id="later", platform=Platform.AIRFLOW)
    airflow.runs.append(dag_run(1, dag_id="later"))
    airflow.changed["scheduled__1"] = LONG_AGO

    # Asked for one pipeline, the account is read for all of them.
    job = wait_for(request_sync(scope=SyncScope(pipeline_id=later.id), requested_by="jo")[0])

    assert (job.counts.created, job.counts.unchanged, stored()) == (1, 0, 5)
    assert find_run(later.id, "scheduled__1").status is RunStatus.FAILED


def test_sources_are_tried_with_their_sign_in(partner_app: Flask, airflow: Airflow) -> None:
    right = partner_app.test_cli_runner().invoke(sources, ["check", "prod"])
    source = partner_app.extensions["chm_queue"].sources["prod"]
    partner_app.extensions["chm_queue"].sources["prod"] = replace(source, password="quite-wrong-0123")
    wrong = partner_app.test_cli_runner().invoke(sources, ["check", "prod"])

    assert right.exit_code == 0
    assert right.output.startswith("prod: ok. It answers and lets us in. No active pipeline with an external id is on")
    assert wrong.exit_code == 1
    assert wrong.output.startswith("prod: FAILED. Airflow refuses the user name or the password.")
    assert "quite-wrong" not in wrong.output
