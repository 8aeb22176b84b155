"""The DAGs of the Airflow under test. What their tasks do, the conf of a run says."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.exceptions import AirflowSkipException
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, TaskGroup

GATE_SECONDS = 600


def extract(dag_run: Any, **_: Any) -> None:
    """Wait for the file ``gate``, then find the vendor's ``file``, where the conf names them; or ``skip``."""
    conf = dag_run.conf or {}
    deadline = time.monotonic() + GATE_SECONDS
    while "gate" in conf and not Path(conf["gate"]).exists():
        if time.monotonic() > deadline:
            raise TimeoutError("the gate stayed closed")
        time.sleep(0.2)
    if conf.get("skip"):
        raise AirflowSkipException("nothing to do")
    if "file" in conf and not Path(conf["file"]).exists():
        raise ValueError(f"vendor file missing: {Path(conf['file']).name}")


def load() -> None:
    """Load what was extracted."""


def load_part(part: int) -> None:
    """Load one of several parts; the second one is broken."""
    if part == 1:
        raise ValueError(f"part {part} is broken")


def orders_dag(dag_id: str) -> DAG:
    """One run at a time: a task that fails as it is told, and one behind it."""
    with DAG(dag_id, schedule=None, max_active_runs=1) as dag:
        first = PythonOperator(task_id="extract", python_callable=extract)
        first.set_downstream(PythonOperator(task_id="load", python_callable=load))
    return dag


pulled = orders_dag("nightly_orders")
pushed = orders_dag("pushed_orders")
unregistered = orders_dag("unregistered_orders")

# A task in a group, made several times, and tried again after it failed.
with DAG("parts", schedule=None) as parts, TaskGroup("all"):
    PythonOperator.partial(
        task_id="load", python_callable=load_part, retries=1, retry_delay=timedelta(seconds=1)
    ).expand(op_kwargs=[{"part": 0}, {"part": 1}])
