"""The document of the API: that it is OpenAPI 3, whole, and true to the routes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from openapi_schema_validator import OAS30ReadValidator, OAS30WriteValidator
from openapi_spec_validator import OpenAPIV30SpecValidator
from referencing import Registry
from referencing.jsonschema import DRAFT4

from chm_web.errors import CODES
from tests.http import PREFIX, ApiClient

METHODS = {"get", "put", "post", "delete", "patch"}
EVERYWHERE = {"400", "401", "403", "500", "503"}


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


def test_document_is_valid_openapi(document: dict[str, Any]) -> None:
    assert [error.message for error in OpenAPIV30SpecValidator(document).iter_errors()] == []


def test_document_says_what_it_is(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.0.3"
    assert document["info"]["title"] == "CHM"
    for rule in ("next_cursor", "Retry-After", "If-Match", "RFC 3339", *CODES.values()):
        assert rule in document["info"]["description"]


def test_document_names_no_address(document: dict[str, Any]) -> None:
    assert [server["url"] for server in document["servers"]] == [PREFIX]


def test_every_operation_asks_for_a_token(document: dict[str, Any]) -> None:
    assert document["security"] == [{"bearerAuth": []}]
    assert document["components"]["securitySchemes"]["bearerAuth"]["scheme"] == "bearer"
    assert not any("security" in operation for _, _, operation, _ in operations(document))


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = list(references(document))

    assert found
    assert all(resolve(document, each) for each in found)


def test_every_route_of_the_api_is_described(app: Flask, document: dict[str, Any]) -> None:
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule.removeprefix(PREFIX)), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith(PREFIX) and not rule.endpoint.startswith("api_docs.")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }

    assert {(path, method) for path, method, _, _ in operations(document)} == routes


def test_every_operation_is_told_in_words_and_named_once(document: dict[str, Any]) -> None:
    found = [operation for _, _, operation, _ in operations(document)]

    assert all(operation["summary"].endswith(".") and operation["description"] for operation in found)
    names = [operation["operationId"] for operation in found]
    assert len(names) == len(set(names))
    assert all(re.fullmatch("[a-z]+(_[a-z]+)+", name) for name in names)


def test_every_tag_is_told(document: dict[str, Any]) -> None:
    told = {tag["name"] for tag in document["tags"] if tag["description"]}

    assert {tag for _, _, operation, _ in operations(document) for tag in operation["tags"]} == told


def test_every_parameter_is_told(document: dict[str, Any]) -> None:
    for path, _, _, parameters in operations(document):
        assert all(each["description"] for each in parameters), path


def test_every_schema_and_field_is_told(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        assert schema["description"], name
        assert "example" in schema, name
        untold = [field for field, each in schema.get("properties", {}).items() if not described(each)]
        assert untold == [], name


def described(schema: dict[str, Any]) -> bool:
    """Whether a field says what it is, by itself or by what it refers to."""
    return "$ref" in schema or bool(schema.get("description"))


def test_every_example_is_valid(document: dict[str, Any]) -> None:
    registry: Registry[Any] = Registry().with_resource("urn:chm", DRAFT4.create_resource(document))
    examples = [
        (f"#/components/schemas/{name}", schema["example"])
        for name, schema in document["components"]["schemas"].items()
    ]
    examples += [
        ("#/components/schemas/Error", answer["content"]["application/json"]["example"])
        for answer in document["components"]["responses"].values()
    ]

    for reference, example in examples:
        sent = reference.endswith(("Input", "Patch", "Report", "Batch", "BatchRun"))
        validator = (OAS30WriteValidator if sent else OAS30ReadValidator)(
            {"$ref": f"urn:chm{reference}"}, registry=registry
        )
        assert [error.message for error in validator.iter_errors(example)] == [], reference


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
        for status, answer in answers.items():
            assert answer["description"]
            assert "X-Request-ID" in answer["headers"]
            if status in ("204", "304"):
                assert "content" not in answer, (path, method, status)
                continue
            content = answer["content"]["application/json"]
            if not status.startswith("2"):
                assert content["schema"] == {"$ref": "#/components/schemas/Error"}, (path, method, status)
                assert content["example"]["error"]["code"] == CODES[int(status)]


def test_every_operation_names_the_errors_that_it_can_give(document: dict[str, Any]) -> None:
    for path, method, operation, _ in operations(document):
        errors = {status for status in operation["responses"] if status >= "400"}
        assert errors >= EVERYWHERE, (path, method)
        assert ("413" in errors) == ("requestBody" in operation), (path, method)
        assert ("415" in errors) == (method != "get"), (path, method)
        assert "404" in errors or "{" not in path, (path, method)
        assert ("412" in errors) == (method == "patch"), (path, method)
        # Watching a job does not count against the limit.
        assert ("429" in errors) == (path != "/ingestion/jobs/{job_id}"), (path, method)
        assert errors <= EVERYWHERE | {"404", "409", "412", "413", "415", "429"}, (path, method)


def test_errors_that_ask_for_something_bear_the_header(document: dict[str, Any]) -> None:
    answers = document["components"]["responses"]

    assert "WWW-Authenticate" in answers["Unauthorized"]["headers"]
    assert "Retry-After" in answers["RateLimited"]["headers"]
    assert "Retry-After" in answers["ServiceUnavailable"]["headers"]


def test_bodies_are_json(document: dict[str, Any]) -> None:
    bodies = {
        (path, method): operation["requestBody"]
        for path, method, operation, _ in operations(document)
        if "requestBody" in operation
    }

    assert all(list(body["content"]) == ["application/json"] for body in bodies.values())
    assert bodies["/clients", "post"]["required"] is True
    assert not bodies["/ingestion/runs/sync", "post"].get("required")


def test_described_values_are_those_of_the_data_model(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    assert schemas["RunStatus"]["enum"] == ["running", "skipped", "canceled", "success", "failed"]
    assert schemas["Run"]["properties"]["status"]["allOf"] == [{"$ref": "#/components/schemas/RunStatus"}]
    assert schemas["PipelineInput"]["required"] == ["name", "platform", "pipeline_type"]
    assert schemas["ClientInput"]["properties"]["name"]["maxLength"] == 200
    assert schemas["RunInput"]["properties"]["rows_processed"]["format"] == "int64"


def test_answer_has_the_described_fields(api: ApiClient, document: dict[str, Any]) -> None:
    answer = api.post("/clients", {"name": "a"}).get_json()

    assert set(answer) == set(document["components"]["schemas"]["Client"]["properties"])


@pytest.mark.parametrize("thing", ["Client", "Pipeline", "AlertRule", "Run", "ListedPipeline", "PipelineHealth", "Job"])
def test_fields_of_an_answer_are_never_missing(document: dict[str, Any], thing: str) -> None:
    schema = document["components"]["schemas"][thing]

    assert schema["required"] == list(schema["properties"])
    assert "additionalProperties" not in schema
    assert not any("default" in field for field in schema["properties"].values())


@pytest.mark.parametrize("thing", ["Client", "Pipeline", "AlertRule", "Run"])
def test_what_is_sent_has_no_field_that_cannot_be(document: dict[str, Any], thing: str) -> None:
    schemas = document["components"]["schemas"]
    fields, sent = schemas[thing]["properties"], schemas[f"{thing}Input"]

    assert sent["additionalProperties"] is False
    assert set(sent["properties"]) == {name for name, each in fields.items() if not each.get("readOnly")}
    assert {"id", "created_at", "updated_at", "updated_by"} & set(sent["properties"]) == set()


@pytest.mark.parametrize("thing", ["Client", "Pipeline", "AlertRule"])
def test_changes_are_described_with_nothing_required_or_filled_in(document: dict[str, Any], thing: str) -> None:
    schemas = document["components"]["schemas"]
    patch = schemas[f"{thing}Patch"]

    assert set(patch["properties"]) == set(schemas[f"{thing}Input"]["properties"])
    assert "required" not in patch
    assert not any("default" in field for field in patch["properties"].values())


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
