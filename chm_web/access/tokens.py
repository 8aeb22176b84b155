"""API tokens: made once, shown once, kept as hashes."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chm_web.access.credentials_file import CredentialsFile
from chm_web.access.permissions import Scope
from chm_web.services.audit import Named, changed_between, log_change
from chm_web.services.exceptions import Conflict, FieldIssue, Invalid, NotFound

PREFIX = "chm_"
"""What every token begins with: so that scanners, and our own redaction, know one when they see it."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class Token:
    """What is kept of a token."""

    name: str
    scope: Scope
    sha256: str
    created_at: datetime
    expires_at: datetime | None = None

    def is_valid_at(self, now: datetime) -> bool:
        """Whether the token still opens anything."""
        return self.expires_at is None or now < self.expires_at


class TokenFile:
    """The tokens of one deployment, in ``CHM_TOKENS_FILE``. Who makes a change is ``by``, for the record of changes."""

    def __init__(self, path: Path) -> None:
        self._file = CredentialsFile(path, load=_load, dump=_dump)

    def list(self) -> list[Token]:
        """List the tokens by name.

        Raises:
            Unavailable: the file cannot be read.
        """
        return sorted(self._file.entries().values(), key=lambda token: token.name)

    def create(self, *, name: str, scope: Scope, expires_at: datetime | None = None, by: str | None = None) -> str:
        """Make a token and give it: it cannot be shown again.

        Raises:
            Invalid: the name is none.
            Conflict: there is a token of this name.
            NotWritable: the file cannot be written.
        """
        if not _NAME.fullmatch(name):
            issue = "Use 1 to 64 letters, digits, dots, dashes and underscores, beginning with a letter or digit."
            raise Invalid("This is no name for a token.", (FieldIssue("name", issue),))
        secret = PREFIX + secrets.token_urlsafe(32)
        with self._file.changing() as tokens:
            if name in tokens:
                raise Conflict(f"There is a token called {name} already. Revoke it first, or choose another name.")
            tokens[name] = token = Token(
                name=name, scope=scope, sha256=_hash(secret), created_at=datetime.now(UTC), expires_at=expires_at
            )
        _record("create", name, None, token, by)
        return secret

    def revoke(self, *, name: str, by: str | None = None) -> None:
        """Remove a token: from now on it opens nothing.

        Raises:
            NotFound: there is no token of this name.
            NotWritable: the file cannot be written.
        """
        with self._file.changing() as tokens:
            token = tokens.pop(name, None)
            if token is None:
                raise NotFound(f"There is no token called {name}.")
        _record("delete", name, token, None, by)

    def find(self, secret: str, *, now: datetime) -> Token | None:
        """Give the valid token that ``secret`` is, or None.

        Every token is compared, each in constant time: how long it takes says nothing about any of them.

        Raises:
            Unavailable: the file cannot be read.
        """
        presented = _hash(secret)
        found = None
        for token in self._file.entries().values():
            if hmac.compare_digest(presented, token.sha256):
                found = token
        return found if found is not None and found.is_valid_at(now) else None


def _record(action: str, name: str, before: Token | None, after: Token | None, by: str | None) -> None:
    log_change(action, Named("API token", name), changed_between(before, after, ("scope", "expires_at")), by)


def _hash(secret: str) -> str:
    # One plain round is enough: there is nothing to guess in 256 random bits.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _load(name: str, values: Mapping[str, Any]) -> Token:
    expires_at = values.get("expires_at")
    return Token(
        name=name,
        scope=Scope(values["scope"]),
        sha256=str(values["sha256"]),
        created_at=datetime.fromisoformat(values["created_at"]),
        expires_at=datetime.fromisoformat(expires_at) if expires_at else None,
    )


def _dump(token: Token) -> Mapping[str, Any]:
    return {
        "scope": token.scope.value,
        "sha256": token.sha256,
        "created_at": token.created_at.isoformat(),
        "expires_at": token.expires_at.isoformat() if token.expires_at else None,
    }
