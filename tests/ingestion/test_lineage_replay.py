"""Recorded events of real producers, in any order and more than once: always the same runs, and the right ones."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from chm_web.extensions import db
from chm_web.models import Platform, Run, RunStatus
from tests.factories import find_run, make_pipeline
from tests.http import ApiClient
from tests.ingestion.lineage import captured

FOLDERS = ("python_client", "airflow_provider", "dbt_ol_default", "dbt_ol_structured")


def at(clock: str) -> datetime:
    """A time on the day of the recording."""
    return datetime.fromisoformat(f"2026-11-23T{clock}").replace(tzinfo=UTC)


BINDER_ERROR = (
    "model.chm_demo.orders_bad: Runtime Error in model orders_bad (models/orders_bad.sql)\n"
    '  Binder Error: Referenced column "no_such_column" not found in FROM clause!\n'
    '  Candidate bindings: "customer_id"'
)

COMMAND_FAILED = "Command `dbt build` failed at 02:17:42.360121 after 4.38 seconds"
LOADER, DAG, DBT = "vendor_loader/nightly_orders", "chm_demo", "chm_dbt/dbt-run-chm_demo"


def run(
    status: str,
    started: str,
    finished: str,
    seconds: float,
    *,
    rows: int | None = None,
    error: str | None = None,
    reason: str | None = None,
) -> tuple[Any, ...]:
    """What is compared of a run."""
    return status, at(started), at(finished), seconds, rows, error, reason


# Read from the recordings by hand, by pipeline and run.
EXPECTED: dict[tuple[str, str], tuple[Any, ...]] = {
    (LOADER, "cfed5cd3-2a88-4421-8183-a61f47e2dc43"): run(
        "success", "02:02:16.547467", "02:02:16.567539", 0.020072, rows=1234
    ),
    (LOADER, "4aac6fdf-bfa6-4c5d-936f-8e2d39d67d65"): run(
        "failed", "02:02:16.578593", "02:02:16.588277", 0.009684, error="vendor file missing: orders.csv"
    ),
    (LOADER, "5e862a62-9903-4b01-a975-df41e7d31a3c"): run("canceled", "02:02:16.595508", "02:02:16.601224", 0.005716),
    (LOADER, "b62184df-8c71-478c-9e68-cc95c9956301"): run(
        "success", "02:02:18.456211", "02:02:18.471349", 0.015138, rows=1234
    ),
    (DAG, "manual__2026-11-23T02:09:58.435557+00:00"): run("success", "02:09:59.721357", "02:10:36.269747", 36.54839),
    (DAG, "manual__2026-11-23T02:09:59.416834+00:00"): run(
        "failed",
        "02:10:01.052752",
        "02:10:33.696854",
        32.644102,
        error="extract: vendor file missing: orders_20261123.csv",
        reason="task_failure",
    ),
    (DBT, "37e7e69d-3df2-4735-9e01-a86ca8f7ed01"): run("success", "02:02:48.502377", "02:03:10.989007", 22.48663),
    (DBT, "3dfe686f-b3ad-4cba-9a6d-f5659e1c3607"): run(
        "failed",
        "02:03:13.684770",
        "02:03:30.495985",
        16.811215,
        error="chm.main.chm_demo.orders_bad.build.run failed",
    ),
    (DBT, "46bb74c8-2ea3-48cb-82e4-e1fa722fe903"): run(
        "failed", "02:17:38.088297", "02:17:42.360121", 4.271824, error=BINDER_ERROR, reason=COMMAND_FAILED
    ),
}

ORDERS = ["as they came", "reversed", "ends first", *range(1, 7)]


@pytest.fixture
def pipelines(app: Flask) -> dict[Any, str]:
    """The pipelines that the recordings are of: external ids by our own."""
    known = ((LOADER, Platform.CUSTOM), (DAG, Platform.AIRFLOW), (DBT, Platform.DBT))
    return {make_pipeline(external_id=name, platform=platform).id: name for name, platform in known}


def in_order(order: str | int, *folders: str) -> list[dict[str, Any]]:
    """The recorded events of these folders, or of all, in an order: a name, or the seed of a random one."""
    events = list(captured(*folders or FOLDERS))
    if order == "reversed":
        events.reverse()
    elif order == "ends first":
        events.sort(key=lambda event: str(event["eventType"]) in ("START", "RUNNING"))
    elif isinstance(order, int):
        random.Random(order).shuffle(events)
    return events


def all_runs(pipelines: dict[Any, str]) -> dict[tuple[str, str], tuple[Any, ...]]:
    """Every run that stands, in the form of ``EXPECTED``."""
    runs = db.session.scalars(sa.select(Run).execution_options(populate_existing=True))
    return {
        (pipelines[run.pipeline_id], run.external_run_id): (
            run.status.value,
            run.started_at,
            run.finished_at,
            run.duration_seconds,
            run.rows_processed,
            run.error_message,
            run.status_reason,
        )
        for run in runs
    }


def payloads() -> dict[str, Any]:
    """The payload of every run, by the platform's id."""
    return {run.external_run_id: run.payload for run in db.session.scalars(sa.select(Run))}


