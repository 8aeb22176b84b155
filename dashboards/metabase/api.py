"""Metabase's HTTP API, as far as provisioning needs it."""

from __future__ import annotations

from typing import Any

import requests

_TIMEOUT_SECONDS = 60


class MetabaseError(Exception):
    """Metabase does not do what was asked. The message names the request, and never what was sent."""


class Metabase:
    """A session of an administrator."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._http = requests.Session()

    def get(self, path: str) -> Any:
        """Ask for something."""
        return self._send("GET", path)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Make something."""
        return self._send("POST", path, body)

    def put(self, path: str, body: dict[str, Any]) -> Any:
        """Change something."""
        return self._send("PUT", path, body)

    def sign_in(self, email: str, password: str) -> bool:
        """Sign in; on a new Metabase, make this administrator first. True when it was new.

        Raises:
            MetabaseError: Metabase does not answer, or knows this administrator by another password.
        """
        properties = self.get("/api/session/properties")
        is_new = not properties["has-user-setup"]
        if is_new:
            user = {"email": email, "password": password, "first_name": "CHM", "last_name": "Administrator"}
            prefs = {"site_name": "CHM", "site_locale": "en", "allow_tracking": False}
            session = self.post("/api/setup", {"token": properties["setup-token"], "user": user, "prefs": prefs})
        else:
            session = self.post("/api/session", {"username": email, "password": password})
        self._http.headers["X-Metabase-Session"] = session["id"]
        return is_new

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            answer = self._http.request(method, self._url + path, json=body, timeout=_TIMEOUT_SECONDS)
        except requests.RequestException as err:
            raise MetabaseError(f"{method} {path}: {type(err).__name__}. Does Metabase answer there?") from None
        if not answer.ok:
            # Its answers may repeat what was sent, passwords among it.
            raise MetabaseError(f"{method} {path}: Metabase answered {answer.status_code}.")
        return answer.json()
