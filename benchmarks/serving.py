"""What the benchmarks' own servers have in common: answers that leave at once, and a port that a file tells."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """Answers JSON without costing the reader anything."""

    protocol_version = "HTTP/1.1"
    # Head and body leave in one write at once; without the two, delayed acknowledgements cost 40 ms a page.
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    def answer(self, body: bytes, status: int = 200) -> None:
        """Send this JSON."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing: a line a request would be measured too."""


def serve(handler: type[Handler], port_file: Path) -> None:
    """Serve on a free port of the loopback interface until killed, and write the port to a file."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        write_port(port_file, server.server_address[1])
        server.serve_forever()


def write_port(path: Path, port: int) -> None:
    """Write aside and rename, so that whoever waits for the file never reads half of it."""
    draft = path.with_suffix(".new")
    draft.write_text(str(port), encoding="ascii")
    draft.replace(path)
