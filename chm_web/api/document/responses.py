"""The answers that any operation may give, and the headers of answers."""

from __future__ import annotations

from typing import Any

from chm_web.errors import CODES, RETRY_AFTER_SECONDS

JSON = "application/json"
EXAMPLE_ETAG = '"9f2c6e1b7d3a4c5e8f0a1b2c3d4e5f60"'


def _header(description: str, example: Any, *, kind: str = "string", **schema: Any) -> dict[str, Any]:
    return {"description": description, "required": True, "schema": {"type": kind, **schema}, "example": example}


HEADERS = {
    "X-Request-ID": _header(
        "The id of the request: its own if that was well-formed, else a new one.",
        "01932f5e-7c3a-7b1d-9a41-3f6c2d8e5b70",
        minLength=8,
        maxLength=64,
    ),
    "ETag": _header("The version of what is shown, for If-Match and If-None-Match.", EXAMPLE_ETAG),
    "Location": _header(
        "The address of what was made.", "/api/v1/clients/01932f5e-1f70-7c54-8d43-9b2a6c1e7f05", format="uri-reference"
    ),
    "Retry-After": _header(
        "In how many seconds to try again.", RETRY_AFTER_SECONDS, kind="integer", minimum=0, format="int32"
    ),
    "WWW-Authenticate": _header("How to identify oneself: with a Bearer token.", "Bearer"),
}


def header(name: str) -> dict[str, str]:
    """Refer to one of the headers above."""
    return {"$ref": f"#/components/headers/{name}"}


_FURTHER_HEADERS = {401: ["WWW-Authenticate"], 429: ["Retry-After"], 503: ["Retry-After"]}


def refusal(
    status: int, description: str, *, message: str | None = None, field: str = "", issue: str = ""
) -> dict[str, Any]:
    """Describe an error: the envelope with an example of it. ``message`` is the example's, if not the description."""
    details = [{"field": field, "issue": issue}] if field else []
    body = {"code": CODES[status], "message": message or description, "details": details}
    return {
        "description": description,
        "headers": {name: header(name) for name in ["X-Request-ID", *_FURTHER_HEADERS.get(status, [])]},
        "content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}, "example": {"error": body}}},
    }


_EVERYWHERE = {
    400: "ValidationError",
    401: "Unauthorized",
    403: "Forbidden",
    500: "InternalError",
    503: "ServiceUnavailable",
}

COMMON = {
    "ValidationError": refusal(
        400,
        "The request is not valid: `details` names the fields or parameters that are wrong.",
        message="The request is not valid.",
        field="limit",
        issue="Must be 1,000 or less.",
    ),
    "Unauthorized": refusal(401, "The request bears no token, or none that is valid."),
    "Forbidden": refusal(403, "The token has not the scope that this needs, or another site's page has sent this."),
    "PayloadTooLarge": refusal(413, "The body is larger than the server takes."),
    "UnsupportedMediaType": refusal(
        415, "The body is not sent as application/json.", message="Send the body as application/json."
    ),
    "RateLimited": refusal(429, "The token has made too many requests. Try again later."),
    "InternalError": refusal(500, "An unexpected error happened. It has been logged under the request id."),
    "ServiceUnavailable": refusal(
        503,
        "The database or the job queue does not answer just now. Nothing was changed; try again in a moment.",
        message="The database does not answer just now. Nothing was changed; try again in a moment.",
    ),
}
"""Answers that are the same wherever they are given."""


def common_answers(*, method: str, has_body: bool, is_limited: bool) -> dict[str, dict[str, str]]:
    """Refer to the common answers that an operation may give, by status.

    A foreign body is refused wherever the method could have one, but only a body that is read can be too large.
    """
    names = dict(_EVERYWHERE)
    if has_body:
        names[413] = "PayloadTooLarge"
    if method != "get":
        names[415] = "UnsupportedMediaType"
    if is_limited:
        names[429] = "RateLimited"
    return {str(status): {"$ref": f"#/components/responses/{name}"} for status, name in sorted(names.items())}
