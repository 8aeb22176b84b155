"""Renders every error, once a surface: the JSON envelope under ``/api/``, text for pings, an HTML page elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Flask, Response, g, jsonify, render_template, request
from flask.globals import request_ctx
from flask.typing import ResponseReturnValue
from psycopg.errors import FeatureNotSupported, QueryCanceled
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import NotFound as NotFoundPage

from chm_web.extensions import db
from chm_web.services.exceptions import (
    Conflict,
    FieldIssue,
    Invalid,
    NotFound,
    NotWritable,
    ServiceError,
    Stale,
    Unavailable,
)

log = logging.getLogger(__name__)

API_PREFIX = "/api/"
PING_PREFIX = "/ping/"

CODES = {
    400: "validation_error",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    412: "precondition_failed",
    413: "payload_too_large",
    415: "unsupported_media_type",
    429: "rate_limited",
    500: "internal_error",
    503: "service_unavailable",
}

_STATUS_OF: dict[type[ServiceError], int] = {
    NotFound: 404,
    Conflict: 409,
    Stale: 412,
    Invalid: 400,
    Unavailable: 503,
    NotWritable: 503,
}

_TITLES = {
    400: "This request cannot be understood",
    403: "You may not do this",
    404: "There is no such page",
    405: "This page does not take that",
    409: "This clashes with what is there",
    413: "This is too large",
    500: "Something went wrong on our side",
    503: "CHM cannot answer just now",
}

_INTERNAL = "An unexpected error happened. It has been logged under the request id."
_DATABASE_AWAY = "The database does not answer just now. Nothing was changed; try again in a moment."
_TOO_LONG = "The database took too long for this. Nothing was changed; ask for less, or try again later."
RETRY_AFTER_SECONDS = 5


def init_app(app: Flask) -> None:
    """Handle every error of the app. Comes after the API, whose own handlers would answer JSON for pages too."""
    app.register_error_handler(ServiceError, _on_service_error)
    app.register_error_handler(HTTPException, _on_http_exception)
    app.register_error_handler(OperationalError, _on_database_away)
    app.register_error_handler(DBAPIError, _on_database_error)
    app.register_error_handler(PoolTimeout, _on_database_away)
    app.register_error_handler(Exception, _on_unexpected)


def _on_service_error(err: ServiceError) -> Response:
    return render_error(_STATUS_OF[type(err)], err.message, err.details)


def _on_http_exception(err: HTTPException) -> ResponseReturnValue:
    if err.response is not None or err.code is None or err.code < 400:
        # A ready-made response (a redirect to a canonical URL) is no error.
        return err.get_response(request.environ)
    status = err.code if err.code in CODES else (400 if err.code < 500 else 500)
    messages = getattr(err, "data", {}).get("messages")
    details = tuple(_issues(messages)) if messages else ()
    message = "The request is not valid." if details else (err.description or "")
    if status == 404 and err.description == NotFoundPage.description:
        message = "There is nothing at this address."
    response = render_error(status, message, details)
    for name, value in err.get_headers(request.environ):
        if name in ("Allow", "Retry-After", "WWW-Authenticate"):
            response.headers[name] = value
    return response


def _on_database_away(err: Exception) -> Response:
    took_too_long = isinstance(err, OperationalError) and isinstance(err.orig, QueryCanceled)
    log.warning("the database does not answer%s: %s", " in time" if took_too_long else "", type(err).__name__)
    db.session.rollback()
    return render_error(503, _TOO_LONG if took_too_long else _DATABASE_AWAY)


def _on_database_error(err: DBAPIError) -> Response:
    # A server that is killed in the middle of an answer leaves an error without a code, which is no OperationalError.
    # A statement that was prepared before a migration changed what it gives is prepared anew the next time.
    passes = err.connection_invalidated or (
        isinstance(err.orig, FeatureNotSupported) and "cached plan" in str(err.orig)
    )
    return _on_database_away(err) if passes else _on_unexpected(err)


def _on_unexpected(err: Exception) -> Response:
    log.error("unexpected error, request %s", g.get("request_id"), exc_info=err)
    return render_error(500, _INTERNAL)


def render_error(status: int, message: str, details: Sequence[FieldIssue] = ()) -> Response:
    """Make the response for an error, in the form of the surface that was asked."""
    if request.path.startswith(API_PREFIX):
        issues = [{"field": detail.field, "issue": detail.issue} for detail in details]
        response = jsonify(error={"code": CODES[status], "message": message, "details": issues})
    elif request.path.startswith(PING_PREFIX) or request_ctx.url_adapter is None:
        # Read by people in the mails that cron sends them. And where the host can be none, a page could link nowhere.
        response = Response(f"{message}\n", mimetype="text/plain")
    else:
        page = render_template(
            "errors/error.html",
            code=status,
            title=_TITLES.get(status, "This did not work"),
            message=message,
            request_id=g.get("request_id"),
        )
        response = Response(page, mimetype="text/html")
    response.status_code = status
    if status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def _issues(messages: Any) -> list[FieldIssue]:
    """Flatten marshmallow's nested messages. The outermost level names the place (json, query), not a field."""
    if isinstance(messages, Mapping):
        return [issue for inner in messages.values() for issue in _flatten(inner, "")]
    return _flatten(messages, "")


def _flatten(messages: Any, path: str) -> list[FieldIssue]:
    if isinstance(messages, Mapping):
        found: list[FieldIssue] = []
        for key, inner in messages.items():
            # "_schema" is marshmallow's word for what concerns an object as a whole.
            found += _flatten(inner, path if key == "_schema" else f"{path}.{key}".lstrip("."))
        return found
    texts = messages if isinstance(messages, list) else [messages]
    return [FieldIssue(path or "body", str(text)) for text in texts]
