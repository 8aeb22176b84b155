"""Who may use the REST API: by token, by scope, and no more often than agreed."""

from __future__ import annotations

import dataclasses
import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from chm_web import create_app
from chm_web.access import guard
from chm_web.access.permissions import Permission, Scope
from chm_web.access.tokens import TokenFile
from chm_web.config import Config
from tests.api.envelope import refusal
from tests.factories import find_run, make_pipeline
from tests.http import PREFIX, ApiClient, client_with_token

UNAUTHORIZED = (401, "unauthorized")
FORBIDDEN = (403, "forbidden")
LIMITED = (429, "rate_limited")


@pytest.fixture
def limited(app: Flask, config: Config) -> Flask:
    """An app with a limit of five requests a minute, on the same servers."""
    return create_app(dataclasses.replace(config, api_rate_limit_per_minute=5))


# -- tokens -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "Token x", "Bearerx", "nonsense"]
)
def test_request_without_a_token_is_told_to_send_one(app: Flask, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}

    response = app.test_client().get(f"{PREFIX}/clients", headers=headers)

    assert refusal(response) == UNAUTHORIZED
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert "Bearer TOKEN" in response.get_json()["error"]["message"]


def test_wrong_token_is_told_so_and_not_repeated(app: Flask) -> None:
    wrong = "chm_" + "x" * 43

    response = client_with_token(app, wrong).get(f"{PREFIX}/clients")

    assert refusal(response) == UNAUTHORIZED
    assert "error=invalid_token" in response.headers["WWW-Authenticate"]
    assert wrong not in response.text


@pytest.mark.parametrize("kind", ["Bearer", "bearer", "BEARER"])
def test_kind_of_the_header_may_be_written_in_any_case(app: Flask, tokens: dict[Scope, str], kind: str) -> None:
    headers = {"Authorization": f"{kind} {tokens[Scope.READ]}"}

    assert app.test_client().get(f"{PREFIX}/clients", headers=headers).status_code == 200


def test_token_works_from_its_creation_to_its_revocation_without_a_restart(app: Flask, tokens_file: Path) -> None:
    file = TokenFile(tokens_file)
    client = client_with_token(app, file.create(name="short-lived", scope=Scope.READ))
    assert client.get(f"{PREFIX}/clients").status_code == 200

    file.revoke(name="short-lived")

    assert refusal(client.get(f"{PREFIX}/clients")) == UNAUTHORIZED


def test_expired_token_opens_nothing(app: Flask, tokens_file: Path) -> None:
    file = TokenFile(tokens_file)
    secret = file.create(name="expired", scope=Scope.READ, expires_at=datetime(2026, 1, 1, tzinfo=UTC))

    assert refusal(client_with_token(app, secret).get(f"{PREFIX}/clients")) == UNAUTHORIZED
    file.revoke(name="expired")


def test_app_without_a_file_of_tokens_lets_nobody_in(config: Config, tokens: dict[Scope, str], tmp_path: Path) -> None:
    app = create_app(dataclasses.replace(config, tokens_file=tmp_path / "tokens.json"))

    assert refusal(client_with_token(app, tokens[Scope.WRITE]).get(f"{PREFIX}/clients")) == UNAUTHORIZED


