"""Who asks, by the word of a proxy that signs people in before CHM.

No session is begun: every request is judged by its own headers. So a role that is taken away, or a sign-out, counts
at the next request, and no cookie of ours would let somebody pass the proxy by.
"""

from __future__ import annotations

import hmac
import logging
import time
from dataclasses import dataclass, field

from flask import Flask, current_app, request

from chm_web.access.origin import peer_is_trusted
from chm_web.access.permissions import Role
from chm_web.access.roles import RoleMap, usable_name
from chm_web.config import Config, ConfigError, ProxySignInSettings

log = logging.getLogger("chm.sign_in")

PROOF_HEADER = "X-CHM-Proxy-Secret"
"""Holds the secret that the proxy shares with CHM: an address alone can be another program's, too."""

_EXTENSION = "chm_proxy_sign_in"
_TELL_EVERY_SECONDS = 60.0


@dataclass(frozen=True)
class ProxiedPerson:
    """Somebody whom the proxy has signed in. ``role``: None when nothing that it says of them gives one."""

    name: str
    role: Role | None


@dataclass
class _Proxy:
    settings: ProxySignInSettings
    fixed_role: Role | None
    roles: RoleMap | None
    told_at: float = field(default=-_TELL_EVERY_SECONDS)

    def tell(self, problem: str) -> None:
        """Log a problem, but not at every request: whoever sends such headers could fill the disk."""
        moment = time.monotonic()
        if moment - self.told_at >= _TELL_EVERY_SECONDS:
            self.told_at = moment
            log.warning("headers of proxy sign-in ignored: %s", problem)


def init_app(app: Flask) -> None:
    """Prepare to believe the proxy, if one is configured.

    Raises:
        ConfigError: there is no such role.
    """
    config: Config = app.config["CHM"]
    app.extensions[_EXTENSION] = _make_proxy(config.proxy_sign_in) if config.proxy_sign_in else None


def proxied_person() -> ProxiedPerson | None:
    """Give whom the proxy says a request is from; None when it says nobody, or when others than the proxy say it."""
    proxy: _Proxy | None = current_app.extensions[_EXTENSION]
    if proxy is None or proxy.settings.user_header not in request.headers:
        return None
    name = usable_name(_read(proxy.settings.user_header))
    if not peer_is_trusted():
        proxy.tell("they come from an address that is not in CHM_TRUSTED_PROXIES")
    elif not hmac.compare_digest(request.headers.get(PROOF_HEADER, "").encode(), proxy.settings.secret.encode()):
        proxy.tell(f"{PROOF_HEADER} is missing or wrong")
    elif name is None or "," in name:
        # Servers join headers of one name by commas: of two names neither is believed.
        proxy.tell("the name cannot be one, or there are several")
    else:
        return ProxiedPerson(name, _role(proxy))
    return None


def _make_proxy(settings: ProxySignInSettings) -> _Proxy:
    if settings.roles is not None:
        return _Proxy(settings, None, RoleMap.parse("CHM_PROXY_AUTH_ROLES", settings.roles))
    if settings.role not in list(Role):
        raise ConfigError(f"CHM_PROXY_AUTH_ROLE must be one of {', '.join(Role)}, not {settings.role[:40]!r}.")
    return _Proxy(settings, Role(settings.role), None)


def _role(proxy: _Proxy) -> Role | None:
    if proxy.roles is None or proxy.settings.role_header is None:
        return proxy.fixed_role
    said = _read(proxy.settings.role_header).split(proxy.settings.role_separator)
    return proxy.roles.role_of(part.strip() for part in said)


def _read(header: str) -> str:
    """Give a header's text. Servers take its bytes for Latin-1; proxies send UTF-8."""
    value = request.headers.get(header, "")
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value
