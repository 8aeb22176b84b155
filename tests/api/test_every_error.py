"""Every error that the contract promises of an operation, provoked: by its status, its envelope and its headers."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
import yaml
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from chm_web import create_app
from chm_web.access.permissions import Scope
from chm_web.config import ROOT, Config
from chm_web.errors import CODES
from chm_web.ingestion import queue
from tests.api.envelope import refusal
from tests.factories import make_alert_rule, make_client, make_pipeline, make_run
from tests.http import PREFIX, client_with_token

DOCUMENT = yaml.safe_load((ROOT / "specs/001-chm-api-ingestion/contracts/openapi.yaml").read_text(encoding="utf-8"))
METHODS = ("get", "post", "put", "patch", "delete")
NOBODY_LISTENS = "127.0.0.1:9"


@dataclass(frozen=True)
class Operation:
    """One operation of the contract, and a body that it takes."""

    name: str
    method: str
    path: str
    scopes: frozenset[str]
    statuses: frozenset[int]
    body: Any

    def ask(self, client: FlaskClient, values: dict[str, str] | None = None, **more: Any) -> TestResponse:
        """Send a request that is right but for ``more``, by default for things that there are not."""
        path = re.sub(r"\{(\w+)\}", lambda found: (values or {}).get(found[1], str(uuid4())), self.path)
        content = {} if self.body is None or "data" in more else {"json": self.body}
        return client.open(PREFIX + path, method=self.method, **{**content, **more})


def _operations() -> list[Operation]:
    found = []
    for path, item in DOCUMENT["paths"].items():
        for method in METHODS:
            if (told := item.get(method)) is not None:
                statuses = frozenset(int(status) for status in told["responses"])
                scopes = frozenset(told["x-required-scopes"])
                found.append(Operation(told["operationId"], method.upper(), path, scopes, statuses, _example(told)))
    return found


def _example(told: dict[str, Any]) -> Any:
    if "requestBody" not in told:
        return None
    schema = told["requestBody"]["content"]["application/json"]["schema"]
    name = schema.get("$ref", schema.get("items", {}).get("$ref")).rpartition("/")[2]
    example = DOCUMENT["components"]["schemas"][name]["example"]
    return [example] if schema.get("type") == "array" else example


OPERATIONS = _operations()

# What an operation that clashes is asked for, by its name; ``things`` says what there is.
CLASHES: dict[str, dict[str, Any]] = {
    "create_client": {"name": "taken"},
    "update_client": {"name": "TAKEN"},
    "create_pipeline": {"name": "taken", "platform": "dbt", "pipeline_type": "export"},
    "update_pipeline": {"name": "TAKEN"},
    "create_run": {"external_run_id": "taken", "status": "success"},
    "create_alert_rule": {"rule_type": "on_failure", "channel": "slack", "destination": "#taken"},
    "update_alert_rule": {"destination": "#taken"},
    "request_sync": {},
}


@pytest.fixture
def writer(app: Flask, tokens: dict[Scope, str]) -> FlaskClient:
    """A service that may do everything."""
    return client_with_token(app, tokens[Scope.WRITE])


@pytest.fixture
def things(app: Flask) -> dict[str, str]:
    """One of each thing that paths name, beside another one whose name is taken."""
    client = make_client()
    make_client(name="taken")
    pipeline = make_pipeline(client)
    make_pipeline(client, name="taken")
    make_run(pipeline, external_run_id="taken")
    rule = make_alert_rule(client_id=client.id)
    make_alert_rule(client_id=client.id, destination="#taken")
    run = make_run(pipeline)
    ids = {"client_id": client.id, "pipeline_id": pipeline.id, "run_id": run.id, "alert_rule_id": rule.id}
    return {"external_run_id": run.external_run_id, **{name: str(value) for name, value in ids.items()}}


def told(status: int) -> list[Operation]:
    """The operations that promise an answer with this status."""
    found = [operation for operation in OPERATIONS if status in operation.statuses]
    assert found, f"no operation tells of {status}"
    return found


def check(status: int, ask: Callable[[Operation], TestResponse], *, header: str | None = None) -> None:
    """Ask each operation that promises this error, and compare what it answers."""
    found = {}
    for operation in told(status):
        response = ask(operation)
        found[operation.name] = (*refusal(response), header is None or header in response.headers)

    assert found == dict.fromkeys(found, (status, CODES[status], True))


def test_errors_are_those_of_this_file() -> None:
    promised = {status for operation in OPERATIONS for status in operation.statuses if status >= 400}

    assert promised | {405} == set(CODES)


def test_unknown_query_parameter_is_invalid(writer: FlaskClient) -> None:
    check(400, lambda operation: operation.ask(writer, query_string={"surprise": "1"}))


def test_unknown_field_of_a_body_is_invalid(writer: FlaskClient, things: dict[str, str]) -> None:
    # What others define may grow: events of OpenLineage, files of dbt.
    grows = {"take_event", "take_batch", "report_dbt_run"}
    asked = [operation for operation in OPERATIONS if operation.body is not None and operation.name not in grows]
    found = {
        operation.name: refusal(operation.ask(writer, things, json={**operation.body, "surprise": 1}))
        for operation in asked
    }

    assert found == dict.fromkeys(found, (400, "validation_error"))
    assert len(found) == 10


def test_nobody_is_told_to_send_a_token(app: Flask) -> None:
    check(401, lambda operation: operation.ask(app.test_client()), header="WWW-Authenticate")


def test_token_of_another_scope_is_refused(app: Flask, tokens: dict[Scope, str]) -> None:
    def ask(operation: Operation) -> TestResponse:
        [other, *_] = [scope for scope in Scope if scope not in operation.scopes]
        return operation.ask(client_with_token(app, tokens[other]))

    check(403, ask)


@pytest.mark.usefixtures("with_partner")
def test_what_is_not_there_is_not_found(writer: FlaskClient) -> None:
    check(404, lambda operation: operation.ask(writer))


def test_method_that_a_path_does_not_take_is_told_with_those_that_it_takes(writer: FlaskClient) -> None:
    found, wanted = {}, {}
    for path, item in DOCUMENT["paths"].items():
        takes = {method.upper() for method in METHODS if method in item}
        if path.endswith("/runs/latest"):
            takes.add("PUT")  # a run may be called so, and is reported there
        for method in {method.upper() for method in METHODS} - takes:
            response = writer.open(PREFIX + re.sub(r"\{\w+\}", str(uuid4()), path), method=method)
            allowed = set(response.headers["Allow"].split(", ")) - {"HEAD", "OPTIONS"}
            found[method, path] = (*refusal(response), allowed)
            wanted[method, path] = (405, CODES[405], takes)

    assert found == wanted


def test_what_is_taken_is_a_conflict(writer: FlaskClient, things: dict[str, str]) -> None:
    assert {operation.name for operation in told(409)} == set(CLASHES)

    def ask(operation: Operation) -> TestResponse:
        scope = {"client_id": things["client_id"]} if operation.name == "create_alert_rule" else {}
        return operation.ask(writer, things, json={**CLASHES[operation.name], **scope})

    check(409, ask)


def test_version_that_is_past_changes_nothing(writer: FlaskClient, things: dict[str, str]) -> None:
    check(412, lambda operation: operation.ask(writer, things, headers={"If-Match": '"0"'}))


def test_body_above_the_limit_is_too_large(writer: FlaskClient, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.config, "MAX_CONTENT_LENGTH", 10)

    check(413, lambda operation: operation.ask(writer))


def test_body_that_is_not_json_is_refused_by_its_type(writer: FlaskClient) -> None:
    check(415, lambda operation: operation.ask(writer, data=b"{}", content_type="text/plain"))


def test_who_asks_too_often_is_told_when_to_come_again(app: Flask, config: Config, tokens: dict[Scope, str]) -> None:
    limited = create_app(dataclasses.replace(config, api_rate_limit_per_minute=1))
    client = client_with_token(limited, tokens[Scope.WRITE])

    def ask(operation: Operation) -> TestResponse:
        client.get(f"{PREFIX}/clients")
        return operation.ask(client)

    check(429, ask, header="Retry-After")


def test_only_watching_a_job_may_be_done_as_often_as_one_likes() -> None:
    assert [operation.name for operation in OPERATIONS if 429 not in operation.statuses] == ["get_ingestion_job"]


def test_what_nobody_expected_is_told_without_its_words(config: Config, tokens: dict[Scope, str]) -> None:
    broken = create_app(config)
    _break(broken, broken.view_functions)
    client = client_with_token(broken, tokens[Scope.WRITE])

    def ask(operation: Operation) -> TestResponse:
        response = operation.ask(client)
        assert "hunter2" not in response.text
        return response

    check(500, ask)


def _break(app: Flask, endpoints: Iterable[str]) -> None:
    """Let the views of an app fail, whose guard stands as ever."""
    for endpoint in list(endpoints):
        if endpoint.startswith("api_"):

            @functools.wraps(app.view_functions[endpoint])
            def fail(*_: Any, **__: Any) -> Any:
                raise RuntimeError("hunter2 at db.internal")

            app.view_functions[endpoint] = fail


def test_without_database_and_queue_each_says_when_to_come_again(config: Config, tokens: dict[Scope, str]) -> None:
    away = dataclasses.replace(
        config,
        database_url=f"postgresql+psycopg://{NOBODY_LISTENS}/chm",
        redis_url=f"redis://{NOBODY_LISTENS}",
        partner_api_base_url=f"http://{NOBODY_LISTENS}",
        partner_api_token="t",
    )
    app = create_app(away)
    queue.init_app(app)
    client = client_with_token(app, tokens[Scope.WRITE])

    check(503, lambda operation: operation.ask(client), header="Retry-After")
