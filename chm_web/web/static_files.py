"""Static files with their version in the address, so that browsers keep them for a year; and icons in the page."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from stat import S_ISREG
from typing import Any

from flask import Flask, Response, current_app, request
from markupsafe import Markup

_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_ATTRIBUTES = re.compile(r"<svg[^>]*>", re.DOTALL)
_OPENING = (
    '<svg class="icon" viewBox="0 0 24 24" width="20" height="20" fill="none" stroke="currentColor"'
    ' stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">'
)


def init_app(app: Flask) -> None:
    """Version the addresses of static files, cache them accordingly, and give templates ``icon(name)``."""
    app.url_defaults(_add_version)
    app.after_request(_cache_versioned)
    app.jinja_env.globals["icon"] = icon


def icon(name: str) -> Markup:
    """Give one of the installed Tabler icons as inline SVG, which takes the colour of the text around it."""
    try:
        return _inline(_static_folder(), name)
    except FileNotFoundError:  # the assets are not installed
        return Markup("")


@lru_cache(maxsize=64)
def _inline(static_folder: str, name: str) -> Markup:
    path = Path(static_folder) / "vendor" / "icons" / f"{name}.svg"
    drawing = _ATTRIBUTES.sub(_OPENING, _COMMENT.sub("", path.read_text(encoding="utf-8")), count=1)
    # A file of a package that the lock file pins by its hash.
    return Markup(" ".join(drawing.split()))  # noqa: S704


def changed_at(filename: str) -> int | None:
    """Say when a static file was changed last, in ns since 1970; None for what is not there or is no file."""
    try:
        found = _path(_static_folder(), filename).stat()
    except OSError:
        return None
    return found.st_mtime_ns if S_ISREG(found.st_mode) else None


def _add_version(endpoint: str, values: dict[str, Any]) -> None:
    if endpoint == "static" and "filename" in values and "v" not in values:
        changed = changed_at(values["filename"])
        if changed is not None:
            values["v"] = _version(_path(_static_folder(), values["filename"]), changed)


@lru_cache(maxsize=256)
def _path(static_folder: str, filename: str) -> Path:
    return Path(static_folder) / filename


@lru_cache(maxsize=256)
def _version(path: Path, changed: int) -> str:
    # The time of change is part of the key alone: an edited file gets a new address without a restart.
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _cache_versioned(response: Response) -> Response:
    if request.endpoint == "static" and response.status_code in (200, 304):
        forever = "public, max-age=31536000, immutable"
        response.headers["Cache-Control"] = forever if request.args.get("v") else "no-cache"
    return response


def _static_folder() -> str:
    return current_app.static_folder or "static"
