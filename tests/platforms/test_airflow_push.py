"""Airflow's own push beside its reading: whichever comes first, and however often, a run is one row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from chm_web.ingestion.progress import IngestionJob
from chm_web.models import Pipeline, Platform, RunStatus
from tests.factories import find_run, make_pipeline
from tests.ingestion.conftest import wait_until
from tests.platforms.airflow_server import PUSHED, AirflowServer, facts_of, facts_told
from tests.platforms.conftest import runs_of

pytestmark = [pytest.mark.platforms, pytest.mark.timeout(2400)]

MISSING = "vendor file missing: orders.csv"


@pytest.fixture
def pipeline(reading_app: Flask) -> Pipeline:
    """The pipeline of the DAG that pushes its runs."""
    return make_pipeline(external_id=PUSHED, platform=Platform.AIRFLOW)


def test_run_that_is_pushed_and_pulled_is_one_row(
    airflow: AirflowServer, pipeline: Pipeline, ingest: Callable[[], IngestionJob], tmp_path: Path
) -> None:
    file = tmp_path / "orders.csv"
    run_id = airflow.trigger(PUSHED, {"file": str(file)})
    first = airflow.wait_for(PUSHED, run_id, "failed")
    wait_until(lambda: [run.error_message for run in runs_of(pipeline)] == [f"extract: {MISSING}"], seconds=300)
    pushed = find_run(pipeline.id, run_id)
    assert facts_of(pushed) == facts_told(first)
    assert pushed.status_reason == "task_failure"

    ingest()
    assert len(runs_of(pipeline)) == 1
    assert facts_of(find_run(pipeline.id, run_id)) == facts_told(first)

    file.touch()
    airflow.clear(PUSHED, run_id)
    second = airflow.wait_for(PUSHED, run_id, "success")
    wait_until(lambda: [run.status for run in runs_of(pipeline)] == [RunStatus.SUCCESS], seconds=300)
    assert facts_of(find_run(pipeline.id, run_id)) == facts_told(second)

    ingest()
    [run] = runs_of(pipeline)
    assert facts_of(run) == facts_told(second)
    assert (run.error_message, run.status_reason) == (None, None)
