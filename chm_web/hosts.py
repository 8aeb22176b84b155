"""The allow-list of host names: a page of another site, whose name is pointed at us (DNS rebinding), gets nothing.

Of our own rather than Flask's ``TRUSTED_HOSTS``: that one cuts every allowed name at its first colon, so that the
IPv6 loopback ``[::1]`` never passes, and it does not ignore case.
"""

from __future__ import annotations

import re

from flask import Flask, abort, current_app, request

from chm_web.config import Config

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^\s:/\\@\[\]]+)(?::[0-9]{1,5})?", re.IGNORECASE)
_REFUSED = "CHM does not answer under this host name. Those it answers to are set by CHM_ALLOWED_HOSTS."


def init_app(app: Flask) -> None:
    """Refuse requests to any other host before anything else looks at them."""
    app.before_request(_check_host)


def _check_host() -> None:
    config: Config = current_app.config["CHM"]
    match = _HOST.fullmatch(request.headers.get("Host", ""))
    if match is None or match["name"].lower() not in config.allowed_hosts:
        # The name itself is not repeated: it may be anything.
        abort(400, _REFUSED)
