"""What every response carries: security headers, and how long and by what it may be cached."""

from __future__ import annotations

from flask import Flask, Response, current_app, request

from chm_web.config import Config

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}

# For as long as a browser that has come once by TLS comes by nothing else. Not for other names of the same domain,
# which are not ours.
STRICT_TRANSPORT_SECURITY = "max-age=31536000"


def init_app(app: Flask) -> None:
    """Add the headers to every response of ``app``, and the choice of layout to every template."""
    app.after_request(_add_headers)
    app.context_processor(_choose_layout)


def _add_headers(response: Response) -> Response:
    # setdefault: a view that has a reason may state a policy of its own.
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    config: Config = current_app.config["CHM"]
    if config.behind_tls:
        response.headers.setdefault("Strict-Transport-Security", STRICT_TRANSPORT_SECURITY)
    if response.mimetype == "text/html":
        # One address answers with a page or with its content alone, so a cache must tell the two apart.
        response.vary.add("HX-Request")
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def _choose_layout() -> dict[str, str]:
    htmx = request.htmx  # type: ignore[attr-defined]
    alone = bool(htmx) and not htmx.boosted and not htmx.history_restore_request
    return {"layout": "layouts/partial.html" if alone else "layouts/base.html"}
