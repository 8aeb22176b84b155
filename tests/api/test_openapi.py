"""The document of the API: that it is OpenAPI 3, whole, and true to the routes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from tests.http import PREFIX, ApiClient

METHODS = {"get", "put", "post", "delete", "patch"}


@pytest.fixture
def document(api: ApiClient) -> dict[str, Any]:
    """The document as it is served."""
    response = api.get("/openapi.json")
    assert response.status_code == 200
    found: dict[str, Any] = response.get_json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any], list[dict[str, Any]]]]:
    """Each operation: path, method, itself, and its parameters with those of its path."""
    for path, item in document["paths"].items():
        for method in METHODS & set(item):
            parameters = [*item.get("parameters", []), *item[method].get("parameters", [])]
            yield path, method, item[method], [resolve(document, each) for each in parameters]


def resolve(document: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference within the document; fails when it leads nowhere."""
    if "$ref" not in value:
        return value
    assert value["$ref"].startswith("#/"), value
    found: Any = document
    for part in value["$ref"][2:].split("/"):
        found = found[part]
    assert isinstance(found, dict)
    return found


def references(value: Any) -> Iterator[dict[str, Any]]:
    """Every reference anywhere in the document."""
    if isinstance(value, dict):
        if "$ref" in value:
            yield value
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_document_says_what_it_is(document: dict[str, Any]) -> None:
    assert re.fullmatch(r"3\.0\.\d+", document["openapi"])
    assert document["info"] == {"title": "CHM", "version": "v1"}


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = list(references(document))

    assert found
    assert all(resolve(document, each) for each in found)


def test_every_route_of_the_api_is_described(app: Flask, document: dict[str, Any]) -> None:
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith(PREFIX) and not rule.endpoint.startswith("api-docs.")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }

    assert {(path, method) for path, method, _, _ in operations(document)} == routes


def test_every_operation_is_told_in_words_and_named_once(document: dict[str, Any]) -> None:
    found = [operation for _, _, operation, _ in operations(document)]

    assert all(operation["summary"].endswith(".") for operation in found)
    ids = [operation["operationId"] for operation in found if "operationId" in operation]
    assert len(ids) == len(set(ids))


def test_parameters_in_paths_are_declared(document: dict[str, Any]) -> None:
    for path, _, _, parameters in operations(document):
        declared = {each["name"] for each in parameters if each["in"] == "path"}
        assert declared == set(re.findall(r"{(\w+)}", path)), path
        assert all(each["required"] and each["schema"] for each in parameters if each["in"] == "path")


def test_no_parameter_is_declared_twice(document: dict[str, Any]) -> None:
    for path, method, _, parameters in operations(document):
        names = [(each["in"], each["name"]) for each in parameters]
        assert len(names) == len(set(names)), (path, method)


def test_every_operation_answers_and_tells_its_errors_by_the_envelope(document: dict[str, Any]) -> None:
    for path, method, operation, _ in operations(document):
        answers = {status: resolve(document, each) for status, each in operation["responses"].items()}
        assert any(re.fullmatch("2..", status) for status in answers), (path, method)
        assert "default" in answers
        for status, answer in answers.items():
            assert answer["description"]
            if status in ("204", "304"):
                assert "content" not in answer, (path, method, status)
                continue
            schema = answer["content"]["application/json"]["schema"]
            if not status.startswith("2"):
                assert schema == {"$ref": "#/components/schemas/Error"}, (path, method, status)


def test_bodies_are_json(document: dict[str, Any]) -> None:
    bodies = {
        (path, method): operation["requestBody"]
        for path, method, operation, _ in operations(document)
        if "requestBody" in operation
    }

    assert all(list(body["content"]) == ["application/json"] for body in bodies.values())
    assert bodies[f"{PREFIX}/clients", "post"]["required"] is True
    assert not bodies[f"{PREFIX}/ingestion/runs/sync", "post"].get("required")


def test_described_values_are_those_of_the_data_model(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    assert schemas["Run"]["properties"]["status"]["enum"] == ["running", "skipped", "canceled", "success", "failed"]
    assert schemas["Pipeline"]["required"] == ["name", "pipeline_type", "platform"]
    assert schemas["Client"]["properties"]["name"]["maxLength"] == 200


def test_answer_has_the_described_fields(api: ApiClient, document: dict[str, Any]) -> None:
    answer = api.post("/clients", {"name": "a"}).get_json()

    assert set(answer) == set(document["components"]["schemas"]["Client"]["properties"])


@pytest.mark.parametrize("thing", ["Client", "Pipeline", "AlertRule"])
def test_changes_are_described_with_nothing_required_or_filled_in(document: dict[str, Any], thing: str) -> None:
    schemas = document["components"]["schemas"]
    patch = schemas[f"{thing}Patch"]

    assert set(patch["properties"]) == set(schemas[thing]["properties"])
    assert "required" not in patch
    assert not any("default" in described for described in patch["properties"].values())


def test_changes_are_described_with_the_version_they_rest_on(document: dict[str, Any]) -> None:
    patches = [parameters for _, method, _, parameters in operations(document) if method == "patch"]

    assert len(patches) == 3
    assert all(("header", "If-Match") in {(each["in"], each["name"]) for each in found} for found in patches)


def test_answers_with_a_version_describe_it(document: dict[str, Any]) -> None:
    for path, method, operation, _ in operations(document):
        if "304" in operation["responses"] or method == "patch":
            assert "ETag" in operation["responses"]["200"]["headers"], (path, method)


def test_runs_of_a_batch_are_described(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    described = schemas["RunBatch"]["properties"]["runs"]
    assert (described["maxItems"], described["items"]) == (1000, {"$ref": "#/components/schemas/BatchRun"})
    assert sorted(schemas["BatchRun"]["required"]) == ["external_run_id", "pipeline_id", "status"]
    assert "external_run_id" not in schemas["RunReport"]["properties"]
