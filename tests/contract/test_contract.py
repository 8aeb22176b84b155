"""The committed contract and the document that is served."""

from __future__ import annotations

from pathlib import Path

import yaml
from click.testing import CliRunner
from flask.testing import FlaskClient

from chm_web.commands.contract import CONTRACT, api_contract, render_contract


def test_contract_is_the_document_that_is_served(client: FlaskClient) -> None:
    contract = yaml.safe_load(CONTRACT.read_text(encoding="utf-8"))

    assert contract == client.get("/api/v1/openapi.json").get_json()


def test_contract_is_written_the_same_every_time() -> None:
    assert render_contract() == render_contract() == CONTRACT.read_text(encoding="utf-8")


def test_command_writes_the_contract(tmp_path: Path) -> None:
    path = tmp_path / "openapi.yaml"

    result = CliRunner().invoke(api_contract, ["--file", str(path)])

    assert result.exit_code == 0
    assert path.read_text(encoding="utf-8") == CONTRACT.read_text(encoding="utf-8")


def test_check_fails_when_the_contract_differs(tmp_path: Path) -> None:
    path = tmp_path / "openapi.yaml"
    path.write_text("openapi: 3.0.3\n")

    result = CliRunner().invoke(api_contract, ["--check", "--file", str(path)])

    assert result.exit_code == 1
    assert "differs from the API" in result.output
    assert path.read_text(encoding="utf-8") == "openapi: 3.0.3\n"


def test_check_of_a_file_that_is_not_there_fails(tmp_path: Path) -> None:
    assert CliRunner().invoke(api_contract, ["--check", "--file", str(tmp_path / "none.yaml")]).exit_code == 1
