"""A real Airflow, read by a real worker and pushing by itself: what it says is what the adapters take it to say."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from flask import Flask

from chm_web.ingestion.feeds import open_feed
from chm_web.ingestion.job import open_client
from chm_web.ingestion.progress import NO_PIPELINE, IngestionJob
from chm_web.ingestion.queue import list_sources, list_unmapped
from chm_web.models import Pipeline, Platform, RunStatus
from tests.factories import find_run, make_pipeline
from tests.ingestion.conftest import wait_until
from tests.platforms.airflow_server import (
    PUSHED,
    TOKEN_LEEWAY_SECONDS,
    TOKEN_SECONDS,
    AirflowServer,
    facts_of,
    facts_told,
)
from tests.platforms.conftest import Chm, runs_of

pytestmark = [pytest.mark.platforms, pytest.mark.timeout(2400)]

Ingest = Callable[[], IngestionJob]
NIGHTLY = "nightly_orders"
MISSING = "vendor file missing: orders.csv"


@pytest.fixture
def nightly(reading_app: Flask) -> Pipeline:
    """The pipeline of the DAG ``nightly_orders``."""
    return make_pipeline(external_id=NIGHTLY, platform=Platform.AIRFLOW)


@pytest.fixture
def pushed(reading_app: Flask) -> Pipeline:
    """The pipeline of the DAG that pushes its runs."""
    return make_pipeline(external_id=PUSHED, platform=Platform.AIRFLOW)


def test_check_tells_who_is_let_in(airflow: AirflowServer, reading_app: Flask, chm: Chm) -> None:
    result = chm.run("sources", "check")

    assert result.returncode == 1
    assert "airflow: ok. It answers and lets us in." in result.stdout
    assert "locked_out: FAILED. Airflow refuses the user name or the password." in result.stdout


def test_runs_are_recorded_as_airflow_tells_them(airflow: AirflowServer, nightly: Pipeline, ingest: Ingest) -> None:
    confs: dict[str, dict[str, object]] = {
        "good": {},
        "skipped": {"skip": True},
        "bad": {"file": "/nowhere/orders.csv"},
    }
    run_ids = {name: airflow.trigger(NIGHTLY, conf) for name, conf in confs.items()}
    stranger = airflow.trigger("unregistered_orders", {})
    told = {name: airflow.wait_for(NIGHTLY, run_id, "success", "failed") for name, run_id in run_ids.items()}

    job = ingest()

    # Two runs a page.
    assert job.counts.pages >= 2
    assert job.counts.created == len(confs)
    found = {name: find_run(nightly.id, run_id) for name, run_id in run_ids.items()}
    assert {name: run.status for name, run in found.items()} == {
        "good": RunStatus.SUCCESS,
        "skipped": RunStatus.SUCCESS,
        "bad": RunStatus.FAILED,
    }
    for name, run in found.items():
        assert facts_of(run) == facts_told(told[name])
    assert found["bad"].error_message == "extract: ValueError: vendor file missing: orders.csv"
    assert found["good"].error_message is None
    [unmapped] = [each for each in list_unmapped() if each.name == "unregistered_orders"]
    assert (unmapped.reason, unmapped.sample["run_id"]) == (NO_PIPELINE, stranger)


def test_cleared_run_begins_anew_under_its_id(
    airflow: AirflowServer, nightly: Pipeline, ingest: Ingest, tmp_path: Path
) -> None:
    file, gate, other_gate = tmp_path / "orders.csv", tmp_path / "gate", tmp_path / "other gate"
    gate.touch()
    run_id = airflow.trigger(NIGHTLY, {"file": str(file), "gate": str(gate)})
    first = airflow.wait_for(NIGHTLY, run_id, "failed")
    ingest()
    assert facts_of(find_run(nightly.id, run_id)) == facts_told(first)

    # The DAG has one run at a time: behind another one that waits, the cleared one stays in the queue.
    other = airflow.trigger(NIGHTLY, {"gate": str(other_gate)})
    airflow.wait_for(NIGHTLY, other, "running")
    gate.unlink()
    airflow.clear(NIGHTLY, run_id)
    assert airflow.wait_for(NIGHTLY, run_id, "queued")["start_date"] is None
    ingest()
    queued = find_run(nightly.id, run_id)
    assert (queued.status, queued.status_reason, queued.started_at) == (RunStatus.RUNNING, "queued", None)
    assert (queued.finished_at, queued.error_message) == (None, None)

    other_gate.touch()
    second = airflow.wait_for(NIGHTLY, run_id, "running")
    ingest()
    running = find_run(nightly.id, run_id)
    assert (running.status, running.started_at) == (RunStatus.RUNNING, datetime.fromisoformat(second["start_date"]))
    assert running.finished_at is None

    file.touch()
    gate.touch()
    ended = airflow.wait_for(NIGHTLY, run_id, "success")
    ingest()
    run = find_run(nightly.id, run_id)
    assert facts_of(run) == facts_told(ended)
    assert run.started_at is not None
    assert run.started_at > datetime.fromisoformat(first["end_date"])
    assert (run.error_message, run.status_reason) == (None, None)
    assert find_run(nightly.id, other).status is RunStatus.SUCCESS


def test_run_that_is_marked_failed_by_hand_tells_its_note(
    airflow: AirflowServer, nightly: Pipeline, ingest: Ingest, tmp_path: Path
) -> None:
    run_id = airflow.trigger(NIGHTLY, {"gate": str(tmp_path / "never")})
    airflow.wait_for(NIGHTLY, run_id, "running")
    ingest()
    assert find_run(nightly.id, run_id).status is RunStatus.RUNNING

    airflow.fail_by_hand(NIGHTLY, run_id, "vendor outage")
    ingest()

    run = find_run(nightly.id, run_id)
    assert facts_of(run) == facts_told(airflow.wait_for(NIGHTLY, run_id, "failed"))
    assert run.error_message == "vendor outage"


def test_log_of_a_mapped_tasks_last_try_is_found(airflow: AirflowServer, ingest: Ingest) -> None:
    pipeline = make_pipeline(external_id="parts", platform=Platform.AIRFLOW)
    run_id = airflow.trigger("parts", {})
    airflow.wait_for("parts", run_id, "failed")

    ingest()

    assert find_run(pipeline.id, run_id).error_message == "all.load: ValueError: part 1 is broken"


def test_token_that_has_run_out_is_renewed(airflow: AirflowServer, nightly: Pipeline, reading_app: Flask) -> None:
    [source] = [source for source in list_sources() if source.name == "airflow"]
    for _ in range(3):
        airflow.trigger(NIGHTLY, {})
    with open_client(source, reading_app.config["CHM"]) as client:
        pages = open_feed(source, client).pages(since=None)
        next(pages)
        time.sleep(TOKEN_SECONDS + TOKEN_LEEWAY_SECONDS + 2)

        assert next(pages).runs


def test_run_that_is_pushed_and_pulled_is_one_row(
    airflow: AirflowServer, pushed: Pipeline, ingest: Ingest, tmp_path: Path
) -> None:
    file = tmp_path / "orders.csv"
    run_id = airflow.trigger(PUSHED, {"file": str(file)})
    first = airflow.wait_for(PUSHED, run_id, "failed")
    wait_until(lambda: [run.error_message for run in runs_of(pushed)] == [f"extract: {MISSING}"], seconds=300)
    run = find_run(pushed.id, run_id)
    assert facts_of(run) == facts_told(first)
    assert run.status_reason == "task_failure"

    ingest()
    assert len(runs_of(pushed)) == 1
    assert facts_of(find_run(pushed.id, run_id)) == facts_told(first)

    file.touch()
    airflow.clear(PUSHED, run_id)
    second = airflow.wait_for(PUSHED, run_id, "success")
    wait_until(lambda: [run.status for run in runs_of(pushed)] == [RunStatus.SUCCESS], seconds=300)
    assert facts_of(find_run(pushed.id, run_id)) == facts_told(second)

    ingest()
    [run] = runs_of(pushed)
    assert facts_of(run) == facts_told(second)
    assert (run.error_message, run.status_reason) == (None, None)
