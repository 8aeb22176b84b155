"""The running app against its own document: whatever the document allows or forbids is tried, and every answer checked.

``CHM_TEST_EXAMPLES``, ``CHM_TEST_WALKS`` and ``CHM_TEST_SEED`` ask for a longer or another search than CI's.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.contract.conftest import Service

HERE = Path(__file__).resolve().parent
EXAMPLES = int(os.environ.get("CHM_TEST_EXAMPLES", "25"))
# A search along the links ends long before all of them have been taken; another one takes others.
WALKS = int(os.environ.get("CHM_TEST_WALKS", "4"))
SEED = int(os.environ.get("CHM_TEST_SEED", "1"))


def run_schemathesis(service: Service, directory: Path, *, phases: str, examples: int, seed: int) -> str:
    """What Schemathesis says of the service; fails when it finds anything."""
    options = ["--url", service.url, "--checks", "all", "--seed", str(seed), "--no-color"]
    bounds = ["--phases", phases, "--max-examples", str(examples)]
    environment = {
        **os.environ,
        "PYTHONPATH": str(HERE.parents[1]),
        "SCHEMATHESIS_HOOKS": "tests.contract.hooks",
        "CHM_TEST_API": service.url,
    }
    if service.authorization:
        environment["CHM_TEST_AUTHORIZATION"] = service.authorization
        options += ["--header", f"Authorization: {service.authorization}"]
    else:
        # Whoever reaches the address may use it, whatever the document says of tokens.
        options += ["--exclude-checks", "ignored_auth", "--generation-with-security-parameters", "false"]
    program = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml"), "run"]
    done = subprocess.run(
        [*program, f"{service.url}/openapi.json", *options, *bounds],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    # It warns of operations that it was always refused by: those would not be tested.
    assert "WARNINGS" not in said, said
    return said


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_every_operation_keeps_to_the_document(service: Service, tmp_path: Path) -> None:
    said = run_schemathesis(service, tmp_path, phases="examples,coverage,fuzzing", examples=EXAMPLES, seed=SEED)

    assert f"Selected: {count_operations(service)}/" in said
    assert f"Tested: {count_operations(service)}\n" in said


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", range(SEED, SEED + WALKS))
def test_operations_keep_to_the_document_one_after_the_other(service: Service, tmp_path: Path, seed: int) -> None:
    said = run_schemathesis(service, tmp_path, phases="stateful", examples=4 * EXAMPLES, seed=seed)

    assert re.search(r"API Links: +[1-9]", said), said


def count_operations(service: Service) -> int:
    """How many operations the served document has."""
    headers = {"Authorization": service.authorization} if service.authorization else {}
    document = requests.get(f"{service.url}/openapi.json", headers=headers, timeout=10).json()
    return sum(len(item) for item in document["paths"].values())
