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
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from benchmarks.environment import BENCH_MARK
from benchmarks.samples import as_json, make_record
from benchmarks.serving import Handler, serve


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


class _Handler(Handler):
    pages: dict[tuple[str, int], bytes]
    page_every: float | None
    started: float

    def do_GET(self) -> None:  # noqa: N802 - the base class's name
        """Give the page that path and cursor name."""
        url = urlsplit(self.path)
        page = int(parse_qs(url.query).get("cursor", ["0"])[0])
        body = self.pages.get((url.path.split("/")[2], page))
        if body and self.page_every and page >= (time.monotonic() - self.started) // self.page_every:
            body = as_last(body)
        self.answer(body or b"", 404 if body is None else 200)


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
    serve(_Handler, options.port_file)


if __name__ == "__main__":
    main()
