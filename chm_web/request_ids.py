"""Every request has an id: taken from ``X-Request-ID`` when it is well-formed, else made. Every response bears it."""

from __future__ import annotations

import re

from flask import Flask, Response, g, request
from uuid_utils.compat import uuid7

HEADER = "X-Request-ID"
_WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{8,64}")


def init_app(app: Flask) -> None:
    """Give each request its id and send it back."""
    app.before_request(current_request_id)
    app.after_request(_send)


def current_request_id() -> None:
    """Settle the id of the request at hand, as ``g.request_id``."""
    given = request.headers.get(HEADER, "")
    g.request_id = given if _WELL_FORMED.fullmatch(given) else str(uuid7())


def _send(response: Response) -> Response:
    # A request that was refused before any of our code ran (a wrong Host) has none yet.
    response.headers[HEADER] = g.get("request_id") or str(uuid7())
    return response
