"""A real dbt that pushes its runs as it is, and leaves its run_results.json."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from chm_web.models import Pipeline, Platform, RunStatus
from tests.factories import make_pipeline
from tests.platforms.airflow_server import INSTALLED
from tests.platforms.conftest import Chm, runs_of

pytestmark = [pytest.mark.platforms, pytest.mark.timeout(300)]

PROJECT = Path(__file__).parent / "dbt_project"
PROGRAMS = INSTALLED / "dbt-venv" / "bin"
TWICE = ("--vars", "{twice: true}")


@dataclass(frozen=True)
class Built:
    """What ``dbt-ol build`` has done: its exit status, and the run_results.json it left."""

    status: int
    output: str
    results_file: Path

    @property
    def results(self) -> dict[str, Any]:
        """The file's JSON."""
        loaded: dict[str, Any] = json.loads(self.results_file.read_text())
        return loaded


@pytest.fixture
def build(chm: Chm, tmp_path: Path) -> Callable[..., Built]:
    """Builds the project with dbt-ol, which pushes to CHM."""
    assert (PROGRAMS / "dbt-ol").exists(), "dbt is not installed: run these tests by `make test-platforms`."
    project = tmp_path / "project"
    shutil.copytree(PROJECT, project)
    environ = {
        "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "DBT_DATABASE": str(tmp_path / "warehouse.duckdb"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "OPENLINEAGE_URL": chm.address,
        "OPENLINEAGE_API_KEY": chm.token,
        "OPENLINEAGE_NAMESPACE": "dbt_test",
        "NO_PROXY": "127.0.0.1",
    }

    def run(*arguments: str) -> Built:
        command = [str(PROGRAMS / "dbt-ol"), *arguments, "--profiles-dir", "."]
        done = subprocess.run(
            command, cwd=project, env=environ, capture_output=True, text=True, timeout=240, check=False
        )
        return Built(done.returncode, done.stdout + done.stderr, project / "target" / "run_results.json")

    return run


@pytest.fixture
def pipeline(committed_app: Flask) -> Pipeline:
    """The pipeline of the dbt project."""
    return make_pipeline(external_id="dbt-run-orders", platform=Platform.DBT)


def test_build_that_succeeds_is_a_run(build: Callable[..., Built], pipeline: Pipeline) -> None:
    began = datetime.now(UTC)
    built = build("build")

    assert built.status == 0, built.output
    [run] = runs_of(pipeline)
    assert (run.status, run.error_message, run.status_reason) == (RunStatus.SUCCESS, None, None)
    assert run.started_at is not None and run.finished_at is not None
    assert began <= run.started_at < run.finished_at <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("option", "text"),
    [
        # It names the model whose test it is, and no more.
        ((), "warehouse.main.orders.raw_orders.build.test failed"),
        (("--consume-structured-logs",), "test.orders.unique_raw_orders_order_id"),
    ],
    ids=["default", "structured"],
)
def test_failing_test_fails_the_run_and_its_file_is_the_same_run(
    build: Callable[..., Built], pipeline: Pipeline, chm: Chm, option: tuple[str, ...], text: str
) -> None:
    built = build(*option, "build", *TWICE)

    assert built.status == 1, built.output
    [pushed] = runs_of(pipeline)
    assert pushed.status is RunStatus.FAILED
    assert pushed.error_message is not None
    assert pushed.error_message.startswith(text)

    taken = chm.run("ingest", "dbt-artifact", str(built.results_file), "--pipeline", str(pipeline.id))

    invocation = built.results["metadata"]["invocation_id"]
    assert (taken.returncode, taken.stdout) == (0, f"{invocation}: failed (known already)\n"), taken.stderr
    [run] = runs_of(pipeline)
    assert (run.external_run_id, run.status) == (invocation, RunStatus.FAILED)
    assert run.error_message is not None
    assert "unique_raw_orders_order_id" in run.error_message
    assert "Got 1 result, configured to fail if != 0" in run.error_message
