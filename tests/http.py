"""Small helpers for tests that speak HTTP to the app."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

PREFIX = "/api/v1"


def client_with_token(app: Flask, token: str) -> FlaskClient:
    """A client whose every request bears an API token."""
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
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
