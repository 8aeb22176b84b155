"""Local users: names, roles and password hashes in a file, and from when on each one's sessions count."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from werkzeug.security import check_password_hash, generate_password_hash

from chm_web.access.credentials_file import CredentialsFile
from chm_web.access.permissions import Role
from chm_web.services.audit import Named, changed_between, log_change
from chm_web.services.exceptions import Conflict, FieldIssue, Invalid, NotFound

MIN_PASSWORD_LENGTH = 12
MAX_PASSWORD_LENGTH = 1024
LINK_LIFETIME = timedelta(hours=24)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")
# The cost stands in each hash; that of nobody must have the same.
_METHOD = "scrypt:32768:8:1"
# Of no password, and not hashed from one: the first name that nobody has would take twice as long as all others.
_HASH_OF_NOBODY = f"{_METHOD}${secrets.token_hex(8)}${secrets.token_hex(64)}"


@dataclass(frozen=True, kw_only=True)
class User:
    """What is kept of a user. Someone who signs in elsewhere has no password here, only when sessions end.

    ``sessions_from``: sessions that began before it are over. ``link_sha256``: of a link to sign in with, once.
    """

    name: str
    role: Role | None
    password_hash: str | None = field(default=None, repr=False)
    sessions_from: datetime | None = None
    link_sha256: str | None = field(default=None, repr=False)
    link_until: datetime | None = None

    @property
    def stamp(self) -> str:
        """Another text whenever the password or the role changes, or all sessions are ended."""
        parts = (self.role or "", self.password_hash or "", self.sessions_from or "")
        return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]


class UserFile:
    """The users of one deployment, in ``CHM_USERS_FILE``. Names are the same whatever their case.

    Who makes a change is ``by``, for the record of changes.
    """

    def __init__(self, path: Path, *, min_password_length: int = MIN_PASSWORD_LENGTH) -> None:
        self._file = CredentialsFile(path, load=_load, dump=_dump)
        self.min_password_length = min_password_length

    @property
    def path(self) -> Path:
        """Where they are kept."""
        return self._file.path

    def list(self) -> list[User]:
        """List the local users by name.

        Raises:
            Unavailable: the file cannot be read.
        """
        return sorted((user for user in self._file.entries().values() if user.role), key=lambda user: user.name.lower())

    def find(self, name: str) -> User | None:
        """Give what is kept of a user, local or not.

        Raises:
            Unavailable: the file cannot be read.
        """
        return self._file.entries().get(name.lower())

    def add(self, *, name: str, role: Role, password: str, by: str | None = None) -> User:
        """Add a local user.

        Raises:
            Invalid: the name or the password is none.
            Conflict: there is a user of this name.
            NotWritable: the file cannot be written.
        """
        if not _NAME.fullmatch(name):
            issue = "Use 1 to 100 letters, digits and . _ @ + -, beginning with a letter or digit."
            raise Invalid("This is no name for a user.", (FieldIssue("name", issue),))
        user = User(name=name, role=role, password_hash=self._hash(password))
        with self._file.changing() as users:
            known = users.get(name.lower())
            if known is not None and known.role:
                raise Conflict(f"There is a user called {known.name} already.")
            users[name.lower()] = user
        _record("create", name, known, user, by)
        return user

    def add_first(self, *, name: str, password: str) -> bool:
        """Add an admin if there is no local user at all. Of several who try at once, one does."""
        if self.list():
            return False
        hashed = self._hash(password)
        with self._file.changing() as users:
            if any(user.role for user in users.values()):
                return False
            users[name.lower()] = first = User(name=name, role=Role.ADMIN, password_hash=hashed)
        _record("create", name, None, first, "the first start")
        return True

    def set_password(self, *, name: str, password: str, by: str | None = None) -> None:
        """Give a local user a new password; all sessions of the user end.

        Raises:
            Invalid: the password is none.
            NotFound: there is no such user.
            NotWritable: the file cannot be written.
        """
        hashed = self._hash(password)
        self._change(name, by, password_hash=hashed, link_sha256=None, link_until=None)

    def set_role(self, *, name: str, role: Role, by: str | None = None) -> None:
        """Give a local user another role; all sessions of the user end.

        Raises:
            NotFound: there is no such user.
            NotWritable: the file cannot be written.
        """
        self._change(name, by, role=role)

    def remove(self, *, name: str, by: str | None = None) -> None:
        """Remove a local user; all sessions of the user end.

        Raises:
            NotFound: there is no such user.
            NotWritable: the file cannot be written.
        """
        with self._file.changing() as users:
            removed = _local(users, name)
            del users[name.lower()]
        _record("delete", removed.name, removed, None, by)

    def end_sessions(self, *, name: str, by: str | None = None) -> None:
        """End all sessions of a user, local or not, from now on.

        Raises:
            NotWritable: the file cannot be written.
        """
        with self._file.changing() as users:
            known = users.get(name.lower()) or User(name=name, role=None)
            users[name.lower()] = changed = replace(known, sessions_from=datetime.now(UTC))
        _record("update", known.name, known, changed, by)

    def check_password(self, *, name: str, password: str) -> User | None:
        """Give the local user whose name and password these are, or None.

        It takes as long for a name that nobody has: the answer's time tells nothing.

        Raises:
            Unavailable: the file cannot be read.
        """
        user = self.find(name)
        hashed = user.password_hash if user else None
        is_right = check_password_hash(hashed or _HASH_OF_NOBODY, password[:MAX_PASSWORD_LENGTH])
        return user if user and hashed and user.role and is_right else None

    def make_link(self, *, name: str, by: str | None = None) -> str:
        """Make the secret of a link that signs a local user in, once, within a day. An older one ends.

        Raises:
            NotFound: there is no such user.
            NotWritable: the file cannot be written.
        """
        secret = secrets.token_urlsafe(32)
        self._change(name, by, link_sha256=_digest(secret), link_until=datetime.now(UTC) + LINK_LIFETIME)
        return secret

    def find_by_link(self, secret: str) -> User | None:
        """Give the local user whom a link would sign in, without using it.

        Raises:
            Unavailable: the file cannot be read.
        """
        return next((user for user in self._file.entries().values() if _opens(user, secret)), None)

    def use_link(self, secret: str) -> User | None:
        """Give the local user whom a link signs in, and end the link. Of several who use it at once, one does.

        Raises:
            Unavailable, NotWritable: the file cannot be read or written.
        """
        with self._file.changing() as users:
            for key, user in users.items():
                if _opens(user, secret):
                    users[key] = replace(user, link_sha256=None, link_until=None)
                    return users[key]
        return None

    def _hash(self, password: str) -> str:
        shortest = self.min_password_length
        if not shortest <= len(password) <= MAX_PASSWORD_LENGTH:
            issue = f"Use at least {shortest} characters (and at most {MAX_PASSWORD_LENGTH:,})."
            raise Invalid("This is no password.", (FieldIssue("password", issue),))
        return generate_password_hash(password, method=_METHOD)

    def _change(self, name: str, by: str | None, **values: Any) -> None:
        with self._file.changing() as users:
            known = _local(users, name)
            users[name.lower()] = changed = replace(known, **values)
        _record("update", known.name, known, changed, by)


def _record(action: str, name: str, before: User | None, after: User | None, by: str | None) -> None:
    # Of a password the record hides the hash, as of all that is called one: it tells that it has changed.
    fields = ("role", "sessions_from", "password_hash", "link_until")
    log_change(action, Named("user", name), changed_between(before, after, fields), by)


def _local(users: Mapping[str, User], name: str) -> User:
    user = users.get(name.lower())
    if user is None or user.role is None:
        raise NotFound(f"There is no user called {name}.")
    return user


def _opens(user: User, secret: str) -> bool:
    if user.role is None or user.link_sha256 is None or user.link_until is None:
        return False
    return hmac.compare_digest(user.link_sha256, _digest(secret)) and datetime.now(UTC) < user.link_until


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _load(key: str, values: Mapping[str, Any]) -> User:
    def moment(name: str) -> datetime | None:
        value = values.get(name)
        return datetime.fromisoformat(value) if value else None

    role = values.get("role")
    return User(
        name=str(values.get("name") or key),
        role=Role(role) if role else None,
        password_hash=values.get("password_hash"),
        sessions_from=moment("sessions_from"),
        link_sha256=values.get("link_sha256"),
        link_until=moment("link_until"),
    )


def _dump(user: User) -> Mapping[str, Any]:
    values = {
        "name": user.name,
        "role": user.role.value if user.role else None,
        "password_hash": user.password_hash,
        "sessions_from": user.sessions_from.isoformat() if user.sessions_from else None,
        "link_sha256": user.link_sha256,
        "link_until": user.link_until.isoformat() if user.link_until else None,
    }
    return {name: value for name, value in values.items() if value is not None}
