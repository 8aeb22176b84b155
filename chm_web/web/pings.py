"""``/ping/<key>``: how a cron job reports its runs, with nothing but curl. Open to whoever has a pipeline's key.

As healthchecks.io does it: ``/start`` begins a run, the bare address ends it well, ``/fail`` or an exit status other
than 0 ends it badly. GET, HEAD and POST alike; what is POSTed is the job's output.
"""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Flask, Response, abort, current_app, request
from limits import RateLimitItemPerMinute
from werkzeug.exceptions import TooManyRequests

from chm_web.access.limits import Counter
from chm_web.access.permissions import Permission
from chm_web.access.ping_keys import pipeline_of
from chm_web.config import Config
from chm_web.extensions import csrf
from chm_web.services.pings import Ping, record_ping
from chm_web.web.blueprints import PageBlueprint

blueprint = PageBlueprint("pings", __name__, url_prefix="/ping")

MAX_LOG_BYTES = 100_000
_MAX_READ_BYTES = 64 * 1024 * 1024
_LIMIT = RateLimitItemPerMinute(60)
_EXTENSION = "chm_pings"
_METHODS = ["GET", "POST"]
_MAX_EXIT_STATUS = 255


def init_app(app: Flask) -> None:
    """Prepare the limit, and let programs in that hold a key and no session."""
    config: Config = app.config["CHM"]
    app.extensions[_EXTENSION] = Counter(config.redis_url)
    csrf.exempt(blueprint)


@blueprint.route("/<key>", methods=_METHODS, allow=Permission.PUBLIC)
def success(key: str) -> Response:
    """Report that a run has ended well. Open to whoever has the key."""
    return _take(key, Ping.SUCCESS)


@blueprint.route("/<key>/start", methods=_METHODS, allow=Permission.PUBLIC)
def start(key: str) -> Response:
    """Report that a run has begun. Open to whoever has the key."""
    return _take(key, Ping.START)


@blueprint.route("/<key>/fail", methods=_METHODS, allow=Permission.PUBLIC)
def fail(key: str) -> Response:
    """Report that a run has failed. Open to whoever has the key."""
    return _take(key, Ping.FAIL)


@blueprint.route("/<key>/<int:exit_status>", methods=_METHODS, allow=Permission.PUBLIC)
def ended(key: str, exit_status: int) -> Response:
    """Report that a run has ended with an exit status: 0 is a success. Open to whoever has the key."""
    if exit_status > _MAX_EXIT_STATUS:
        abort(400, f"An exit status is a number from 0 to {_MAX_EXIT_STATUS}.")
    if exit_status == 0:
        return _take(key, Ping.SUCCESS)
    return _take(key, Ping.FAIL, reason=f"exit status {exit_status}")


def _take(key: str, ping: Ping, reason: str | None = None) -> Response:
    pipeline_id = pipeline_of(key)
    if pipeline_id is None:
        abort(404, "This is no pipeline's key. Copy the address anew from the pipeline's page.")
    counter: Counter = current_app.extensions[_EXTENSION]
    wait = counter.hit(_LIMIT, "ping", str(pipeline_id))
    if wait is not None:
        raise TooManyRequests(f"More than {_LIMIT.amount} pings a minute. Come again in {wait} s.", retry_after=wait)
    record_ping(
        pipeline_id=pipeline_id,
        ping=ping,
        now=datetime.now(UTC),
        run_id=request.args.get("rid") or None,
        log=_log(),
        reason=reason,
    )
    return Response("OK\n", mimetype="text/plain")


def _log() -> str | None:
    """Read what the job has printed: of more than 100 kB the end, where errors stand."""
    # A ping must not be lost for a long log: what is too much is read over.
    request.max_content_length = _MAX_READ_BYTES
    end = b""
    while chunk := request.stream.read(MAX_LOG_BYTES):
        end = (end + chunk)[-MAX_LOG_BYTES:]
    return end.decode("utf-8", "replace").strip() or None
