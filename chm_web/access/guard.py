"""The guard before every route: who comes, and may they? What declares no permission is refused to everyone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

from flask import Flask, current_app, g, redirect, request, url_for
from limits import RateLimitItemPerMinute
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, TooManyRequests, Unauthorized
from werkzeug.wrappers import Response

from chm_web.access.limits import Counter
from chm_web.access.permissions import ROLES, SCOPES, Permission, roles_with, scopes_with
from chm_web.access.proxy import proxied_person
from chm_web.access.sessions import signed_in
from chm_web.access.tokens import TokenFile
from chm_web.config import Config
from chm_web.extensions import csrf

View = TypeVar("View", bound=Callable[..., Any])

SIGN_IN = "account.sign_in_page"
"""The page to which people are sent who are not signed in."""

_EXTENSION = "chm_guard"
_ATTRIBUTE = "access"


@dataclass(frozen=True)
class Access:
    """What a route asks for.

    ``is_limited``: whether its use counts against the rate limit. ``is_page``: whether it is for browsers, or, where it
    is not, for services with a token; None: what stands under ``/api/`` is for services, and the rest for browsers.
    """

    permission: Permission
    is_limited: bool = True
    is_page: bool | None = None


@dataclass(frozen=True)
class Actor:
    """Who makes a request. ``name`` is what changes are signed with."""

    name: str
    permissions: frozenset[Permission]


@dataclass(frozen=True)
class _Guard:
    """What ``init_app`` leaves with the app. ``declared``: routes of extensions, by endpoint."""

    tokens: TokenFile
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
        tokens=TokenFile(config.tokens_file),
        counter=Counter(config.redis_url),
        limit=RateLimitItemPerMinute(limit) if limit else None,
        declared={},
    )


def declare(
    app: Flask, endpoint: str, permission: Permission, *, is_limited: bool = True, is_page: bool | None = None
) -> None:
    """Say what a route asks for that an extension has made, or for which it depends on the configuration."""
    _guard(app).declared[endpoint] = Access(permission, is_limited, is_page)


def declared_access(view: object) -> Access:
    """Give what the view of a guarded blueprint has declared."""
    found: Access = getattr(view, _ATTRIBUTE)
    return found


def access_of(app: Flask, endpoint: str) -> Access | None:
    """Give what a route asks for; None when it does not say, and is refused to everyone."""
    declared: Access | None = getattr(app.view_functions.get(endpoint), _ATTRIBUTE, None)
    return declared or _guard(app).declared.get(endpoint)


def actor() -> Actor:
    """Give who makes the request at hand, on a route that asks for more than being reached."""
    found: Actor = g.actor
    return found


def may(permission: Permission) -> bool:
    """Whether whoever makes the request at hand holds ``permission``."""
    found: Actor | None = g.get("actor")
    return found is not None and permission in found.permissions


def _guard(app: Flask) -> _Guard:
    found: _Guard = app.extensions[_EXTENSION]
    return found


def _check() -> Response | None:
    # An address that leads nowhere, or a wrong method, is told by the router.
    if request.endpoint is None:
        return None
    access = access_of(current_app, request.endpoint)
    if access is None:
        raise Forbidden("Nobody may use this route: it does not say who may.")
    if access.permission is Permission.PUBLIC:
        return None
    is_page = not request.path.startswith("/api/") if access.is_page is None else access.is_page
    if is_page:
        return _check_page(access)
    _check_api(access)
    return None


def _check_api(access: Access) -> None:
    """Let services in by token, and people by their session: then as pages do, with a CSRF token."""
    person = None if "Authorization" in request.headers else _person()
    g.actor = person or _service()
    if person is not None and request.method not in ("GET", "HEAD", "OPTIONS"):
        csrf.protect()
    if access.permission not in g.actor.permissions:
        by_token = "" if person else f" It takes a token with the scope {' or '.join(scopes_with(access.permission))}."
        raise Forbidden(f"This {'user' if person else 'token'} may not do this.{by_token}")
    if access.is_limited:
        _count(g.actor)


def _check_page(access: Access) -> Response | None:
    g.actor = _person()
    if g.actor is None:
        if proxied_person() is not None:
            raise Forbidden("You are signed in, but nothing that is said of you gives you a role in CHM.")
        return _to_sign_in()
    if access.permission not in g.actor.permissions:
        raise Forbidden(f"This takes the role {' or '.join(roles_with(access.permission))}.")
    return None


def _to_sign_in() -> Response:
    """Send a browser to sign in and then back to the page that it is on."""
    if "HX-Request" in request.headers:
        # A part of a page cannot be a sign-in page: the whole page goes there, and comes back.
        target = _path_of(request.headers.get("HX-Current-URL", ""))
        return Response(status=401, headers={"HX-Redirect": url_for(SIGN_IN, next=target or None)})
    # Only a page can be come back to, not what a form was sent to.
    target = request.full_path.removesuffix("?") if request.method == "GET" else ""
    return redirect(url_for(SIGN_IN, next=(target.removeprefix("/") and target) or None), code=303)


def _path_of(url: str) -> str:
    try:
        page = urlsplit(url)
    except ValueError:
        return ""
    return f"{page.path}?{page.query}" if page.query else page.path


def _person() -> Actor | None:
    user = signed_in()
    # Somebody of the provider's or the proxy's may be called like a local user, and is another.
    return Actor(user.kept_as, ROLES[user.role]) if user else None


def _service() -> Actor:
    """Give who the token of the request belongs to.

    Raises:
        Unauthorized: there is none, or it opens nothing.
    """
    kind, _, secret = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not secret.strip():
        raise _unauthorized("Send an API token as Authorization: Bearer TOKEN.")
    tokens = _guard(current_app).tokens
    token = tokens.find(secret.strip(), now=datetime.now(UTC))
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
