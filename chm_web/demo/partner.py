"""A small partner: the fleet's run history over HTTP, as the generic partner contract has it.

    python -m chm_web.demo.partner --port 0 --token-env CHM_PARTNER_API_TOKEN [--port-file PATH]

It listens on the loopback interface only, prints its base URL once it does, and stops on SIGTERM or SIGINT.

    GET /pipelines/{external_id}/runs?cursor=&updated_since=&limit=    (Authorization: Bearer <token>)
    GET /healthz
"""

import argparse
import hmac
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from types import FrameType
from urllib.parse import parse_qs, unquote, urlsplit

from chm_web.demo.feed import BadCursorError, Feed
from chm_web.demo.fleet import PIPELINES

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
TOKEN_VARIABLE = "CHM_PARTNER_API_TOKEN"  # noqa: S105 - the variable's name, not a token

_PARAMETERS = {"cursor", "updated_since", "limit"}

log = logging.getLogger(__name__)


def utc_now() -> datetime:
    """Give the time."""
    return datetime.now(UTC)


class RequestError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class PartnerServer(ThreadingHTTPServer):
    """The partner on a loopback port (0: any free one). `clock` gives the time the history is seen at."""

    daemon_threads = True
    # Idle keep-alive connections would hold up closing for as long as their clients like.
    block_on_close = False
    request_queue_size = 64

    def __init__(self, token: str, port: int = 0, clock: Callable[[], datetime] = utc_now) -> None:
        self.clock = clock
        self._token = token.encode()
        self._feeds = {pipeline.external_id: Feed(pipeline) for pipeline in PIPELINES}
        super().__init__(("127.0.0.1", port), _Handler)

    def server_bind(self) -> None:
        """Bind without the name look-up of HTTPServer, which waits for a resolver that may not answer."""
        TCPServer.server_bind(self)

    def handle_error(self, request: object, client_address: object) -> None:
        """Note a connection that broke; clients may go away whenever they like."""
        log.debug("connection from %s broke", client_address, exc_info=True)

    @property
    def base_url(self) -> str:
        """The address to ask, without a trailing slash."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def accepts(self, authorization: str) -> bool:
        """Tell whether an Authorization header carries the token, in a time that tells nothing about it."""
        scheme, _, credentials = authorization.partition(" ")
        # http.server decodes headers as Latin-1; this gives back the bytes that were sent.
        given = credentials.strip().encode("latin-1", "replace")
        return hmac.compare_digest(given, self._token) and scheme.lower() == "bearer"

    def runs_page(self, external_id: str, query: str) -> bytes:
        """Answer a request for one page of runs; raises RequestError."""
        feed = self._feeds.get(external_id)
        if feed is None:
            raise RequestError(HTTPStatus.NOT_FOUND, "not_found", "no such pipeline")
        parameters = _parameters(query)
        cursor = parameters.get("cursor") or None
        since, limit = parameters.get("updated_since"), parameters.get("limit")
        try:
            page = feed.page(
                now=self.clock(),
                cursor=cursor,
                updated_since=_time(since) if since else None,
                limit=_limit(limit) if limit else DEFAULT_LIMIT,
            )
        except BadCursorError as error:
            raise _bad("cursor was not given out by this API") from error
        return b'{"runs":[%b],"next_cursor":%b}' % (
            b",".join(page.runs),
            json.dumps(page.next_cursor).encode(),
        )


class _Handler(BaseHTTPRequestHandler):
    server: PartnerServer
    protocol_version = "HTTP/1.1"
    timeout = 120.0
    # Head and body leave in one write at once; without the two, delayed acknowledgements cost 40 ms a page.
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        try:
            status, body = HTTPStatus.OK, self._answer()
        except RequestError as error:
            status, body = error.status, _error_body(error.code, error.message)
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            # A body nobody reads would be taken for the next request.
            self.close_connection = True
        self._send(status, body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what http.server itself refuses (methods, malformed requests), as JSON too."""
        self.close_connection = True
        status = HTTPStatus(code)
        if status is HTTPStatus.NOT_IMPLEMENTED:
            status = HTTPStatus.METHOD_NOT_ALLOWED
        self._send(status, _error_body(status.name.lower(), message or status.phrase))

    def version_string(self) -> str:
        """Name the server without Python's version."""
        return "partner"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        log.debug("%s %s", self.address_string(), format % args)

    def _answer(self) -> bytes:
        try:
            url = urlsplit(self.path)
        except ValueError as error:
            raise _bad("the address cannot be read") from error
        if url.path == "/healthz":
            return b'{"status":"ok"}'
        if not self.server.accepts(self.headers.get("Authorization", "")):
            raise RequestError(HTTPStatus.UNAUTHORIZED, "unauthorized", "a valid bearer token is required")
        match url.path.split("/"):
            case ["", "pipelines", external_id, "runs"]:
                try:
                    decoded = unquote(external_id, errors="strict")
                except UnicodeDecodeError as error:
                    raise _bad("the pipeline's id is not UTF-8") from error
                return self.server.runs_page(decoded, url.query)
        raise RequestError(HTTPStatus.NOT_FOUND, "not_found", "no such path")

    def _send(self, status: HTTPStatus, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; gives the process's exit code."""
    options = _options(arguments)
    token = os.environ.get(options.token_env, "")
    if not token:
        print(f"partner: {options.token_env} is not set", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.DEBUG if options.verbose else logging.INFO)
    stop = threading.Event()

    def ask_to_stop(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    with PartnerServer(token, options.port) as server:
        # In a thread of its own: shutdown() waits for the loop to end, and would wait for itself.
        threading.Thread(target=partial(server.serve_forever, poll_interval=0.1), daemon=True).start()
        if options.port_file is not None:
            _write_port(options.port_file, server.server_address[1])
        print(server.base_url, flush=True)
        stop.wait()
        server.shutdown()
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="partner", description="Serve the demo fleet's runs over HTTP.")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--token-env", default=TOKEN_VARIABLE, help="environment variable with the token")
    parser.add_argument("--port-file", type=Path, help="file to write the port to")
    parser.add_argument("--verbose", action="store_true", help="log every request")
    return parser.parse_args(arguments)


def _write_port(path: Path, port: int) -> None:
    # Written aside and renamed, so that whoever waits for the file never reads half of it.
    draft = path.with_name(path.name + ".new")
    draft.write_text(f"{port}\n", encoding="ascii")
    draft.replace(path)


def _parameters(query: str) -> dict[str, str]:
    try:
        given = parse_qs(query, keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError as error:
        raise _bad("the query string cannot be read") from error
    for name, values in given.items():
        if name not in _PARAMETERS:
            raise _bad(f"unknown parameter {name!r}")
        if len(values) > 1:
            raise _bad(f"{name} is given more than once")
    return {name: values[0] for name, values in given.items()}


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise _bad("updated_since must be a time in ISO 8601") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= MAX_LIMIT):
        raise _bad(f"limit must be a whole number from 1 to {MAX_LIMIT}")
    return int(text)


def _bad(message: str) -> RequestError:
    return RequestError(HTTPStatus.BAD_REQUEST, "bad_request", message)


def _error_body(code: str, message: str) -> bytes:
    return json.dumps({"error": {"code": code, "message": message}}).encode()


if __name__ == "__main__":
    sys.exit(main())
