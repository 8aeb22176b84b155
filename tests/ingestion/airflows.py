"""An Airflow for tests: a real HTTP server with Airflow's paging, filters and refusals, whose bodies are recorded ones.

The answers under ``captures/airflow3`` and ``captures/airflow2`` were given by Airflow 3.3.2 and 2.11.2.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from chm_web.config import Config
from chm_web.ingestion.account import ingest_account
from chm_web.ingestion.feeds import open_feed
from chm_web.ingestion.job import open_client
from chm_web.ingestion.progress import SyncScope, UnmappedReport
from chm_web.ingestion.sources import Source
from chm_web.ingestion.targets import targets_of
from chm_web.models import Platform
from tests.ingestion.partners import FAST, Account, base_url

CAPTURES = Path(__file__).parent / "captures"
USER, PASSWORD = "chm", "airflow-password-0123"
DAG = "chm_demo"
FAILED_RUN = "manual__2026-11-23T01:58:38.517682+00:00"
VERSIONS = ["3.3.2", "3.1.8", "2.11.2"]
LONG_AGO = datetime(2026, 11, 1, tzinfo=UTC)


def recorded(name: str, version: int = 3) -> Any:
    """The body of a recorded answer."""
    return json.loads((CAPTURES / f"airflow{version}" / f"{name}.json").read_text())["body"]


def refusal(name: str, version: int = 3) -> Response:
    """A recorded answer that refuses, as it was given."""
    capture = json.loads((CAPTURES / f"airflow{version}" / f"{name}.json").read_text())
    headers = {name.lower(): value for name, value in capture["headers"].items()}
    return Response(json.dumps(capture["body"]), capture["status"], content_type=headers["content-type"])


def dag_run(number: int, **values: Any) -> dict[str, Any]:
    """A recorded failed run, as if it were another one."""
    run = copy.deepcopy(recorded("dagrun_get_failed"))
    return {**run, "dag_run_id": f"scheduled__{number}", **values}


@dataclass
class Airflow:
    """What the server serves, and what it was asked.

    ``changed``: when runs changed, by id; others: just now, by a clock that is ``ahead`` of ours.
    """

    server: HTTPServer
    version: str = "3.3.2"
    runs: list[dict[str, Any]] = field(default_factory=list)
    changed: dict[str, datetime] = field(default_factory=dict)
    asked: list[Request] = field(default_factory=list)
    token: str = "airflow-token-0"
    signed_in: int = 0
    max_limit: int = 100
    ahead: timedelta = timedelta(0)
    before: Callable[[Request], Response | None] = lambda request: None

    def __post_init__(self) -> None:
        self.server.expect_request(re.compile(".*")).respond_with_handler(self.handle)

    @property
    def major(self) -> int:
        """Which Airflow it is."""
        return int(self.version[0])

    def paths(self, part: str) -> list[str]:
        """The paths asked for that hold this."""
        return [request.path for request in self.asked if part in request.path]

    def handle(self, request: Request) -> Response:
        """Answer as Airflow does."""
        self.asked.append(request)
        early = self.before(request)
        return early if early is not None else self._answer(request)

    def _answer(self, request: Request) -> Response:
        api = "/api/v2" if self.major == 3 else "/api/v1"
        if request.path == "/auth/token" and self.major == 3:
            return self._sign_in(request)
        if not request.path.startswith(api):
            return Response("not found", 404)
        path = request.path.removeprefix(api)
        if path == "/version":
            return _json({**recorded("version", self.major), "version": self.version})
        if (refused := self._refuse(request)) is not None:
            return refused
        # Undecoded: an id may hold anything that ends a part of a path.
        parts = [unquote(part) for part in request.environ["RAW_URI"].partition("?")[0].removeprefix(api).split("/")]
        return self._dag_runs(request, parts[2], parts[4:])

    def _sign_in(self, request: Request) -> Response:
        if request.get_json() != {"username": USER, "password": PASSWORD}:
            return refusal("auth_token_401_bad_password")
        self.signed_in += 1
        self.token = f"airflow-token-{self.signed_in}"
        return _json({**recorded("auth_token_201"), "access_token": self.token}, 201)

    def _refuse(self, request: Request) -> Response | None:
        if self.major == 2:
            auth = request.authorization
            is_right = auth is not None and (auth.username, auth.password) == (USER, PASSWORD)
            return None if is_right else refusal("dagruns_403_bad_password", 2)
        given = request.headers.get("Authorization")
        if given is None:
            return refusal("dagruns_401_no_token")
        return None if given == f"Bearer {self.token}" else refusal("dagruns_403_bad_token")

    def _dag_runs(self, request: Request, dag: str, rest: list[str]) -> Response:
        if rest[1:2] == ["taskInstances"]:
            if all((run["dag_id"], run["dag_run_id"]) != (dag, rest[0]) for run in self.runs):
                return refusal("dagruns_404_unknown_dag")
            if rest[3:4] == ["logs"]:
                return _json(recorded("task_log_failed_json"))
            name = "taskinstances_of_failed_run" if self.major == 3 else "taskinstances_failed"
            return _json(recorded(name, self.major))
        if dag != "~" and self.major == 3 and all(run["dag_id"] != dag for run in self.runs):
            return refusal("dagruns_404_unknown_dag")
        rows = [run for run in self.runs if dag in ("~", run["dag_id"])]
        if rest:
            found = [run for run in rows if run["dag_run_id"] == rest[0]]
            return _json(found[0]) if found else refusal("dagruns_404_unknown_dag")
        since = request.args.get("updated_at_gte")
        if since:
            rows = [run for run in rows if self._changed(run) >= datetime.fromisoformat(since)]
        return self._page(request, rows)

    def _changed(self, run: dict[str, Any]) -> datetime:
        return self.changed.get(run["dag_run_id"], datetime.now(UTC) + self.ahead)

    def _page(self, request: Request, rows: list[dict[str, Any]]) -> Response:
        assert request.args["order_by"] == "id"
        limit = min(int(request.args["limit"]), self.max_limit)
        if "cursor" not in request.args:
            start = int(request.args["offset"])
            return _json({"dag_runs": rows[start : start + limit], "total_entries": len(rows)})
        cursor = request.args["cursor"]
        if cursor and not cursor.startswith("after-"):
            return refusal("dagruns_400_bad_cursor")
        # As Airflow's: behind a row, not behind a number of them.
        place = int(cursor.removeprefix("after-") or -1) if cursor else -1
        left = [row for row in rows if self.runs.index(row) > place]
        page = left[:limit]
        following = f"after-{self.runs.index(page[-1])}" if len(left) > limit else None
        return _json({"dag_runs": page, "total_entries": len(rows), "next_cursor": following})


@dataclass
class AccountAccount(Account):
    """What becomes of an account's reading, in memory."""

    known_ids: frozenset[UUID] = frozenset()
    reports: list[UnmappedReport] = field(default_factory=list)
    ended: int | None = None

    def source_done(self, pipelines: int) -> None:
        """Note the end."""
        self.ended = pipelines

    def unmapped(self, source: str, reports: Any) -> None:
        """Keep the reports."""
        self.reports += reports

    def known(self) -> frozenset[UUID]:
        """Give the known pipelines."""
        return self.known_ids

    def add_known(self, pipeline_id: UUID) -> None:
        """Keep one more."""
        self.known_ids |= {pipeline_id}

    def set_known(self, pipeline_ids: Any) -> None:
        """Keep the known pipelines."""
        self.known_ids = frozenset(pipeline_ids)


def airflow_source(server: HTTPServer, **values: Any) -> Source:
    """A source that reads the test's Airflow."""
    defaults: dict[str, Any] = {
        "name": "airflow",
        "kind": "airflow",
        "base_url": base_url(server),
        "username": USER,
        "password": PASSWORD,
        "platforms": (Platform.AIRFLOW,),
        "page_size": 100,
    }
    return Source(**{**defaults, **values})


def read_account(
    source: Source, account: AccountAccount | None = None, config: Config = FAST, *, is_alone: bool = True
) -> AccountAccount:
    """Do one cycle."""
    account = account or AccountAccount()
    with open_client(source, config) as client:
        ingest_account(
            source=source,
            feed=open_feed(source, client),
            targets=targets_of(source, SyncScope()),
            reporter=account,
            watermarks=account,
            is_alone=is_alone,
        )
    return account


def _json(body: Any, status: int = 200) -> Response:
    return Response(json.dumps(body), status, content_type="application/json")
