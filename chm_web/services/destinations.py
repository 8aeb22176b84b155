"""Where messages may go: to no address inside our own network, however it is written. Nothing is looked up here."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit

from ssrfguard import BlockedAddressError, BlockedURLError, Policy, resolve

_LOCAL_NAME = "localhost"


def address_issue(url: str, *, policy: Policy) -> str | None:
    """Give why nothing may be sent to ``url`` as far as it tells itself; None where only its name's addresses can tell.

    Args:
        url: what a user typed.
        policy: which ports, and which networks beside the public ones, may be called.
    """
    port = _port(url)
    if port is not None and port not in policy.allowed_ports:
        ports = ", ".join(str(allowed) for allowed in sorted(policy.allowed_ports))
        return f"Nothing is sent to port {port}, only to these: {ports}."
    try:
        target = policy.check_url(url)
        if _is_local_name(target.host):
            return "Nothing is sent to this machine itself."
        # 0x7f.1 is a name by its letters, but every resolver takes it for 127.0.0.1.
        resolve(target, policy=policy, resolver=_read_number)
    except BlockedAddressError as err:
        return _inside(err)
    except BlockedURLError as err:
        cause = err.__cause__
        return _inside(cause) if isinstance(cause, BlockedAddressError) else f"Nothing can be sent there: {err.reason}."
    except OSError:
        return None
    return None


def _inside(err: BlockedAddressError) -> str:
    return f"Nothing is sent to addresses that are not public: {err.reason}."


def _port(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        return None


def _is_local_name(host: str) -> bool:
    name = host.rstrip(".")
    return name == _LOCAL_NAME or name.endswith(f".{_LOCAL_NAME}")


def _read_number(host: str, port: int, *_: Any) -> list[Any]:
    """Read an address in any of the forms that the resolver knows, asking nobody."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
