"""The guard before every route: who comes, and may they? What declares no permission is refused to everyone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from flask import Flask, current_app, g, request
from limits import RateLimitItemPerMinute
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, TooManyRequests, Unauthorized

from chm_web.access.limits import Counter
from chm_web.access.permissions import SCOPES, Permission, scopes_with
from chm_web.access.tokens import TokenFile
from chm_web.config import Config

View = TypeVar("View", bound=Callable[..., Any])

_EXTENSION = "chm_guard"
_ATTRIBUTE = "access"


@dataclass(frozen=True)
class Access:
    """What a route asks for. ``is_limited``: whether its use counts against the rate limit."""

    permission: Permission
    is_limited: bool = True


@dataclass(frozen=True)
class Actor:
    """Who makes a request. ``name`` is what changes are signed with."""

    name: str
    permissions: frozenset[Permission]


@dataclass(frozen=True)
class _Guard:
    """What ``init_app`` leaves with the app. ``declared``: routes of extensions, by endpoint."""

    tokens: TokenFile | None
    counter: Counter
    limit: RateLimitItemPerMinute | None
    declared: dict[str, Access]


class Guarded:
    """Makes a blueprint whose routes say what they ask for: ``@blueprint.get("/x", allow=Permission.READ)``."""

    def route(self, rule: str, *, allow: Permission, is_limited: bool = True, **options: Any) -> Callable[[View], View]:
        """Declare a route that asks for the permission ``allow``."""
        declare: Callable[[View], View] = super().route(rule, **options)  # type: ignore[misc]
        access = Access(allow, is_limited)

        def decorate(view: View) -> View:
            setattr(view, _ATTRIBUTE, access)
            return declare(view)

        return decorate


def init_app(app: Flask) -> None:
    """Stand before every route of ``app``."""
    app.extensions[_EXTENSION] = _make_guard(app.config["CHM"])
    app.before_request(_check)


def _make_guard(config: Config) -> _Guard:
    limit = config.api_rate_limit_per_minute
    return _Guard(
        tokens=TokenFile(config.tokens_file) if config.tokens_file else None,
        counter=Counter(config.redis_url),
        limit=RateLimitItemPerMinute(limit) if limit else None,
        declared={},
    )


def declare(app: Flask, endpoint: str, permission: Permission) -> None:
    """Say what a route asks for that an extension has made."""
    _guard(app).declared[endpoint] = Access(permission)


def access_of(app: Flask, endpoint: str) -> Access | None:
    """Give what a route asks for; None when it does not say, and is refused to everyone."""
    declared: Access | None = getattr(app.view_functions.get(endpoint), _ATTRIBUTE, None)
    return declared or _guard(app).declared.get(endpoint)


def actor() -> Actor:
    """Give who makes the request at hand, on a route that asks for more than being reached.

    Raises:
        Unauthorized: nobody was identified.
    """
    found: Actor | None = g.get("actor")
    if found is None:
        raise _unauthorized("Send an API token as Authorization: Bearer TOKEN.")
    return found


def _guard(app: Flask) -> _Guard:
    found: _Guard = app.extensions[_EXTENSION]
    return found


def _check() -> None:
    # An address that leads nowhere, or a wrong method, is told by the router.
    if request.endpoint is None or not request.path.startswith("/api/"):
        return
    access = access_of(current_app, request.endpoint)
    if access is None:
        raise Forbidden("Nobody may use this route: it does not say who may.")
    if access.permission is Permission.PUBLIC:
        return
    g.actor = _identify()
    if access.permission not in g.actor.permissions:
        needed = " or ".join(scopes_with(access.permission))
        raise Forbidden(f"This token may not do this. It takes a token with the scope {needed}.")
    if access.is_limited:
        _count(g.actor)


def _identify() -> Actor:
    """Give who the token of the request belongs to.

    Raises:
        Unauthorized: there is none, or it opens nothing.
    """
    kind, _, secret = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not secret.strip():
        raise _unauthorized("Send an API token as Authorization: Bearer TOKEN.")
    tokens = _guard(current_app).tokens
    token = tokens.find(secret.strip(), now=datetime.now(UTC)) if tokens else None
    if token is None:
        raise _unauthorized("This token is wrong, expired or revoked.", error="invalid_token")
    return Actor(f"token:{token.name}", SCOPES[token.scope])


def _unauthorized(message: str, **parameters: str) -> Unauthorized:
    return Unauthorized(message, www_authenticate=WWWAuthenticate("Bearer", {"realm": "CHM", **parameters}))


def _count(who: Actor) -> None:
    guard = _guard(current_app)
    wait = guard.counter.hit(guard.limit, who.name) if guard.limit else None
    if wait is not None:
        raise TooManyRequests(
            f"More than {guard.limit.amount:,} requests a minute. Come again in {wait} s.",  # type: ignore[union-attr]
            retry_after=wait,
        )
