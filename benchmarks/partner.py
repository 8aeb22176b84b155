"""A partner that costs next to nothing: its pages are made once, kept as bytes, and written out as they are.

    python -m benchmarks.partner --pipelines 40 --pages 10 --page-size 500 --port-file PATH

The pipelines' external ids are ``bench-0000`` and so on. Every request is a full read: ``updated_since`` is not
looked at, so that asking again replays everything. With ``--page-every SECONDS`` each pipeline has one page at first
and one more every so many seconds.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from benchmarks.environment import BENCH_MARK
from benchmarks.samples import as_json, make_record


def external_id(number: int) -> str:
    """How the partner calls its pipelines."""
    return f"{BENCH_MARK}{number:04}"


def make_pages(*, pipelines: int, pages: int, page_size: int) -> dict[tuple[str, int], bytes]:
    """Make all pages of all pipelines, by external id and number of the page."""
    chance = random.Random("partner")
    now = datetime.now(UTC).replace(microsecond=0)
    made = {}
    for pipeline in range(pipelines):
        name = external_id(pipeline)
        for page in range(pages):
            runs = []
            for number in range(page * page_size, (page + 1) * page_size):
                started = now - timedelta(minutes=5 * (pages * page_size - number) + 60)
                runs.append(as_json(make_record(UUID(int=0), f"{name}-{number:07}", started, chance)))
            cursor = str(page + 1) if page + 1 < pages else None
            made[name, page] = json.dumps({"runs": runs, "next_cursor": cursor}, separators=(",", ":")).encode()
    return made


def as_last(body: bytes) -> bytes:
    """Give a page as it is while no other one follows it."""
    return body[: body.rindex(b',"next_cursor":')] + b',"next_cursor":null}'


class _Handler(BaseHTTPRequestHandler):
    pages: dict[tuple[str, int], bytes]
    page_every: float | None
    started: float
    protocol_version = "HTTP/1.1"
    # Head and body leave in one write at once; without the two, delayed acknowledgements cost 40 ms a page.
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Give the page that path and cursor name."""
        url = urlsplit(self.path)
        page = int(parse_qs(url.query).get("cursor", ["0"])[0])
        body = self.pages.get((url.path.split("/")[2], page))
        if body and self.page_every and page >= (time.monotonic() - self.started) // self.page_every:
            body = as_last(body)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing: a line a request would be measured too."""


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.partner")
    for name in ("--pipelines", "--pages", "--page-size"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--page-every", type=float)
    parser.add_argument("--port-file", type=Path, required=True)
    options = parser.parse_args()
    _Handler.pages = make_pages(pipelines=options.pipelines, pages=options.pages, page_size=options.page_size)
    _Handler.page_every, _Handler.started = options.page_every, time.monotonic()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        # Written aside and renamed, so that whoever waits for the file never reads half of it.
        draft = options.port_file.with_suffix(".new")
        draft.write_text(str(server.server_address[1]), encoding="ascii")
        draft.replace(options.port_file)
        server.serve_forever()


if __name__ == "__main__":
    main()
