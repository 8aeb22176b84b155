"""A stand-in for Metabase's HTTP API, made from its documentation: what provisioning uses, with state, over real HTTP.

It refuses what Metabase refuses (no session, a wrong password, a second setup) and gives questions back in another
form than they were sent in, as newer versions do.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

Answer = tuple[int, Any]


class StandIn:
    """The state: what was made, and every request that changed something."""

    def __init__(self, server: HTTPServer) -> None:
        self.url = server.url_for("").rstrip("/")
        self.users: dict[str, str] = {}
        self.kinds: dict[str, dict[int, dict[str, Any]]] = {
            kind: {} for kind in ("database", "collection", "card", "dashboard")
        }
        self.changes: list[str] = []
        self._setup_token, self._session = secrets.token_hex(8), secrets.token_hex(8)
        server.expect_request(re.compile("^/api/")).respond_with_handler(self._handle)

    def named(self, kind: str, name: str) -> dict[str, Any]:
        """The one thing of a name."""
        [found] = [each for each in self.kinds[kind].values() if each["name"] == name]
        return found

    def _handle(self, request: Request) -> Response:
        body = json.loads(request.get_data() or b"{}")
        status, answer = self._route(request, request.method, request.path.strip("/").split("/")[1:], body)
        return Response(json.dumps(answer), status, content_type="application/json")

    def _route(self, request: Request, method: str, path: list[str], body: dict[str, Any]) -> Answer:
        open_to_anyone: dict[tuple[str, str], Callable[[dict[str, Any]], Answer]] = {
            ("GET", "session/properties"): self._properties,
            ("POST", "setup"): self._setup,
            ("POST", "session"): self._sign_in,
        }
        handler = open_to_anyone.get((method, "/".join(path)))
        if handler:
            return handler(body)
        if request.headers.get("X-Metabase-Session") != self._session:
            return 401, "Unauthenticated"
        if method == "GET":
            return self._read(path)
        self.changes.append(f"{method} {path[0]}")
        return self._make(path[0], body) if method == "POST" else self._change(path[0], int(path[1]), body)

    def _properties(self, body: dict[str, Any]) -> Answer:
        return 200, {"setup-token": None if self.users else self._setup_token, "has-user-setup": bool(self.users)}

    def _setup(self, body: dict[str, Any]) -> Answer:
        if self.users or body["token"] != self._setup_token:
            return 403, {"errors": {"token": "Token does not match the setup token."}}
        self.users[body["user"]["email"]] = body["user"]["password"]
        return 200, {"id": self._session}

    def _sign_in(self, body: dict[str, Any]) -> Answer:
        if self.users.get(body["username"]) != body["password"]:
            return 401, {"errors": {"password": f"did not match stored password, sent: {body['password']}"}}
        return 200, {"id": self._session}

    def _read(self, path: list[str]) -> Answer:
        kind = path[0]
        if path[-1] == "items":
            items = [
                {"id": number, "model": model, "name": each["name"], "description": each["description"]}
                for model in ("card", "dashboard")
                for number, each in self.kinds[model].items()
                if each["collection_id"] == int(path[1])
            ]
            return 200, {"data": items, "total": len(items)}
        everything = [self._shown(kind, each) for each in self.kinds[kind].values()]
        return 200, {"data": everything, "total": len(everything)} if kind == "database" else everything

    def _make(self, kind: str, body: dict[str, Any]) -> Answer:
        # A new dashboard is empty whatever is sent.
        kept = {key: value for key, value in body.items() if key != "dashcards"}
        number = len(self.kinds[kind]) + 1
        self.kinds[kind][number] = {**kept, "id": number}
        return 200, self._shown(kind, self.kinds[kind][number])

    def _change(self, kind: str, number: int, body: dict[str, Any]) -> Answer:
        self.kinds[kind][number] |= body
        return 200, self._shown(kind, self.kinds[kind][number])

    @staticmethod
    def _shown(kind: str, thing: dict[str, Any]) -> dict[str, Any]:
        if kind == "database":
            return {**thing, "details": {**thing["details"], "password": "**MetabasePass**"}}
        if kind == "card":
            native = thing["dataset_query"]["native"]
            return {**thing, "dataset_query": {"lib/type": "mbql/query", "stages": [{"native": native["query"]}]}}
        return thing
