"""Signed-in sessions: a signed cookie that says who, since when, and by which password and role.

Nothing about a session is kept on the server but what ends it: a changed password or role, or "sign out everywhere",
which all stand in the users' file.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass
from datetime import timedelta
from time import time as now
from typing import Any

import flask
from flask import Flask, current_app, session
from flask.sessions import SecureCookieSessionInterface
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user

from chm_web.access.origin import is_secure
from chm_web.access.permissions import Role
from chm_web.access.users import UserFile
from chm_web.config import Config

POLL_HEADER = "X-CHM-Poll"
"""Borne by requests that a page makes by itself: a page that is merely open does not keep a session alive."""

_KEY = "chm"
_EXTENSION = "chm_users"
# A cookie is sent anew at most this often, in seconds.
_NOTE_EVERY = 60


class Method(enum.StrEnum):
    """How somebody signed in."""

    LOCAL = "local"
    OIDC = "oidc"
    PROXY = "proxy"


@dataclass(frozen=True)
class SignedIn(UserMixin):  # type: ignore[misc]
    """Somebody who is signed in."""

    name: str
    role: Role
    method: Method

    def get_id(self) -> str:
        """Give what the session knows the user by."""
        return f"{self.method}:{self.name}"

    @property
    def kept_as(self) -> str:
        """The name in the users' file: those who sign in elsewhere must not be mixed up with local users."""
        return self.name if self.method is Method.LOCAL else self.get_id()


class _Sessions(SecureCookieSessionInterface):
    def get_cookie_secure(self, app: Flask) -> bool:
        """Send the cookie by TLS alone where the browser speaks it."""
        return is_secure()


def init_app(app: Flask) -> None:
    """Set up sessions and their limits."""
    config: Config = app.config["CHM"]
    app.session_interface = _Sessions()
    app.config.update(
        # Browsers keep cookies by host, not by port: two apps on one machine must not sign each other's users out.
        SESSION_COOKIE_NAME="chm_session_" + hashlib.sha256(config.secret_key.encode()).hexdigest()[:8],
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=timedelta(hours=config.session_hours),
    )
    app.extensions[_EXTENSION] = UserFile(config.users_file)
    manager = LoginManager()
    manager.session_protection = None
    manager.user_loader(_load)
    manager.init_app(app, add_context_processor=False)


def users() -> UserFile:
    """Give the file of the current app's users."""
    found: UserFile = current_app.extensions[_EXTENSION]
    return found


def sign_in(user: SignedIn) -> None:
    """Begin a session of ``user``, with nothing left of what the browser held before."""
    session.clear()
    moment = now()
    kept = users().find(user.kept_as)
    session[_KEY] = {
        "name": user.name,
        "role": user.role.value,
        "method": user.method.value,
        "stamp": kept.stamp if kept else "",
        "began": moment,
        "seen": moment,
    }
    session.permanent = True
    login_user(user)


def sign_out() -> None:
    """End the session at hand."""
    logout_user()
    session.clear()


def signed_in() -> SignedIn | None:
    """Give who is signed in, if anybody is.

    Raises:
        Unavailable: the users' file cannot be read.
    """
    return current_user._get_current_object() if current_user.is_authenticated else None


def _load(user_id: str) -> SignedIn | None:
    kept: dict[str, Any] | None = session.get(_KEY)
    if kept is None:
        return None
    config: Config = current_app.config["CHM"]
    moment = now()
    if moment - kept["began"] > config.session_hours * 3600:
        return None
    if moment - kept["seen"] > config.session_idle_minutes * 60:
        return None
    user = SignedIn(kept["name"], Role(kept["role"]), Method(kept["method"]))
    known = users().find(user.kept_as)
    if (known.stamp if known else "") != kept["stamp"] or user.get_id() != user_id:
        return None
    if moment - kept["seen"] > _NOTE_EVERY and POLL_HEADER not in flask.request.headers:
        session[_KEY] = kept | {"seen": moment}
    return user
