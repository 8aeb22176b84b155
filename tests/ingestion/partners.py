"""Partners for tests: a real HTTP server that answers what it is told, and a raw one for what no proper server does."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from chm_web.config import Config
from chm_web.extensions import db
from chm_web.ingestion.job import Position, ingest_pipelines, open_client
from chm_web.ingestion.progress import Counts, RejectedRun, UnreadPipeline
from chm_web.ingestion.sources import Source
from chm_web.models import Pipeline, Platform, Run
from chm_web.services.pipelines import IngestTarget

TOKEN = "partner-token-0123456789"

FAST = Config(
    database_url="postgresql+psycopg://unused",
    redis_url="redis://unused",
    secret_key="x" * 32,
    http_connect_timeout_seconds=0.5,
    http_timeout_seconds=0.5,
    http_max_retries=2,
    http_backoff_seconds=0.01,
    http_max_response_bytes=8_000_000,
)


@dataclass
class Account:
    """A reporter and watermarks in memory."""

    counts: Counts = field(default_factory=Counts)
    rejected: list[RejectedRun] = field(default_factory=list)
    not_read: list[UnreadPipeline] = field(default_factory=list)
    done: list[UUID] = field(default_factory=list)
    visits: bool = False
    marks: dict[UUID, datetime] = field(default_factory=dict)
    positions: dict[UUID, Position] = field(default_factory=dict)
    deep: dict[UUID, datetime] = field(default_factory=dict)

    def page(self, counts: Counts, rejected: Sequence[RejectedRun]) -> None:
        """Add a page."""
        self.counts += counts
        self.rejected += rejected

    def pipeline_done(self, pipeline_id: UUID) -> None:
        """Count a pipeline."""
        self.done.append(pipeline_id)

    def unread(self, pipeline: UnreadPipeline) -> None:
        """Note a pipeline that could not be read."""
        self.not_read.append(pipeline)

    def is_done(self, pipeline_id: UUID) -> bool:
        """Whether a pipeline was counted."""
        return self.visits and pipeline_id in self.done

    def get(self, pipeline_id: UUID) -> datetime | None:
        """Give a watermark."""
        return self.marks.get(pipeline_id)

    def set(self, pipeline_id: UUID, moment: datetime) -> None:
        """Keep a watermark."""
        self.marks[pipeline_id] = moment
        self.positions.pop(pipeline_id, None)

    def position(self, pipeline_id: UUID) -> Position | None:
        """Give a position."""
        return self.positions.get(pipeline_id)

    def deep_at(self, pipeline_id: UUID) -> datetime | None:
        """Give when it was read further back."""
        return self.deep.get(pipeline_id)

    def set_deep(self, pipeline_id: UUID, moment: datetime) -> None:
        """Keep when that was."""
        self.deep[pipeline_id] = moment

    def keep_position(self, pipeline_id: UUID, position: Position | None) -> None:
        """Keep or forget a position."""
        if position is None:
            self.positions.pop(pipeline_id, None)
        else:
            self.positions[pipeline_id] = position


def source_at(base_url: str, page_size: int = 100) -> Source:
    """A partner source at an address."""
    return Source(name="partner", base_url=base_url, token=TOKEN, platforms=(Platform.VENDOR_API,), page_size=page_size)


def ingest(base_url: str, *pipelines: Pipeline, account: Account | None = None, config: Config = FAST) -> Account:
    """Read pipelines from the partner at ``base_url``."""
    account = account or Account()
    source = source_at(base_url)
    targets = [IngestTarget(pipeline.id, str(pipeline.external_id)) for pipeline in pipelines]
    with open_client(source, config) as client:
        ingest_pipelines(source=source, client=client, targets=targets, reporter=account, watermarks=account)
    return account


def page(*runs: Any, cursor: Any = None) -> dict[str, Any]:
    """A page of the contract."""
    return {"runs": list(runs), "next_cursor": cursor}


def run(number: int, **values: Any) -> dict[str, Any]:
    """A run of the contract."""
    return {
        "external_run_id": f"run-{number}",
        "status": "success",
        "started_at": f"2026-10-01T00:{number % 60:02}:00Z",
        "finished_at": f"2026-10-01T01:{number % 60:02}:00Z",
        **values,
    }


def base_url(server: HTTPServer) -> str:
    """A server's address without a trailing slash."""
    return server.url_for("").rstrip("/")


@contextmanager
def raw_server(*answers: bytes, hold: float = 0.0, trickle: float = 0.0) -> Iterator[str]:
    """A server that reads a request, sends these bytes one connection after the other, and hangs up.

    The last answer is repeated. With ``hold`` it waits that many seconds before it hangs up; with ``trickle`` it goes
    on with a space every so many seconds until the other side hangs up.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def serve() -> None:
        number = 0
        while not stopped.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(answers[min(number, len(answers) - 1)])
                number += 1
                time.sleep(hold)
                while trickle and not stopped.wait(trickle):
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        break

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stopped.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def stored() -> int:
    """How many runs are in the database."""
    return db.session.scalar(sa.select(sa.func.count()).select_from(Run)) or 0


def answers(server: HTTPServer, *responses: Any, path: str = "/pipelines/p/runs") -> list[Request]:
    """Let the server give these answers, one a request, the last one for ever. Gives the requests as they come.

    An answer is a page (a dict), a status with headers (a tuple), or a Response.
    """
    seen: list[Request] = []

    def handle(request: Request) -> Response:
        answer = responses[min(len(seen), len(responses) - 1)]
        seen.append(request)
        if isinstance(answer, Response):
            return answer
        if isinstance(answer, tuple):
            status, headers = answer
            return Response("please wait", status=status, headers=headers)
        return Response(json.dumps(answer), content_type="application/json")

    server.expect_request(path).respond_with_handler(handle)
    return seen
