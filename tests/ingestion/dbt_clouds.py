"""A dbt Cloud for tests: a real HTTP server with the paging, filters and refusals of the Admin API's version 2.

Nothing here is recorded: there is no dbt Cloud that could be run. It keeps to what its documentation says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from chm_web.ingestion.sources import Source
from chm_web.models import Platform
from tests.ingestion.partners import base_url

ACCOUNT, JOB = 4711, 815
TOKEN = "dbtc-token-0123456789"
RUNS = f"/api/v2/accounts/{ACCOUNT}/runs/"


def dbt_run(number: int, **values: Any) -> dict[str, Any]:
    """A run that was a success."""
    return {
        "id": 70_403_103_900_000 + number,
        "account_id": ACCOUNT,
        "project_id": 11,
        "environment_id": 22,
        "job_definition_id": JOB,
        "status": 10,
        "status_humanized": "Success",
        "status_message": None,
        "git_branch": "main",
        "git_sha": "9f1c0de",
        "dbt_version": "1.9.0-latest",
        "created_at": "2024-05-27 10:42:10.000001+00:00",
        "updated_at": "2024-05-27 10:43:20.500000+00:00",
        "started_at": "2024-05-27 10:42:16.179903+00:00",
        "finished_at": "2024-05-27 10:43:16.179903+00:00",
        "href": f"https://dbt.example/deploy/{ACCOUNT}/projects/11/runs/{number}/",
        **values,
    }


def running(number: int, **values: Any) -> dict[str, Any]:
    """A run that is under way."""
    return dbt_run(number, **{"status": 3, "finished_at": None, **values})


@dataclass
class DbtCloud:
    """What the server serves, and what it was asked. ``steps``: those of runs, by the run's id."""

    server: HTTPServer
    runs: list[dict[str, Any]] = field(default_factory=list)
    steps: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    asked: list[Request] = field(default_factory=list)
    max_limit: int = 100
    before: Callable[[Request], Response | None] = lambda request: None

    def __post_init__(self) -> None:
        self.server.expect_request(re.compile(".*")).respond_with_handler(self.handle)

    @property
    def lists(self) -> list[Request]:
        """The requests for pages."""
        return [request for request in self.asked if request.path == RUNS]

    @property
    def singles(self) -> list[Request]:
        """The requests for single runs."""
        return [request for request in self.asked if request.path != RUNS]

    def handle(self, request: Request) -> Response:
        """Answer as dbt Cloud does."""
        self.asked.append(request)
        return self.before(request) or self._answer(request)

    def _answer(self, request: Request) -> Response:
        if request.headers.get("Authorization") != f"Token {TOKEN}":
            return refusal(401, "Invalid token.")
        if not request.path.startswith(RUNS):
            # Also what the token may not see.
            return refusal(
                404, "The requested resource was not found. Please check that you have the proper permissions."
            )
        name = request.path.removeprefix(RUNS).rstrip("/")
        if not name:
            return self._page(request)
        found = [run for run in self.runs if str(run["id"]) == name]
        if not found:
            return refusal(404, "The requested resource was not found.")
        related = json.loads(request.args.get("include_related", "[]"))
        steps = {"run_steps": self.steps.get(found[0]["id"], [])} if "run_steps" in related else {}
        return answer({**found[0], **steps}, {})

    def _page(self, request: Request) -> Response:
        rows = sorted(self.runs, key=lambda run: run[request.args["order_by"]])
        if "job_definition_id" in request.args:
            rows = [run for run in rows if run["job_definition_id"] == int(request.args["job_definition_id"])]
        for name in ("created_at", "finished_at"):
            if f"{name}__range" in request.args:
                low, high = map(datetime.fromisoformat, json.loads(request.args[f"{name}__range"]))
                rows = [run for run in rows if run[name] and low <= datetime.fromisoformat(run[name]) <= high]
        offset, limit = int(request.args["offset"]), min(int(request.args["limit"]), self.max_limit)
        page = rows[offset : offset + limit]
        return answer(page, {"pagination": {"count": len(page), "total_count": len(rows)}})


def answer(data: Any, extra: dict[str, Any]) -> Response:
    """The envelope of an answer."""
    status = {"code": 200, "is_success": True, "user_message": "Success!", "developer_message": ""}
    return Response(json.dumps({"status": status, "data": data, "extra": extra}), content_type="application/json")


def refusal(code: int, message: str, **headers: str) -> Response:
    """The envelope of a refusal."""
    status = {"code": code, "is_success": False, "user_message": message, "developer_message": ""}
    return Response(json.dumps({"status": status, "data": None}), code, headers, content_type="application/json")


def dbt_source(server: HTTPServer, **values: Any) -> Source:
    """A source that reads the test's dbt Cloud."""
    defaults: dict[str, Any] = {
        "name": "dbt",
        "kind": "dbt_cloud",
        "base_url": base_url(server),
        "account_id": str(ACCOUNT),
        "token": TOKEN,
        "platforms": (Platform.DBT,),
        "page_size": 100,
    }
    return Source(**{**defaults, **values})
