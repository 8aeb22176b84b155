"""Requests as they are sent: each as its bytes, in every shape that a form, a program or a mistake gives them."""

from __future__ import annotations

import enum
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlsplit

import flask
import sqlalchemy as sa
from flask import Flask
from flask_wtf.csrf import generate_csrf
from werkzeug.datastructures import Headers
from werkzeug.test import Client, EnvironBuilder, TestResponse

from chm_web.access import sessions
from chm_web.access.permissions import Role
from chm_web.access.sessions import Method, SignedIn
from chm_web.extensions import db
from tests.conftest import TABLES
from tests.fuzz.answers import Answer

PASSWORD = "correct horse battery staple"
"""Of each of the app's users, who are called as their roles are."""

Pairs = tuple[tuple[bytes, bytes], ...]

_BOUNDARY = "chm-fuzz-boundary"
# Each comes from an address of its own, or soon nobody could try to sign in.
_visits = count()


class Shape(enum.Enum):
    """How the fields of a body are sent: the content type, as it is told."""

    FORM = "application/x-www-form-urlencoded"
    PARTS = f"multipart/form-data; boundary={_BOUNDARY}"
    FILES = f"multipart/form-data; boundary={_BOUNDARY}; files"
    ENDLESS = f"multipart/form-data; boundary={_BOUNDARY}; endless"
    NO_BOUNDARY = "multipart/form-data"
    JSON = "application/json"
    TEXT = "text/plain; charset=utf-16"
    XML = "application/xml"
    NONE = ""


@dataclass(frozen=True)
class Sending:
    """A request to the app. ``path`` and ``query`` are as they stand in the first line of a request."""

    method: str
    path: str
    query: str = ""
    fields: Pairs = ()
    shape: Shape = Shape.FORM

    @property
    def body(self) -> bytes:
        """The fields, in their shape."""
        if self.method == "GET":
            return b""
        if self.shape in (Shape.PARTS, Shape.FILES, Shape.ENDLESS):
            return b"".join(self._parts()) + (b"" if self.shape is Shape.ENDLESS else f"--{_BOUNDARY}--\r\n".encode())
        if self.shape is Shape.JSON:
            values = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in self.fields}
            return json.dumps(values).encode()
        return urlencoded(self.fields).encode()

    def _parts(self) -> Iterator[bytes]:
        for name, value in self.fields:
            # As a browser writes it; what would end the line is the value's to try.
            told = name.replace(b'"', b"%22").replace(b"\r", b"%0D").replace(b"\n", b"%0A")
            file = b'; filename="' + value[:200].replace(b'"', b"%22") + b'"' if self.shape is Shape.FILES else b""
            yield f"--{_BOUNDARY}\r\n".encode()
            yield b'Content-Disposition: form-data; name="' + told + b'"' + file + b"\r\n\r\n" + value + b"\r\n"


def urlencoded(pairs: Pairs) -> str:
    """The pairs as a query string or a form has them."""
    return "&".join(f"{quote_from_bytes(name)}={quote_from_bytes(value)}" for name, value in pairs)


@dataclass(frozen=True)
class Visit:
    """A browser in which somebody is signed in, or nobody: its cookie, and the token of its forms."""

    cookie: str
    csrf_token: str


def visit(app: Flask, role: Role | None) -> Visit:
    """Let the local user of a role, or nobody, come anew: another visit may have ended the sessions before it."""
    with app.test_request_context():
        # Of the context that tests share; a token that is there already would not be put into this session.
        flask.g.pop("csrf_token", None)
        if role is not None:
            sessions.sign_in(SignedIn(role.value, role, Method.LOCAL))
        token = generate_csrf()
        signer = app.session_interface.get_signing_serializer(app)  # type: ignore[attr-defined]
        return Visit(f"{app.config['SESSION_COOKIE_NAME']}={signer.dumps(dict(flask.session))}", token)


def send(app: Flask, role: Role | None, sending: Sending) -> list[Answer]:
    """Send a request as somebody of a role, and go where a form leads to.

    The token of the form is right, in the form and in the header that scripts send.
    """
    by = visit(app, role)
    if sending.method == "POST":
        sending = replace(sending, fields=((b"csrf_token", by.csrf_token.encode()), *sending.fields))
    first = _open(app, by, sending)
    answers = [_answer(first)]
    location = first.headers.get("Location", "")
    if sending.method == "POST" and location.startswith("/") and first.status_code == 303:
        kept = first.headers.get("Set-Cookie")
        by = replace(by, cookie=kept.partition(";")[0]) if kept else by
        target = urlsplit(location)
        answers.append(_answer(_open(app, by, Sending("GET", target.path, target.query))))
    return answers


@contextmanager
def undone() -> Iterator[None]:
    """Take back what is done to the database, so that each request meets the same rows."""
    connection: sa.Connection = db.engine  # type: ignore[assignment]  # the tests' own, see conftest
    db.session.remove()
    savepoint = connection.begin_nested()
    try:
        yield
    finally:
        db.session.remove()
        savepoint.rollback()


def fingerprint() -> list[str]:
    """What stands in the four tables."""
    db.session.remove()
    rows = "md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), ''))"
    return [db.session.execute(sa.text(f"SELECT {rows} FROM {table} t")).scalar_one() for table in TABLES]


def _open(app: Flask, by: Visit, sending: Sending) -> TestResponse:
    number = next(_visits)
    body = sending.body
    has_body = sending.method == "POST"
    builder = EnvironBuilder(
        method=sending.method,
        input_stream=io.BytesIO(body) if has_body else None,
        content_type=(sending.shape.value or None) if has_body else None,
        content_length=len(body) if has_body else None,
        headers=Headers({"Cookie": by.cookie, "X-CSRFToken": by.csrf_token}),
        environ_overrides={
            "PATH_INFO": unquote_to_bytes(sending.path).decode("latin-1"),
            "QUERY_STRING": sending.query,
            "REMOTE_ADDR": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
        },
    )
    return Client(app, use_cookies=False).open(builder)


def _answer(response: TestResponse) -> Answer:
    return Answer(response.status_code, Headers(response.headers), response.get_data())
