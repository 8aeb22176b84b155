"""Local users in their file: roles, passwords, links that work once."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chm_web.access import users
from chm_web.access.permissions import Role
from chm_web.access.users import UserFile
from chm_web.services.exceptions import Conflict, Invalid, NotFound

PASSWORD = "correct horse battery"


@pytest.fixture
def file(tmp_path: Path) -> UserFile:
    """A file with one operator."""
    found = UserFile(tmp_path / "users.json")
    found.add(name="Mira", role=Role.OPERATOR, password=PASSWORD)
    return found


def test_user_is_known_by_name_in_any_case_and_password(file: UserFile) -> None:
    for name in ("Mira", "mira", "MIRA"):
        user = file.check_password(name=name, password=PASSWORD)
        assert user is not None
        assert (user.name, user.role) == ("Mira", Role.OPERATOR)


@pytest.mark.parametrize("password", ["", "wrong", PASSWORD + " ", PASSWORD.upper(), "x" * 100_000])
def test_wrong_password_is_none(file: UserFile, password: str) -> None:
    assert file.check_password(name="Mira", password=password) is None
    assert file.check_password(name="nobody", password=password) is None


@pytest.mark.parametrize("name", ["nobody", "linked"])
def test_first_name_without_a_password_costs_what_a_wrong_password_costs(file: UserFile, name: str) -> None:
    file.end_sessions(name="linked")  # known, but with no password here

    assert hashing_of(file, name) == hashing_of(file, "Mira") != []


def hashing_of(file: UserFile, name: str) -> list[str]:
    """What a new process hashes to refuse a password, by the costs that it asks of scrypt."""
    done = subprocess.run(
        [sys.executable, "-c", REFUSE_ONE, str(file.path), name], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


REFUSE_ONE = """
import hashlib, pathlib, sys
scrypt = hashlib.scrypt
def told(*args, **costs):
    print(costs["n"], costs["r"], costs["p"])
    return scrypt(*args, **costs)
hashlib.scrypt = told
from chm_web.access.users import UserFile
assert UserFile(pathlib.Path(sys.argv[1])).check_password(name=sys.argv[2], password="wrong") is None
"""


def test_password_is_kept_as_scrypt_alone(file: UserFile) -> None:
    kept = file.path.read_text()

    assert PASSWORD not in kept
    assert '"scrypt:' in kept
    assert "scrypt" not in repr(file.list())


def test_taken_name_is_refused_in_any_case(file: UserFile) -> None:
    with pytest.raises(Conflict, match="Mira"):
        file.add(name="MIRA", role=Role.ADMIN, password=PASSWORD)


@pytest.mark.parametrize("name", ["", " ", "a b", ".a", "a/b", "oidc:a", "x" * 101])
def test_what_is_no_name_is_refused(file: UserFile, name: str) -> None:
    with pytest.raises(Invalid):
        file.add(name=name, role=Role.VIEWER, password=PASSWORD)


@pytest.mark.parametrize("password", ["", "short", "x" * 11, "x" * 1025])
def test_too_short_or_long_a_password_is_refused(file: UserFile, password: str) -> None:
    with pytest.raises(Invalid):
        file.set_password(name="Mira", password=password)
    assert file.check_password(name="Mira", password=PASSWORD) is not None


def test_stamp_changes_with_password_role_and_sign_out_and_not_otherwise(file: UserFile) -> None:
    def stamp() -> str:
        user = file.find("mira")
        assert user is not None
        return user.stamp

    stamps = [stamp()]
    file.make_link(name="mira")
    assert stamp() == stamps[0]
    file.set_password(name="mira", password=PASSWORD + "!")
    stamps.append(stamp())
    file.set_role(name="mira", role=Role.VIEWER)
    stamps.append(stamp())
    file.end_sessions(name="mira")
    stamps.append(stamp())
    assert len(set(stamps)) == 4


def test_removed_user_is_gone(file: UserFile) -> None:
    file.remove(name="mira")

    assert file.check_password(name="Mira", password=PASSWORD) is None
    assert file.list() == []
    with pytest.raises(NotFound):
        file.remove(name="mira")


def test_name_of_whom_only_an_ended_session_is_known_is_free(file: UserFile) -> None:
    file.end_sessions(name="jonas")

    file.add(name="Jonas", role=Role.VIEWER, password=PASSWORD)

    assert [user.name for user in file.list()] == ["Jonas", "Mira"]


def test_link_opens_once(file: UserFile) -> None:
    secret = file.make_link(name="mira")
    assert secret not in file.path.read_text()
    assert file.find_by_link(secret) is not None

    user = file.use_link(secret)

    assert user is not None
    assert user.name == "Mira"
    assert file.use_link(secret) is None
    assert file.find_by_link(secret) is None


@pytest.mark.parametrize("secret", ["", "None", "x", "\ud800"])
def test_what_is_no_link_opens_nothing(file: UserFile, secret: str) -> None:
    file.make_link(name="mira")

    assert file.use_link(secret) is None


def test_link_ends_after_a_day(file: UserFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "LINK_LIFETIME", timedelta(seconds=-1))

    assert file.use_link(file.make_link(name="mira")) is None


def test_link_ends_with_the_password(file: UserFile) -> None:
    secret = file.make_link(name="mira")
    file.set_password(name="mira", password=PASSWORD + "!")

    assert file.use_link(secret) is None


def test_first_admin_is_made_only_where_there_is_no_user(tmp_path: Path, file: UserFile) -> None:
    empty = UserFile(tmp_path / "others.json")
    empty.end_sessions(name="oidc:somebody")  # known, but nobody who could sign in here

    assert empty.add_first(name="admin", password=PASSWORD)
    assert not empty.add_first(name="admin", password=PASSWORD + "!")
    assert not file.add_first(name="admin", password=PASSWORD)
    assert empty.check_password(name="admin", password=PASSWORD) is not None


def test_those_who_sign_in_elsewhere_are_kept_without_password_and_role(file: UserFile) -> None:
    file.end_sessions(name="oidc:Mira")

    kept = file.find("oidc:mira")
    assert kept is not None
    assert (kept.role, kept.password_hash) == (None, None)
    assert kept.sessions_from is not None
    assert datetime.now(UTC) - kept.sessions_from < timedelta(minutes=1)
    assert [user.name for user in file.list()] == ["Mira"]
    with pytest.raises(NotFound):
        file.set_password(name="oidc:Mira", password=PASSWORD)
