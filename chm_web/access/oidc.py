"""Signing in at an OIDC provider: authorization code flow with PKCE; state, nonce and id token are all checked.

What is begun (state, nonce, verifier, the page to come back to) is kept in the browser's own signed session, so that
only the browser that began can end it, and once.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from time import time as now
from typing import Any

from flask import Flask, current_app, session

from chm_web.access import sign_in
from chm_web.access.oidc_provider import Claims, Provider, ProviderDown, TokenRefused
from chm_web.access.permissions import Role
from chm_web.access.roles import RoleMap, usable_name
from chm_web.access.sessions import Method, SignedIn
from chm_web.access.sign_in import SignInRefused
from chm_web.config import Config, OidcSettings

log = logging.getLogger("chm.sign_in")

CALLBACK_PATH = "/sign-in/oidc/callback"

_EXTENSION = "chm_oidc"
_BEGUN = "oidc"
# Several tabs may sign in at once; a cookie holds no more than some four thousand characters.
_MOST_BEGUN = 3
_LONGEST_TARGET = 500
_BEGUN_SECONDS = 30 * 60
_ERROR_CODE = re.compile(r"[a-z_]{1,40}")


class OidcRefused(SignInRefused):
    """What came back from the provider signs nobody in. ``target``: the page that was asked for, if it is known."""

    def __init__(self, message: str, target: str | None = None) -> None:
        super().__init__(message)
        self.target = target


class NotAllowed(OidcRefused):
    """The provider knows who it is, but they may not use CHM; or it did not let them sign in."""


class ProviderUnavailable(OidcRefused):
    """The provider does not answer, or answers nonsense. Trying again later is right."""


@dataclass(frozen=True)
class _Oidc:
    settings: OidcSettings
    provider: Provider
    roles: RoleMap


def init_app(app: Flask) -> None:
    """Prepare the provider, if one is configured; it is not asked anything yet.

    Raises:
        ConfigError: the roles cannot be read.
    """
    config: Config = app.config["CHM"]
    app.extensions[_EXTENSION] = None
    if config.oidc is not None:
        app.extensions[_EXTENSION] = _Oidc(
            settings=config.oidc,
            provider=Provider(config.oidc, redirect_uri=f"{config.public_url}{CALLBACK_PATH}"),
            roles=RoleMap.parse("CHM_OIDC_ROLES", config.oidc.roles),
        )


def provider_names() -> list[str]:
    """Give what the providers are called at which people may sign in: one, or none."""
    oidc: _Oidc | None = current_app.extensions[_EXTENSION]
    return [oidc.settings.name] if oidc else []


def start(target: str | None) -> str:
    """Begin to sign in, to come back to the page ``target`` of ours. Gives the provider's address to go to.

    Raises:
        ProviderUnavailable: the provider does not say where that is.
    """
    oidc = _configured()
    if target is not None and len(target) > _LONGEST_TARGET:
        target = None
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    try:
        address = oidc.provider.sign_in_address(state=state, nonce=nonce, verifier=verifier)
    except ProviderDown as err:
        raise _unavailable(oidc, err, target) from err
    begun = {"state": state, "nonce": nonce, "verifier": verifier, "target": target, "at": now()}
    session[_BEGUN] = [*session.get(_BEGUN, [])[1 - _MOST_BEGUN :], begun]
    return address


def finish(answer: Mapping[str, str]) -> tuple[SignedIn, str | None]:
    """Sign in whom the provider sends back with ``answer``. Gives them and the page that they asked for.

    Raises:
        TooManyAttempts: too many from this address.
        NotAllowed: the provider refuses, or nothing that it says of them gives a role.
        ProviderUnavailable: the provider cannot be asked who it is.
        OidcRefused: this browser has not begun it, or what the provider says cannot be believed.
    """
    sign_in.count_attempt()
    oidc = _configured()
    begun = _take_begun(answer.get("state", ""))
    name = oidc.settings.name
    if begun is None:
        log.warning("sign-in at the provider refused: it was not begun here, or is over")
        raise OidcRefused("This sign-in was begun in another browser, too long ago, or is done already. Begin anew.")
    target = begun["target"]
    if answer.get("iss", oidc.settings.issuer).rstrip("/") != oidc.settings.issuer:
        log.warning("sign-in at the provider refused: it is another provider's answer")
        raise OidcRefused(f"This answer is not by {name}, so nobody is signed in.", target)
    if "error" in answer:
        code = answer["error"] if _ERROR_CODE.fullmatch(answer["error"]) else "unknown"
        log.warning("sign-in refused by the provider", extra={"error": code})
        raise NotAllowed(f"You were not signed in at {name}: it answered {code}.", target)
    try:
        claims = oidc.provider.claims(
            code=answer.get("code", ""), nonce=begun["nonce"], verifier=begun["verifier"], wanted=_wanted(oidc.settings)
        )
    except ProviderDown as err:
        raise _unavailable(oidc, err, target) from err
    except TokenRefused as err:
        log.warning("sign-in at the provider refused: %s", err)
        raise OidcRefused(f"What {name} says of you could not be verified, so nobody is signed in.", target) from err
    return sign_in.begin(_person(oidc, claims, target)), target


def _configured() -> _Oidc:
    oidc: _Oidc = current_app.extensions[_EXTENSION]
    return oidc


def _take_begun(state: str) -> dict[str, Any] | None:
    """Give what was begun under ``state``, and forget it: it ends once."""
    all_begun: list[dict[str, Any]] = session.get(_BEGUN, [])
    found = next(
        (begun for begun in all_begun if secrets.compare_digest(begun["state"].encode(), state.encode())), None
    )
    session[_BEGUN] = [begun for begun in all_begun if begun is not found]
    return found if found and now() - found["at"] < _BEGUN_SECONDS else None


def _wanted(settings: OidcSettings) -> tuple[str, ...]:
    """Give the claims without which the provider is asked for more than the id token."""
    return (settings.role_claim, settings.name_claim or "preferred_username")


def _person(oidc: _Oidc, claims: Claims, target: str | None) -> SignedIn:
    settings = oidc.settings
    named_by = [settings.name_claim] if settings.name_claim else ["preferred_username", "email", "sub"]
    name = next((name for name in (usable_name(claims.find(claim)) for claim in named_by) if name), None)
    if name is None:
        log.warning("sign-in at the provider refused: no usable name in %s", ", ".join(named_by))
        raise NotAllowed(f"{settings.name} gives no name for you that CHM can use.", target)
    role: Role | None = oidc.roles.role_of(claims.texts(settings.role_claim))
    if role is None:
        log.warning("sign-in at the provider refused: no role", extra={"user": name})
        raise NotAllowed(
            f"You are signed in at {settings.name} as {name}, but nothing that it says of you gives you a role in CHM. "
            "Ask the people who run CHM for access.",
            target,
        )
    return SignedIn(name, role, Method.OIDC)


def _unavailable(oidc: _Oidc, err: ProviderDown, target: str | None) -> ProviderUnavailable:
    log.warning("the provider of sign-in does not answer properly: %s", err)
    return ProviderUnavailable(
        f"{oidc.settings.name} does not answer properly just now, so nobody can sign in there. "
        "Try again in a moment; if it does not help, tell the people who run CHM.",
        target,
    )
