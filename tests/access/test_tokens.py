"""API tokens: made once, kept as hashes, heeded without a restart."""

from __future__ import annotations

import json
import os
import stat
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import pytest

from chm_web.access.permissions import Scope
from chm_web.access.tokens import TokenFile
from chm_web.services.exceptions import Conflict, Invalid, NotFound, NotWritable, Unavailable

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the tokens are kept."""
    return tmp_path / "kept here" / "tokens.json"


@pytest.fixture
def file(path: Path) -> TokenFile:
    """A file of tokens that is not there yet."""
    return TokenFile(path)


def test_token_is_found_by_its_secret_and_by_nothing_else(file: TokenFile) -> None:
    secret = file.create(name="loader", scope=Scope.INGEST)

    found = file.find(secret, now=NOW)
    assert found is not None
    assert (found.name, found.scope) == ("loader", Scope.INGEST)
    for other in ("", secret[:-1], secret + "a", secret.upper(), "loader", "\ud800"):
        assert file.find(other, now=NOW) is None


def test_token_is_long_and_knows_no_repetition(file: TokenFile) -> None:
    made = [file.create(name=f"t{number}", scope=Scope.READ) for number in range(20)]

    assert len(set(made)) == 20
    assert all(len(secret) >= 32 and secret.startswith("chm_") for secret in made)


def test_only_the_hash_of_a_token_is_kept(file: TokenFile, path: Path) -> None:
    secret = file.create(name="loader", scope=Scope.READ)

    kept = path.read_text()
    assert secret not in kept
    assert secret.removeprefix("chm_") not in kept
    assert len(json.loads(kept)["entries"]["loader"]["sha256"]) == 64
    assert secret not in repr(file.list())


def test_file_is_for_its_owner_alone(file: TokenFile, path: Path) -> None:
    file.create(name="loader", scope=Scope.READ)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(other.name for other in path.parent.iterdir()) == ["tokens.json", "tokens.json.lock"]


def test_revoked_token_opens_nothing_at_once_also_elsewhere(file: TokenFile, path: Path) -> None:
    elsewhere = TokenFile(path)
    secret = file.create(name="loader", scope=Scope.READ)
    assert elsewhere.find(secret, now=NOW) is not None

    file.revoke(name="loader")

    assert elsewhere.find(secret, now=NOW) is None
    assert file.list() == []


def test_token_opens_nothing_from_its_expiry_on(file: TokenFile) -> None:
    secret = file.create(name="loader", scope=Scope.READ, expires_at=NOW)

    assert file.find(secret, now=NOW - timedelta(seconds=1)) is not None
    assert file.find(secret, now=NOW) is None


def test_name_that_is_taken_is_refused_and_the_old_token_stays(file: TokenFile) -> None:
    secret = file.create(name="loader", scope=Scope.READ)

    with pytest.raises(Conflict, match="loader"):
        file.create(name="loader", scope=Scope.WRITE)
    assert file.find(secret, now=NOW) is not None


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "a/b", "a\nb", "x" * 65, "ü"])
def test_what_is_no_name_is_refused(file: TokenFile, name: str) -> None:
    with pytest.raises(Invalid):
        file.create(name=name, scope=Scope.READ)


def test_unknown_token_cannot_be_revoked(file: TokenFile) -> None:
    with pytest.raises(NotFound, match="nobody"):
        file.revoke(name="nobody")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"entries": {"a": {}}}', '{"entries": {"a": {"scope": "all"}}}'])
def test_damaged_file_lets_nobody_in_and_is_not_overwritten(file: TokenFile, path: Path, content: str) -> None:
    secret = file.create(name="loader", scope=Scope.READ)
    path.write_text(content)

    with pytest.raises(Unavailable, match="damaged"):
        file.find(secret, now=NOW)
    with pytest.raises(Unavailable, match="damaged"):
        file.create(name="other", scope=Scope.READ)
    assert path.read_text() == content


def test_path_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(NotWritable, match=r"tokens\.json"):
        TokenFile(tmp_path / "file" / "tokens.json").create(name="loader", scope=Scope.READ)


def _create_some(path: Path, prefix: str) -> None:
    for number in range(10):
        TokenFile(path).create(name=f"{prefix}{number}", scope=Scope.READ)


def test_writers_at_once_lose_no_token(path: Path) -> None:
    context = get_context("spawn")
    writers = [context.Process(target=_create_some, args=(path, prefix)) for prefix in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)

    assert len(TokenFile(path).list()) == 30


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_root_leaves_the_file_to_its_owner(file: TokenFile, path: Path) -> None:
    file.create(name="loader", scope=Scope.READ)
    os.chown(path, 65534, 65534)

    file.create(name="other", scope=Scope.READ)

    assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65534)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_what_root_makes_first_belongs_to_whoever_has_the_directory(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    path = tmp_path / "tokens.json"

    TokenFile(path).create(name="loader", scope=Scope.READ)

    assert {(made.name, made.stat().st_uid) for made in tmp_path.iterdir()} == {
        ("tokens.json", 65534),
        ("tokens.json.lock", 65534),
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
