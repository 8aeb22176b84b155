"""What a page has cost: its time on the server and its queries, in ``Server-Timing``, when somebody looks for it.

Browsers show the header among a request's timings. It tells how much there is of something, so it is not for everyone:
only an app that is debugged (``flask --debug``, or ``app.debug``) sends it.
"""

from __future__ import annotations

import time
from typing import Any

from flask import Flask, Response, current_app, g, has_app_context
from sqlalchemy import event
from sqlalchemy.engine import Engine

_STARTED = "timing_started"
_SPENT = "timing_queries"


def init_app(app: Flask) -> None:
    """Time each request of ``app`` while it is debugged."""
    app.before_request(_start)
    app.after_request(_tell)


def _start() -> None:
    if current_app.debug:
        g.timing_started = time.perf_counter()
        g.timing_queries = []


def _tell(response: Response) -> Response:
    started, spent = g.get(_STARTED), g.get(_SPENT)
    if started is not None and spent is not None:
        total = (time.perf_counter() - started) * 1000
        queries = f'db;dur={sum(spent) * 1000:.1f};desc="{len(spent)} queries"'
        response.headers["Server-Timing"] = f"total;dur={total:.1f}, {queries}"
    return response


@event.listens_for(Engine, "before_cursor_execute")
def _before(*arguments: Any) -> None:
    if has_app_context() and _SPENT in g:
        g.timing_query_started = time.perf_counter()


@event.listens_for(Engine, "after_cursor_execute")
def _after(*arguments: Any) -> None:
    if has_app_context() and "timing_query_started" in g:
        g.timing_queries.append(time.perf_counter() - g.pop("timing_query_started"))
