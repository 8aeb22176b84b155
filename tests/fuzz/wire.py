"""Requests as bytes on a connection to gunicorn: headers that no library would send, lengths that are wrong."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from werkzeug.datastructures import Headers
from werkzeug.test import Client, EnvironBuilder

from tests.fuzz.answers import Answer

Lines = tuple[tuple[bytes, bytes], ...]
_PATIENCE_SECONDS = 30
_SINGLE = {b"host", b"cookie", b"content-type", b"content-length", b"authorization"}


@dataclass(frozen=True)
class Request:
    """A request: its first line in parts, its headers as bytes, and what follows them."""

    method: str
    target: str
    headers: Lines = ()
    body: bytes = b""

    def altered(self, headers: Lines) -> Request:
        """The same with other headers: of those that are there once at most, these count."""
        names = {name.lower() for name, _ in headers} & _SINGLE
        kept = tuple(pair for pair in self.headers if pair[0].lower() not in names)
        return Request(self.method, self.target, (*kept, *headers), self.body)

    def to_bytes(self) -> bytes:
        """What goes over the connection. A host and a length are told where the headers do not."""
        names = {name.lower() for name, _ in self.headers}
        lines = [f"{self.method} {self.target} HTTP/1.1".encode("latin-1")]
        if b"host" not in names:
            lines.append(b"Host: localhost")
        if self.body and not names & {b"content-length", b"transfer-encoding"}:
            lines.append(b"Content-Length: " + str(len(self.body)).encode())
        lines += [name + b": " + value for name, value in self.headers]
        return b"\r\n".join([*lines, b"Connection: close", b"", self.body])


def exchange(port: int, request: Request) -> Answer | None:
    """Send a request to a server of this machine; None where it hangs up without an answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_SECONDS) as connection:
        try:
            connection.sendall(request.to_bytes())
            # Whoever waits for more of a body learns that none will come.
            connection.shutdown(socket.SHUT_WR)
            response = http.client.HTTPResponse(connection, method=request.method)
            response.begin()
            return Answer(response.status, Headers(response.getheaders()), response.read())
        except (http.client.HTTPException, ConnectionError):
            return None


class _Watched(dict[str, Any]):
    """The environ of a request, which notes what of it is read."""

    def __init__(self, environ: dict[str, Any], read: set[str]) -> None:
        super().__init__(environ)
        self._read = read

    def __getitem__(self, key: str) -> Any:
        self._read.add(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self._read.add(str(key))
        return super().__contains__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._read.add(key)
        return super().get(key, default)


def headers_read(app: Any, requests: Iterable[Request]) -> set[str]:
    """The headers that a WSGI app reads for an answer to any of the requests, whether they were sent or not."""
    read: set[str] = set()
    for request in requests:
        _call(app, lambda environ: _Watched(environ, read), request)
    names = {key.removeprefix("HTTP_") for key in read if key.startswith("HTTP_")}
    names |= read & {"CONTENT_TYPE", "CONTENT_LENGTH"}
    return {name.replace("_", "-").title() for name in names}


def _call(app: Any, watch: Callable[[dict[str, Any]], dict[str, Any]], request: Request) -> None:
    path, _, query = request.target.partition("?")
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]
    builder = EnvironBuilder(path=path, query_string=query, method=request.method, headers=headers, data=request.body)
    Client(lambda environ, start: app(watch(environ), start), use_cookies=False).open(builder)
