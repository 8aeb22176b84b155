"""Where a request comes from, behind no proxy, one, or several."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_network

import pytest
from flask import Flask

from chm_web import create_app
from chm_web.access.origin import client_address, is_secure, peer_is_trusted
from chm_web.config import Config

PROXIES = tuple(ip_network(network) for network in ("10.0.0.5", "10.1.0.0/16", "fd00::/8"))


@pytest.fixture
def behind(app: Flask, config: Config) -> Flask:
    """The app behind proxies."""
    return create_app(dataclasses.replace(config, trusted_proxies=PROXIES))


def address_of(app: Flask, peer: str, forwarded: str | None) -> str:
    """The address that a request is taken to be from."""
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    with app.test_request_context(environ_base={"REMOTE_ADDR": peer}, headers=headers):
        return client_address()


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        # nobody forwards
        ("192.0.2.1", None, "192.0.2.1"),
        ("10.0.0.5", None, "10.0.0.5"),
        # one proxy, and several
        ("10.0.0.5", "192.0.2.1", "192.0.2.1"),
        ("10.0.0.5", "192.0.2.1, 10.1.2.3", "192.0.2.1"),
        ("10.0.0.5", "192.0.2.1,10.1.2.3 , 10.1.0.9", "192.0.2.1"),
        ("fd00::1", "2001:db8::7", "2001:db8::7"),
        ("::ffff:10.0.0.5", "192.0.2.1", "192.0.2.1"),
        # what the browser made up stands further left
        ("10.0.0.5", "127.0.0.1, 192.0.2.1", "192.0.2.1"),
        ("10.0.0.5", "10.0.0.5, 192.0.2.1, 10.1.2.3", "192.0.2.1"),
        # whom nobody believes
        ("192.0.2.1", "127.0.0.1", "192.0.2.1"),
        ("10.0.0.6", "192.0.2.1", "10.0.0.6"),
        # everybody on the way is a proxy
        ("10.0.0.5", "10.1.2.3", "10.1.2.3"),
        # garbage: no further than to whom it was seen by
        ("10.0.0.5", "", "10.0.0.5"),
        ("10.0.0.5", "unknown", "10.0.0.5"),
        ("10.0.0.5", "192.0.2.1, unknown", "10.0.0.5"),
        ("10.0.0.5", "192.0.2.1:4711", "10.0.0.5"),
        ("10.0.0.5", "192.0.2.1, <script>, 10.1.2.3", "10.1.2.3"),
        ("10.0.0.5", ",,,", "10.0.0.5"),
        ("10.0.0.5", "192.0.2.1,", "10.0.0.5"),
        ("10.0.0.5", "999.1.1.1", "10.0.0.5"),
        ("not an address", "192.0.2.1", "not an address"),
        ("", "192.0.2.1", "local socket"),
    ],
)
def test_address_is_the_nearest_that_is_no_proxys(
    behind: Flask, peer: str, forwarded: str | None, address: str
) -> None:
    assert address_of(behind, peer, forwarded) == address


def test_without_proxies_nobody_is_believed(app: Flask) -> None:
    assert address_of(app, "127.0.0.1", "192.0.2.1") == "127.0.0.1"


@pytest.mark.parametrize(
    ("peer", "scheme", "is_believed"),
    [
        ("10.1.9.9", "https", True),
        ("10.1.9.9", "http", False),
        ("10.1.9.9", "nonsense", False),
        ("10.2.0.1", "https", False),
    ],
)
def test_scheme_is_believed_of_proxies_alone(behind: Flask, peer: str, scheme: str, is_believed: bool) -> None:
    with behind.test_request_context(environ_base={"REMOTE_ADDR": peer}, headers={"X-Forwarded-Proto": scheme}):
        assert is_secure() is is_believed


@pytest.mark.parametrize(
    ("peer", "is_one"), [("10.0.0.5", True), ("::ffff:10.0.0.5", True), ("10.0.0.50", False), ("", False), ("x", False)]
)
def test_peer_is_a_proxy_by_its_address(behind: Flask, peer: str, is_one: bool) -> None:
    with behind.test_request_context(environ_base={"REMOTE_ADDR": peer}):
        assert peer_is_trusted() is is_one
