"""Where a request comes from, also behind proxies that we were told to believe."""

from __future__ import annotations

from ipaddress import ip_address

from flask import current_app, request

from chm_web.config import Config


def peer_is_trusted() -> bool:
    """Whether the machine at the other end of the connection is one of ``CHM_TRUSTED_PROXIES``."""
    return _is_trusted(request.remote_addr or "")


def client_address() -> str:
    """Give the address of whoever asks: the peer's, or the one that a trusted proxy names."""
    peer = request.remote_addr or "local socket"
    if not peer_is_trusted():
        return peer
    # From the right: every proxy appends whom it saw, and what stands further left may be made up.
    for address in reversed([part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",")]):
        if not _is_address(address):
            return peer
        peer = address
        if not _is_trusted(address):
            return address
    return peer


def is_secure() -> bool:
    """Whether the browser speaks TLS, with us or with a proxy before us."""
    config: Config = current_app.config["CHM"]
    forwarded = peer_is_trusted() and request.headers.get("X-Forwarded-Proto", "").lower() == "https"
    return config.behind_tls or request.is_secure or forwarded


def _is_trusted(address: str) -> bool:
    config: Config = current_app.config["CHM"]
    return _is_address(address) and any(ip_address(address) in network for network in config.trusted_proxies)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
