"""The command line as somebody meets it who has configured nothing yet."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from chm_web.config import ROOT

NOTHING = {name: value for name, value in os.environ.items() if not name.startswith("CHM_")}


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the repository without any configuration."""
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=NOTHING, capture_output=True, text=True, check=False
    )


def test_help_names_the_commands_and_needs_no_configuration() -> None:
    result = run("-m", "chm_web.commands", "--help")
    assert (result.returncode, result.stderr) == (0, "")
    for command in (
        "bench",
        "db",
        "demo",
        "doctor",
        "export",
        "import",
        "ingest",
        "prune",
        "schedule",
        "tokens",
        "users",
        "worker",
    ):
        assert f"\n  {command} " in result.stdout


@pytest.mark.parametrize(
    "arguments", [("db", "upgrade"), ("db", "grant-reader"), ("ingest",), ("schedule",), ("worker",)]
)
def test_a_command_that_needs_the_app_names_the_missing_variable(arguments: tuple[str, ...]) -> None:
    result = run("-m", "chm_web.commands", *arguments)
    assert result.returncode == 2
    assert "Error: CHM_DATABASE_URL is not set." in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", [("worker.py",), ("-c", "import wsgi")])
def test_a_process_that_cannot_start_says_why_in_one_line(command: tuple[str, ...]) -> None:
    result = run(*command)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("CHM cannot start: CHM_DATABASE_URL is not set.")
    assert "Traceback" not in result.stderr


def test_version_is_chms_own() -> None:
    assert run("-m", "chm_web.commands", "--version").stdout.startswith("CHM, version ")
