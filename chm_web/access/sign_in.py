"""Signing in: by password, by a link that works once; limited by name and by address.

What every way of signing in needs is here too: how often it may be tried, and where it may lead.
"""

from __future__ import annotations

import logging
import secrets
import sys
from urllib.parse import urlsplit

from flask import Flask, current_app
from limits import RateLimitItemPerMinute

from chm_web.access import sessions
from chm_web.access.limits import Counter
from chm_web.access.origin import client_address
from chm_web.access.sessions import Method, SignedIn
from chm_web.access.users import User, UserFile
from chm_web.config import Config

log = logging.getLogger("chm.sign_in")

FIRST_ADMIN = "admin"
API_DOCS = "/api/v1/docs"
"""The one page among what is there for programs."""

_EXTENSION = "chm_sign_in_counter"
# Attempts within five minutes: of people who mistype, not of programs that guess.
BY_NAME = RateLimitItemPerMinute(10, 5)
BY_ADDRESS = RateLimitItemPerMinute(50, 5)


class SignInRefused(Exception):
    """Nobody is signed in. The message is for whoever tried, and the same whatever was wrong."""


class TooManyAttempts(SignInRefused):
    """Somebody tries too often. ``retry_after`` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        minutes = max(1, round(retry_after / 60))
        super().__init__(f"Too many attempts. Try again in {minutes} {'minute' if minutes == 1 else 'minutes'}.")
        self.retry_after = retry_after


def init_app(app: Flask) -> None:
    """Prepare the counting of attempts."""
    config: Config = app.config["CHM"]
    app.extensions[_EXTENSION] = Counter(config.redis_url)


def with_password(*, name: str, password: str) -> SignedIn:
    """Sign a local user in.

    Raises:
        TooManyAttempts, SignInRefused: as ``check_password``.
        Unavailable: the users' file cannot be read.
    """
    return _begin(check_password(name=name, password=password))


def check_password(*, name: str, password: str) -> User:
    """Give the local user whose name and password these are.

    Raises:
        TooManyAttempts: too many for this name or from this address, right or wrong.
        SignInRefused: the name or the password is wrong.
        Unavailable: the users' file cannot be read.
    """
    count_attempt(name)
    user = sessions.users().check_password(name=name, password=password)
    if user is None:
        log.warning("password refused", extra={"user": name[:100]})
        raise SignInRefused("The name or the password is wrong.")
    return user


def with_link(secret: str) -> SignedIn:
    """Sign in whomever a link is for; it works once.

    Raises:
        TooManyAttempts: too many from this address.
        SignInRefused: the link was used, has ended, or never was one.
        Unavailable, NotWritable: the users' file cannot be read or written.
    """
    count_attempt()
    user = sessions.users().use_link(secret)
    if user is None:
        log.warning("sign-in link refused")
        raise SignInRefused(
            "This link has been used or has expired. Sign in with your password, or ask for a new link."
        )
    return _begin(user)


def own_page(target: str | None) -> str | None:
    """Give ``target`` if it is the path of a page of ours, None for anything else: no sign-in leads elsewhere."""
    if not target or not target.startswith("/") or target.startswith(("//", "/static/", "/sign-")):
        return None
    if target.startswith("/api/") and target != API_DOCS:
        return None
    if "\\" in target or any(ord(character) < 0x20 or ord(character) == 0x7F for character in target):
        return None
    parts = urlsplit(target)
    return target if not parts.scheme and not parts.netloc else None


def prepare_first_start(config: Config) -> None:
    """Make the first admin of a deployment in which nobody could sign in, and say the password on standard error.

    Where people sign in elsewhere none is made: an account that nobody needs is one more to be guessed.

    Raises:
        NotWritable, Unavailable: the users' file cannot be written or read.
    """
    if config.oidc or config.proxy_sign_in:
        return
    password = secrets.token_urlsafe(15)
    if UserFile(config.users_file).add_first(name=FIRST_ADMIN, password=password):
        # For whoever started it: nothing of it goes by a logger, and what keeps standard error keeps it too.
        sys.stderr.write(
            f"\nCHM's first start: sign in as {FIRST_ADMIN} with the password {password}\n"
            f"It is not shown again. Change it on the profile page. Users are kept in {config.users_file}\n\n"
        )
        sys.stderr.flush()


def begin(user: SignedIn) -> SignedIn:
    """Begin a session of somebody who has shown who they are, and log it."""
    sessions.sign_in(user)
    log.info("signed in", extra={"user": user.name, "role": user.role.value, "method": user.method.value})
    return user


def log_sign_out(user: SignedIn) -> None:
    """Log that somebody has ended the session at hand; nothing that is kept changes with it."""
    log.info("signed out", extra={"user": user.name, "method": user.method.value})


def count_attempt(name: str | None = None) -> None:
    """Count an attempt of whoever asks, and for ``name`` if there is one.

    Raises:
        TooManyAttempts: there are too many.
    """
    counter: Counter = current_app.extensions[_EXTENSION]
    waits = [counter.hit(BY_ADDRESS, "sign-in address", client_address())]
    if name is not None:
        waits.append(counter.hit(BY_NAME, "sign-in name", name.lower()[:100]))
    wait = max((wait for wait in waits if wait is not None), default=None)
    if wait is not None:
        raise TooManyAttempts(wait)


def _begin(user: User) -> SignedIn:
    assert user.role is not None  # noqa: S101 - only local users are found by password or link
    return begin(SignedIn(user.name, user.role, Method.LOCAL))
