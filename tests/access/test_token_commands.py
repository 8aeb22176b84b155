"""``chm tokens``, as somebody runs it who has configured nothing but the file."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chm_web.access.permissions import Scope
from chm_web.access.tokens import TokenFile
from chm_web.config import ROOT
from tests.processes import bare_environ


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the tokens are kept."""
    return tmp_path / "tokens.json"


def chm_tokens(path: Path | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``chm tokens`` without any other configuration."""
    environ = bare_environ()
    if path is not None:
        environ["CHM_TOKENS_FILE"] = str(path)
    command = [sys.executable, "-m", "chm_web.commands", "tokens", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)


def test_create_prints_the_token_alone_on_standard_output(path: Path) -> None:
    done = chm_tokens(path, "create", "loader", "--scope", "ingest")

    assert done.returncode == 0
    [secret] = done.stdout.splitlines()
    assert secret not in done.stderr
    assert "loader" in done.stderr
    found = TokenFile(path).find(secret, now=datetime.now(UTC))
    assert found is not None
    assert found.scope is Scope.INGEST


def test_list_shows_names_and_scopes_and_no_secret(path: Path) -> None:
    secret = chm_tokens(path, "create", "loader", "--scope", "read", "--days", "30").stdout.strip()

    done = chm_tokens(path, "list")

    assert done.stdout.split("\t")[:2] == ["loader", "read"]
    assert "until 20" in done.stdout
    assert secret not in done.stdout + done.stderr


def test_revoke_removes_the_token(path: Path) -> None:
    chm_tokens(path, "create", "loader", "--scope", "read")

    assert chm_tokens(path, "revoke", "loader").returncode == 0
    assert TokenFile(path).list() == []
    again = chm_tokens(path, "revoke", "loader")
    assert again.returncode == 1
    assert "There is no token called loader." in again.stderr


def test_empty_list_says_how_to_make_one(path: Path) -> None:
    done = chm_tokens(path, "list")

    assert (done.returncode, done.stdout) == (0, "")
    assert "chm tokens create" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", "a b", "--scope", "read"), "Use 1 to 64 letters"),
        (("create", "loader"), "--scope"),
        (("create", "loader", "--scope", "all"), "'all' is not one of"),
    ],
)
def test_bad_input_is_told_in_words_and_makes_nothing(path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = chm_tokens(path, *arguments)

    assert done.returncode != 0
    assert done.stdout == ""
    assert said in done.stderr
    assert not path.exists()


def test_file_may_be_named_on_the_command_line(path: Path) -> None:
    done = chm_tokens(None, "--file", str(path), "create", "loader", "--scope", "read")

    assert done.returncode == 0
    assert [token.name for token in TokenFile(path).list()] == ["loader"]
