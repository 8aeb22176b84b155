"""Calls to addresses that users typed: to nothing inside our own network, whatever their names lead to.

A name is looked up once a connection, every address that it has is judged, and one of those is connected to: there is
no second look that could be answered otherwise. Proxies of the environment are not used, since they would look the
name up themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import requests
from ssrfguard import Policy, Resolver, SSRFGuardError
from ssrfguard.requests import SafeAdapter

from chm_web.services.destinations import address_issue

MAX_REDIRECTS = 3
# The others would turn a POST into a GET without its body.
_REDIRECTS_TO_FOLLOW = frozenset({307, 308})


class NotDelivered(Exception):
    """Nothing arrived. The message is for people and names the host alone: whoever has an address may post there."""


class NotAllowed(NotDelivered):
    """The address must not be called: another try is of no use."""


class Outgoing:
    """Sends messages to addresses that users typed. Use it as a context manager: it holds connections open."""

    def __init__(
        self, *, policy: Policy, connect_timeout: float, read_timeout: float, resolver: Resolver | None = None
    ) -> None:
        """Prepare to send.

        Args:
            policy: which ports, and which networks beside the public ones, may be called.
            connect_timeout: seconds that each of a name's addresses has to accept a connection.
            read_timeout: seconds between two signs of life of an answer.
            resolver: asked in place of ``socket.getaddrinfo``; its answers are judged all the same.
        """
        self._policy = policy
        self._timeouts = (connect_timeout, read_timeout)
        # An adapter without a session around it: no proxies, no .netrc, no cookies, and no redirect whose body is read.
        self._adapter = SafeAdapter(policy=policy, resolver=resolver)

    def __enter__(self) -> Self:
        """Give the sender itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        """Close the connections."""
        self._adapter.close()

    def post_json(self, url: str, body: Mapping[str, Any]) -> int:
        """POST ``body`` and give the status of the answer, whose own body is not read.

        A redirect that keeps the method is followed, at most three times, each target judged like the first address.

        Raises:
            NotAllowed: the address, or where it leads, must not be called.
            NotDelivered: nobody answered.
        """
        for _ in range(1 + MAX_REDIRECTS):
            status, location = self._post_once(url, body)
            if not 300 <= status < 400:
                return status
            url = self._followed(url, status, location)
        raise NotAllowed(f"{_host(url)} redirects more than {MAX_REDIRECTS} times.")

    def _post_once(self, url: str, body: Mapping[str, Any]) -> tuple[int, str]:
        host = _host(url)
        if issue := address_issue(url, policy=self._policy):
            raise NotAllowed(f"{host}: {issue}")
        try:
            request = requests.Request("POST", url, json=body, headers={"User-Agent": "chm"}).prepare()
            answer = self._adapter.send(request, stream=True, timeout=self._timeouts)
        # Without what they came from, which tells the whole address wherever it is logged.
        except SSRFGuardError:
            raise NotAllowed(f"{host} leads to an address that is not public. Nothing is sent there.") from None
        except requests.exceptions.Timeout:
            raise NotDelivered(f"{host} did not answer in time.") from None
        except requests.exceptions.SSLError:
            raise NotDelivered(f"No trusted TLS connection to {host}.") from None
        except requests.exceptions.RequestException:
            raise NotDelivered(f"No connection to {host}.") from None
        with answer:
            return answer.status_code, answer.headers.get("Location", "")

    def _followed(self, url: str, status: int, location: str) -> str:
        """Give the address to which an answer redirects, if it may be followed."""
        host = _host(url)
        if status not in _REDIRECTS_TO_FOLLOW or not location:
            raise NotAllowed(f"{host} redirects elsewhere ({status}). Put the final address into the rule.")
        try:
            target = urljoin(url, location)
            loses_tls = urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https"
        except ValueError:
            raise NotAllowed(f"{host} redirects to what is no address.") from None
        if loses_tls:
            raise NotAllowed(f"{host} redirects from https to an address without it.")
        return target


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or "The address"
    except ValueError:
        return "The address"
