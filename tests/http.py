"""Small helpers for tests that speak HTTP to the app."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from socketserver import BaseServer
from typing import Any

import flask
import requests
from flask import Flask
from flask.testing import FlaskClient
from pytest_httpserver import HTTPServer
from werkzeug.test import TestResponse

from chm_web.access import sessions
from chm_web.access.permissions import Role
from chm_web.access.sessions import Method, SignedIn

PREFIX = "/api/v1"
# How often a server looks whether it shall stop. The usual half a second would be waited for at the end of each test.
_LOOK_SECONDS = 0.02


def client_with_token(app: Flask, token: str) -> FlaskClient:
    """A client whose every request bears an API token."""
    return bearing(app.test_client(), token)


def bearing(client: FlaskClient, token: str) -> FlaskClient:
    """Let every request of ``client`` bear an API token."""
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client


def client_of(app: Flask, name: str = "somebody", role: Role = Role.ADMIN) -> FlaskClient:
    """A browser, without JavaScript, in which somebody is signed in."""
    client = app.test_client()
    with app.test_request_context():
        sessions.sign_in(SignedIn(name, role, Method.OIDC))
        begun = dict(flask.session)
    with client.session_transaction() as session:
        session.update(begun)
    return client


@dataclass
class ApiClient:
    """Speaks JSON to the REST API; paths are relative to its prefix."""

    client: FlaskClient

    def get(self, path: str, *, headers: Any = None, **query: Any) -> TestResponse:
        """GET with query parameters."""
        return self.client.get(PREFIX + path, query_string=query, headers=headers)

    def post(self, path: str, json: Any = None, **kwargs: Any) -> TestResponse:
        """POST a JSON body."""
        return self.client.post(PREFIX + path, json=json, **kwargs)

    def put(self, path: str, json: Any = None, **kwargs: Any) -> TestResponse:
        """PUT a JSON body."""
        return self.client.put(PREFIX + path, json=json, **kwargs)

    def patch(self, path: str, json: Any = None, **kwargs: Any) -> TestResponse:
        """PATCH with a JSON body."""
        return self.client.patch(PREFIX + path, json=json, **kwargs)

    def delete(self, path: str, **kwargs: Any) -> TestResponse:
        """DELETE."""
        return self.client.delete(PREFIX + path, **kwargs)


@contextmanager
def serving(server: BaseServer) -> Iterator[None]:
    """Let a server answer, in a thread of its own, until the block ends."""
    thread = threading.Thread(target=server.serve_forever, args=(_LOOK_SECONDS,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join(timeout=10)
        server.server_close()


class OwnHttpServer(HTTPServer):
    """A server of a test's own, beside the one that tests share (``httpserver``); it stops without a wait."""

    def thread_target(self) -> None:
        """Serve until it is stopped."""
        assert self.server is not None
        self.server.serve_forever(_LOOK_SECONDS)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def answers(url: str) -> bool:
    """Whether a server says at this URL that all is well."""
    try:
        return requests.get(url, timeout=2).ok
    except (requests.ConnectionError, requests.Timeout):
        return False
