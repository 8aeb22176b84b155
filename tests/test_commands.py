"""The command line as somebody meets it who has configured nothing yet."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from uuid import uuid4

import click
import pytest

from chm_web import create_app
from chm_web.commands.bench import bench
from chm_web.commands.database import db
from chm_web.commands.ingest import ingest
from chm_web.commands.inventory import export_inventory, import_inventory
from chm_web.commands.prune import prune
from chm_web.commands.reader import grant_reader
from chm_web.commands.sources import sources
from chm_web.config import ROOT, Config
from tests.processes import bare_environ


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the repository without any configuration."""
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=bare_environ(), capture_output=True, text=True, check=False
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


CORE = """
import sys
from chm_web import create_core
from chm_web.commands import cli
from chm_web.config import Config
create_core(Config(database_url="postgresql+psycopg://nobody@/none", redis_url="redis://", secret_key="-" * 32))
for name in ("db", "schedule", "worker"):
    assert cli.get_command(None, name).name == name
print([name for name in sys.modules if name.startswith(("chm_web.web", "chm_web.api", "flask_smorest"))])
"""


def test_what_answers_no_requests_starts_without_what_does() -> None:
    result = run("-c", CORE)
    assert (result.stdout, result.stderr) == ("[]\n", "")


def test_flasks_own_commands_know_the_pages() -> None:
    services = {"CHM_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none", "CHM_REDIS_URL": "redis://127.0.0.1:9"}
    environ = bare_environ() | services | {"CHM_SECRET_KEY": "-" * 16 + "x" * 16}
    command = [sys.executable, "-m", "chm_web.commands", "routes"]
    result = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert "overview.index" in result.stdout, result.stderr


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


def test_a_command_that_is_mistyped_is_proposed() -> None:
    result = run("-m", "chm_web.commands", "workr")
    assert result.returncode == 2
    assert "Did you mean 'worker'?" in result.stderr


def test_version_is_chms_own() -> None:
    assert run("-m", "chm_web.commands", "--version").stdout.startswith("CHM, version ")


RUN_RESULTS = str(ROOT / "tests/ingestion/captures/dbt_core/run_results_error.json")


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (bench, ("seed", "--runs", "1")),
        (db, ("upgrade",)),
        (db, ("current",)),
        (export_inventory, ()),
        (grant_reader, ()),
        (import_inventory, ("pyproject.toml",)),
        (ingest, ()),
        (ingest, ("dbt-artifact", RUN_RESULTS, "--pipeline", str(uuid4()))),
        (prune, ("--keep-days", "30")),
        (sources, ("check",)),
    ],
    ids=lambda value: value.name if isinstance(value, click.Command) else "",
)
def test_a_command_says_in_words_that_the_database_is_away(
    config: Config, command: click.Command, arguments: tuple[str, ...]
) -> None:
    away = dataclasses.replace(
        config,
        database_url="postgresql+psycopg://chm:hunter2@127.0.0.1:9/chm",
        partner_api_base_url="http://127.0.0.1:9",
    )

    result = create_app(away).test_cli_runner().invoke(command, arguments)

    assert result.exit_code == 1
    assert "Error: The database could not do this: " in result.stderr
    assert "127.0.0.1" in result.stderr
    assert "hunter2" not in result.output
