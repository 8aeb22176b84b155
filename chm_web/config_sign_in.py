"""Configuration of the two ways to sign in that need no file of users: an OIDC provider, and a proxy before CHM."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from chm_web.config_reader import ConfigError, Network, Reader

MIN_PROXY_SECRET_LENGTH = 32
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class OidcSettings:
    """An OIDC provider, and what its claims mean here. ``roles`` is read by ``chm_web.access.roles``."""

    issuer: str
    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    name: str = "your organisation"
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    roles: str
    role_claim: str = "roles"
    name_claim: str | None = None


@dataclass(frozen=True, kw_only=True)
class ProxySignInSettings:
    """Headers by which a proxy says who asks. The role is fixed, or mapped from ``role_header`` by ``roles``.

    ``role_separator`` stands between what the header names.
    """

    user_header: str
    secret: str = field(repr=False)
    role: str = "viewer"
    role_header: str | None = None
    role_separator: str = ","
    roles: str | None = None


def read_public_url(read: Reader, allowed_hosts: tuple[str, ...]) -> str | None:
    """Read the address at which browsers reach CHM.

    Raises:
        ConfigError: it is none, has a path, or is not among the names that CHM answers to.
    """
    value = read.address("CHM_PUBLIC_URL")
    if value is None:
        return None
    parts = urlsplit(value)
    if parts.path or parts.query or parts.fragment:
        raise ConfigError("CHM_PUBLIC_URL must be an address without a path, such as https://chm.example.")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    if host not in allowed_hosts:
        raise ConfigError("CHM_PUBLIC_URL names a host that CHM_ALLOWED_HOSTS does not: add it there.")
    return value


def read_oidc(read: Reader, public_url: str | None) -> OidcSettings | None:
    """Read the OIDC provider; None when none is configured.

    Raises:
        ConfigError: the settings cannot work together.
    """
    issuer = read.address("CHM_OIDC_ISSUER")
    if issuer is None:
        read.none_of("CHM_OIDC_", without="CHM_OIDC_ISSUER")
        return None
    if _can_be_overheard(issuer):
        # Whoever sits on the way could answer with keys of their own, and be anybody.
        raise ConfigError("CHM_OIDC_ISSUER must start with https://; http:// is for a provider on this machine alone.")
    if public_url is None:
        raise ConfigError("CHM_PUBLIC_URL is not set. The OIDC provider sends people back there: https://chm.example.")
    if _can_be_overheard(public_url):
        # The code that signs somebody in comes back there, and so does the session's cookie.
        raise ConfigError(
            "CHM_PUBLIC_URL must start with https:// where people sign in at an OIDC provider; "
            "http:// is for trying it on this machine alone."
        )
    scopes = tuple((read.text("CHM_OIDC_SCOPES") or " ".join(OidcSettings.scopes)).replace(",", " ").split())
    if "openid" not in scopes:
        raise ConfigError("CHM_OIDC_SCOPES must name openid: without it the provider says nothing of who signs in.")
    return OidcSettings(
        issuer=issuer,
        client_id=read.required("CHM_OIDC_CLIENT_ID"),
        client_secret=read.text("CHM_OIDC_CLIENT_SECRET"),
        name=read.text("CHM_OIDC_NAME") or OidcSettings.name,
        scopes=scopes,
        roles=read.required("CHM_OIDC_ROLES"),
        role_claim=read.text("CHM_OIDC_ROLE_CLAIM") or OidcSettings.role_claim,
        name_claim=read.text("CHM_OIDC_NAME_CLAIM"),
    )


def read_proxy_sign_in(read: Reader, trusted_proxies: tuple[Network, ...]) -> ProxySignInSettings | None:
    """Read what a proxy says of who asks; None when no proxy is believed.

    Raises:
        ConfigError: anybody could say it, or the settings cannot work together.
    """
    user_header = _header(read, "CHM_PROXY_AUTH_USER_HEADER")
    if user_header is None:
        read.none_of("CHM_PROXY_AUTH_", without="CHM_PROXY_AUTH_USER_HEADER")
        return None
    if not trusted_proxies:
        raise ConfigError("CHM_TRUSTED_PROXIES is not set: nobody would be believed in CHM_PROXY_AUTH_USER_HEADER.")
    secret = read.required("CHM_PROXY_AUTH_SECRET")
    if len(secret) < MIN_PROXY_SECRET_LENGTH or not secret.isascii() or not secret.isprintable():
        raise ConfigError(
            f"CHM_PROXY_AUTH_SECRET needs at least {MIN_PROXY_SECRET_LENGTH} characters, plain ones, for it travels "
            "in a header. Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"
        )
    role_header, roles, role = (
        _header(read, "CHM_PROXY_AUTH_ROLE_HEADER"),
        read.text("CHM_PROXY_AUTH_ROLES"),
        read.text("CHM_PROXY_AUTH_ROLE"),
    )
    if role_header is not None and role is not None:
        raise ConfigError("CHM_PROXY_AUTH_ROLE and CHM_PROXY_AUTH_ROLE_HEADER are both set. Keep one of them.")
    separator = read.text("CHM_PROXY_AUTH_ROLE_SEPARATOR")
    if separator is not None and role_header is None:
        raise ConfigError("CHM_PROXY_AUTH_ROLE_SEPARATOR is set, but CHM_PROXY_AUTH_ROLE_HEADER is not.")
    if separator not in (None, ",", ";"):
        raise ConfigError(f"CHM_PROXY_AUTH_ROLE_SEPARATOR must be , or ; and not {separator[:40]!r}.")
    if (role_header is None) != (roles is None):
        raise ConfigError(
            "CHM_PROXY_AUTH_ROLE_HEADER and CHM_PROXY_AUTH_ROLES belong together: one of them is not set."
        )
    return ProxySignInSettings(
        user_header=user_header,
        secret=secret,
        role=role or ProxySignInSettings.role,
        role_header=role_header,
        role_separator=separator or ProxySignInSettings.role_separator,
        roles=roles,
    )


def _can_be_overheard(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme != "https" and parts.hostname not in _LOOPBACK


def _header(read: Reader, name: str) -> str | None:
    value = read.text(name)
    if value is not None and not _HEADER.fullmatch(value):
        raise ConfigError(f"{name} must be the name of a header, such as X-Forwarded-User, not {value[:40]!r}.")
    return value