def test_damaged_file_of_tokens_is_no_fault_of_the_caller(config: Config, tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    path.write_text("{")
    app = create_app(dataclasses.replace(config, tokens_file=path))

    response = client_with_token(app, "chm_x").get(f"{PREFIX}/clients")

    assert refusal(response) == (503, "service_unavailable")
    assert str(tmp_path) not in response.text


# -- scopes -------------------------------------------------------------------------------------------------------


def test_token_for_reading_writes_nothing(app: Flask, tokens: dict[Scope, str]) -> None:
    reader = ApiClient(client_with_token(app, tokens[Scope.READ]))

    response = reader.post("/clients", {"name": "a"})

    assert refusal(response) == FORBIDDEN
    assert "scope write" in response.get_json()["error"]["message"]
    assert reader.get("/clients").get_json()["items"] == []


def test_token_for_reports_reports_and_neither_reads_nor_changes(app: Flask, tokens: dict[Scope, str]) -> None:
    pipeline = make_pipeline()
    reporter = ApiClient(client_with_token(app, tokens[Scope.INGEST]))

    assert reporter.put(f"/pipelines/{pipeline.id}/runs/a", {"status": "success"}).status_code == 201
    assert reporter.post("/runs/batch", {"runs": []}).status_code == 200
    for refused in (
        reporter.get(f"/pipelines/{pipeline.id}/runs"),
        reporter.post(f"/pipelines/{pipeline.id}/runs", {"status": "success"}),
        reporter.post("/ingestion/runs/sync"),
    ):
        assert refusal(refused) == FORBIDDEN


def test_reported_run_bears_the_name_of_its_token(api: ApiClient) -> None:
    pipeline = make_pipeline()

    answer = api.put(f"/pipelines/{pipeline.id}/runs/a", {"status": "success"}).get_json()

    assert answer["updated_by"] == "token:write"
    assert find_run(pipeline.id, "a").updated_by == "token:write"


def test_route_that_does_not_say_who_may_use_it_is_refused_to_everyone(
    config: Config, tokens: dict[Scope, str]
) -> None:
    app = create_app(config)
    app.add_url_rule("/api/v1/forgotten", "forgotten", lambda: "secret")

    response = client_with_token(app, tokens[Scope.WRITE]).get("/api/v1/forgotten")

    assert refusal(response) == FORBIDDEN


def test_every_route_of_the_api_says_who_may_use_it(app: Flask) -> None:
    routes = [rule for rule in app.url_map.iter_rules() if rule.rule.startswith("/api/")]

    assert routes
    assert [rule.rule for rule in routes if guard.access_of(app, rule.endpoint) is None] == []


def test_document_of_the_api_takes_a_token_unless_it_is_public(config: Config, tokens: dict[Scope, str]) -> None:
    closed, public = create_app(config), create_app(dataclasses.replace(config, api_docs_public=True))

    assert refusal(closed.test_client().get(f"{PREFIX}/openapi.json")) == UNAUTHORIZED
    assert client_with_token(closed, tokens[Scope.READ]).get(f"{PREFIX}/openapi.json").status_code == 200
    assert public.test_client().get(f"{PREFIX}/openapi.json").status_code == 200
    assert guard.access_of(public, "api_clients.list_clients") == guard.Access(Permission.READ)


# -- how often ----------------------------------------------------------------------------------------------------


def exhaust(client: FlaskClient) -> None:
    """Use up the limit of five requests."""
    for _ in range(5):
        assert client.get(f"{PREFIX}/clients").status_code == 200


def test_too_many_requests_are_told_when_to_come_again(limited: Flask, tokens: dict[Scope, str]) -> None:
    client = client_with_token(limited, tokens[Scope.READ])
    exhaust(client)

    response = client.get(f"{PREFIX}/clients")

    assert refusal(response) == LIMITED
    assert 1 <= int(response.headers["Retry-After"]) <= 120


def test_limit_of_one_token_is_not_anothers(limited: Flask, tokens: dict[Scope, str]) -> None:
    exhaust(client_with_token(limited, tokens[Scope.READ]))

    assert client_with_token(limited, tokens[Scope.WRITE]).get(f"{PREFIX}/clients").status_code == 200


def test_watching_a_job_does_not_count(limited: Flask, tokens: dict[Scope, str]) -> None:
    client = client_with_token(limited, tokens[Scope.READ])
    for _ in range(10):
        assert client.get(f"{PREFIX}/ingestion/jobs/nothing").status_code == 404

    exhaust(client)


def test_processes_count_together(limited: Flask, tokens: dict[Scope, str]) -> None:
    exhaust(client_with_token(limited, tokens[Scope.READ]))
    other = create_app(limited.config["CHM"])

    assert refusal(client_with_token(other, tokens[Scope.READ]).get(f"{PREFIX}/clients")) == LIMITED


def test_without_redis_a_process_counts_by_itself(
    app: Flask, config: Config, tokens: dict[Scope, str], caplog: pytest.LogCaptureFixture
) -> None:
    lonely = dataclasses.replace(config, redis_url="redis://:hunter2@127.0.0.1:9", api_rate_limit_per_minute=5)
    client = client_with_token(create_app(lonely), tokens[Scope.READ])
    with caplog.at_level(logging.WARNING):
        answers = [client.get(f"{PREFIX}/openapi.json").status_code for _ in range(6)]

    assert answers == [200] * 5 + [429]
    assert "without Redis" in caplog.text
    assert "hunter2" not in caplog.text
