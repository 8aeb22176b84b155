"""OpenLineage events for tests: made ones, and those recorded from real producers."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

CAPTURES = Path(__file__).with_name("captures") / "openlineage"

RUN_ID = "0190a5b4-7e1c-7c3a-8f7e-1234567890ab"
PARENT_ID = "0190a5b4-7e1c-7c3a-8f7e-0000000000ff"


def make_event(**values: Any) -> dict[str, Any]:
    """A COMPLETE event of the job ``nightly_orders`` in the namespace ``vendor``; ``values`` are its own members.

    A few are for the members within: ``job_type``, ``integration``, ``run_id``, ``name``, and ``facets`` of the run.
    """
    job_type = {"jobType": values.pop("job_type", "JOB"), "integration": values.pop("integration", "CUSTOM")}
    return {
        "eventType": "COMPLETE",
        "eventTime": "2026-11-01T12:00:00Z",
        "producer": "https://vendor.example/loader",
        "job": {"namespace": "vendor", "name": values.pop("name", "nightly_orders"), "facets": {"jobType": job_type}},
        "run": {"runId": values.pop("run_id", RUN_ID), "facets": values.pop("facets", {})},
        **values,
    }


def make_task_failure(message: str | None = "the disk is full", **values: Any) -> dict[str, Any]:
    """A FAIL event of the task ``load`` in a run ``PARENT_ID`` of ``nightly_orders``."""
    facets: dict[str, Any] = {
        "parent": {"run": {"runId": PARENT_ID}, "job": {"namespace": "vendor", "name": "nightly_orders"}}
    }
    if message is not None:
        facets["errorMessage"] = {"message": message}
    made = {"eventType": "FAIL", "job_type": "TASK", "name": "nightly_orders.load", "facets": facets}
    return make_event(**{**made, **values})


def make_airflow_event(**values: Any) -> dict[str, Any]:
    """An event of a DAG run of Airflow's ``nightly_orders``, by default of one that failed as ``PARENT_ID``."""
    dag_run = {
        "run_id": "manual__2026-11-01T11:58:00+00:00",
        "start_date": "2026-11-01T11:59:00+00:00",
        "end_date": "2026-11-01T12:00:00+00:00",
    }
    facets = {"airflowDagRun": {"dagRun": dag_run}, "errorMessage": {"message": "task_failure"}}
    made = {"eventType": "FAIL", "job_type": "DAG", "integration": "AIRFLOW", "run_id": PARENT_ID, "facets": facets}
    return make_event(**{**made, **values})


@cache
def captured(*folders: str) -> tuple[dict[str, Any], ...]:
    """The recorded events of these folders, in the order in which they arrived."""
    files = sorted(file for folder in folders for file in (CAPTURES / folder).glob("*.json"))
    return tuple(json.loads(file.read_text(encoding="utf-8"))["body"] for file in files)
