"""The documented Python client: generated from the contract, it works against the running app."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from chm_web.models import RunStatus
from chm_web.services.health import Health
from chm_web.services.pipeline_lists import list_pipelines
from tests.contract.conftest import Service
from tests.factories import NOW, find_run
from tests.guides import ROOT, block, run

GUIDE = ROOT / "docs" / "api-clients.md"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory that looks like the repository to the guide's commands, with the generated client in it."""
    (tmp_path / "specs").symlink_to(ROOT / "specs")
    output = run(["bash", "-euc", block(GUIDE, "sh", "openapi-python-client")], tmp_path)
    assert "Warning" not in output, output
    return tmp_path


@pytest.mark.slow
def test_documented_client_lists_what_is_failing_and_reports_a_run(service: Service, directory: Path) -> None:
    [failing] = list_pipelines(now=NOW, health=Health.FAILING).items
    (directory / "example.py").write_text(block(GUIDE, "python", "import os"), encoding="utf-8")
    token = (service.authorization or "Bearer none").removeprefix("Bearer ")

    said = run([sys.executable, "example.py"], directory, CHM_API_URL=service.url, CHM_API_TOKEN=token)

    assert said.splitlines() == [
        f"{failing.pipeline.name} is failing; its latest run is failed",
        f"{failing.pipeline.name}: repair/2026-11-01 is success",
    ]
    reported = find_run(failing.pipeline.id, "repair/2026-11-01")
    assert (reported.status, reported.rows_processed) == (RunStatus.SUCCESS, 48_200)
