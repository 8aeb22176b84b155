"""Addresses whose query holds bytes that are no UTF-8, as only programs send them: read as if they had been escaped.

Werkzeug reads a query's escapes whatever they stand for, but fails on such bytes as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_NOT_ASCII = re.compile("[\x80-\xff]")


def init_app(app: Flask) -> None:
    """Let ``app`` read its requests so."""
    answer = app.wsgi_app

    def answer_escaped(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        query = environ.get("QUERY_STRING", "")
        try:
            # A server gives each byte as a character.
            query.encode("latin-1").decode()
        except UnicodeDecodeError:
            environ["QUERY_STRING"] = _NOT_ASCII.sub(lambda byte: f"%{ord(byte[0]):02X}", query)
        return answer(environ, start_response)

    app.wsgi_app = answer_escaped  # type: ignore[method-assign]
