"""What the document says of the API as a whole."""

from __future__ import annotations

from typing import Any

_DESCRIPTION = """\
One inventory of clients and their data pipelines, the runs of all of them, and what is failing now.

**Bodies** are JSON, sent as `application/json` and nothing else. Unknown fields and unknown query parameters are
refused. A PATCH changes the fields that are sent.

**Lists** answer `{"items": [...], "next_cursor": ...}`. While `next_cursor` is not null, ask again with the same
filters and `cursor` set to it. Pages stay in step while things are added: nothing is shown twice or left out.

**Errors** answer `{"error": {"code", "message", "details"}}` with one of the codes validation_error (400),
unauthorized (401), forbidden (403), not_found (404), method_not_allowed (405), conflict (409),
precondition_failed (412), payload_too_large (413), unsupported_media_type (415), rate_limited (429),
internal_error (500) and service_unavailable (503). `details` names the fields that are wrong. An address that does not
exist answers 404, a method that it does not take 405 with `Allow`, both in the same form.

**Times** are RFC 3339 and end in `Z`. One that comes in without a zone is UTC; it must lie between 1970 and 2199. The
event time of a run is when it ended, else when it started, else when it was recorded; `since` and `until` are about it.

**Versions**: a single client, pipeline, run or alert rule bears an `ETag`. Send it as `If-None-Match` with a GET to be
told 304 while nothing has changed, and as `If-Match` with a PATCH to be refused with 412 when somebody else was faster.

**Health** of a pipeline: `failing` when its newest run that succeeded or failed has failed (canceled and skipped runs
neither fail nor heal it); else `late` when a success has been due for longer than a quarter of its expected interval;
else `running` when nothing has finished yet and something runs; else `healthy`; `no_data` when nothing is known.

**Access**: each request bears a token as `Authorization: Bearer <token>`. A token has one scope: `read` (every GET),
`write` (everything) or `ingest` (reporting runs, and no more). 401 without a valid one, 403 where its scope does not
reach.

**Rate limit**: 1,200 requests a minute for each token unless configured otherwise. Beyond it the answer is 429;
`Retry-After` says in how many seconds to try again. It does so with a 503 too, which can be tried again as it is.

**Request ids**: every response bears `X-Request-ID`, under which it is logged. It is the request's own when that had
one of 8 to 64 letters, digits, dots, dashes and underscores.
"""

INFO: dict[str, Any] = {
    "title": "CHM",
    "version": "1.0.0",
    "description": _DESCRIPTION,
    "license": {"name": "MIT", "url": "https://opensource.org/license/mit"},
}

SERVERS = [{"url": "/api/v1", "description": "The server that this document comes from."}]

SECURITY_SCHEMES = {
    "bearerAuth": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token that `chm tokens create` has made, with the scope read, write or ingest.",
    }
}
