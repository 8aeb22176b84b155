"""How long requests take, for ``/metrics``: by route, method and class of status, not by address, which holds names."""

from __future__ import annotations

import time
from typing import Any

from flask import Flask, Response, request, request_started
from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics

# When a process began to count says nothing of the others that count in the same place.
disable_created_metrics()  # type: ignore[no-untyped-call]

IN_MEMORY = CollectorRegistry()
"""Tells this process's own requests, where processes do not count in one place."""

REQUESTS = Histogram(
    "chm_http_request_duration_seconds",
    "How long requests took to be answered.",
    ["route", "method", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=IN_MEMORY,
)
_STARTED = "chm.request_started"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def init_app(app: Flask) -> None:
    """Time every request of ``app``, those included that are refused at the door."""
    request_started.connect(_start, app)
    app.after_request(_tell)


def _start(sender: Flask, **_: Any) -> None:
    request.environ[_STARTED] = time.perf_counter()


def _tell(response: Response) -> Response:
    # What a stranger makes up must not become a series of its own.
    route = request.url_rule.rule if request.url_rule else "(none)"
    method = request.method if request.method in _METHODS else "(other)"
    started = request.environ.get(_STARTED)
    if started is None:
        # It broke off before it began.
        return response
    seconds = time.perf_counter() - started
    REQUESTS.labels(route, method, f"{response.status_code // 100}xx").observe(seconds)
    return response