@pytest.mark.parametrize("order", ORDERS)
def test_events_in_any_order_make_the_right_runs(api: ApiClient, pipelines: dict[Any, str], order: str | int) -> None:
    for event in in_order(order):
        assert api.post("/lineage", event).status_code == 201

    assert all_runs(pipelines) == EXPECTED


@pytest.mark.parametrize("order", ORDERS)
def test_all_events_again_in_another_order_change_nothing(
    api: ApiClient, pipelines: dict[Any, str], order: str | int
) -> None:
    api.post("/lineage/batch", in_order("as they came"))
    before = {run.id: (run.ingested_at, run.payload) for run in db.session.scalars(sa.select(Run))}

    result = api.post("/lineage/batch", in_order(order)).get_json()

    assert (result["created"], result["updated"], result["rejected"]) == (0, 0, [])
    assert all_runs(pipelines) == EXPECTED
    runs = db.session.scalars(sa.select(Run).execution_options(populate_existing=True))
    assert {run.id: (run.ingested_at, run.payload) for run in runs} == before


def test_payloads_do_not_depend_on_the_order(api: ApiClient, pipelines: dict[Any, str]) -> None:
    found = []
    for order in ORDERS:
        db.session.execute(sa.delete(Run))
        api.post("/lineage/batch", in_order(order))
        db.session.expire_all()
        found.append(payloads())

    assert len(found[0]) == len(EXPECTED)
    assert all(each == found[0] for each in found)


def test_what_became_of_the_recordings_is_counted(api: ApiClient, pipelines: dict[Any, str]) -> None:
    result = api.post("/lineage/batch", in_order("as they came")).get_json()

    # Of 46 events, 19 are of these runs, the first of each new; the others are of tasks, models, tests and queries.
    assert (result["created"], result["updated"], result["unmapped"], result["ignored"]) == (9, 10, 0, 27)


def test_without_pipelines_all_runs_are_unmapped(api: ApiClient) -> None:
    result = api.post("/lineage/batch", in_order("as they came")).get_json()

    assert (result["unmapped"], result["ignored"]) == (19, 27)
    shown = {item["name"]: item["count"] for item in api.get("/ingestion/unmapped").get_json()["items"]}
    assert shown == {LOADER: 9, f"chm_prod/{DAG}": 4, DBT: 6}


CLEARED = "manual__2026-11-28T02:15:40.403282+00:00"


@pytest.mark.parametrize("order", ORDERS)
def test_run_that_was_cleared_is_its_second_attempt_in_any_order(api: ApiClient, order: str | int) -> None:
    pipeline = make_pipeline(external_id="pushed_orders", platform=Platform.AIRFLOW)
    for event in in_order(order, "airflow_cleared"):
        assert api.post("/lineage", event).status_code == 201

    run = find_run(pipeline.id, CLEARED)
    assert (run.status, run.error_message, run.status_reason) == (RunStatus.SUCCESS, None, None)
    assert run.started_at == datetime(2026, 11, 28, 2, 16, 53, 365987, UTC)
    assert run.finished_at == datetime(2026, 11, 28, 2, 17, 6, 523593, UTC)
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Run)) == 1


def test_run_that_failed_before_it_is_cleared_says_why(api: ApiClient) -> None:
    pipeline = make_pipeline(external_id="pushed_orders", platform=Platform.AIRFLOW)
    for event in in_order("as they came", "airflow_cleared")[:4]:
        api.post("/lineage", event)

    run = find_run(pipeline.id, CLEARED)
    assert (run.status, run.error_message) == (RunStatus.FAILED, "extract: vendor file missing: orders.csv")
