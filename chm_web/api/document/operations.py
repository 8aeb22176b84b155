"""Completes operations: their names, parameters and answers."""

from __future__ import annotations

from typing import Any

from chm_web.api.document.responses import EXAMPLE_ETAG, common_answers, header, refusal

_PATH_PARAMETERS: dict[str, dict[str, Any]] = {
    "client_id": {"description": "The client's id.", "example": "01932f5e-1f70-7c54-8d43-9b2a6c1e7f05"},
    "pipeline_id": {"description": "The pipeline's id.", "example": "01932f5e-2b18-7d09-a7c6-5e4f3a2b1c0d"},
    "run_id": {"description": "The run's own id.", "example": "01932f5e-7c3a-7b1d-9a41-3f6c2d8e5b70"},
    "alert_rule_id": {"description": "The alert rule's id.", "example": "01932f5e-94d2-7e6f-b8a1-0c9d8e7f6a5b"},
    "job_id": {"description": "The ingestion job's id.", "example": "ingest-01932f5e"},
    "external_run_id": {
        "description": "The platform's id of the run, percent-encoded, slashes too.",
        "example": "scheduled__2026-11-01T06:00:00+00:00",
    },
}

_IF_NONE_MATCH = {
    "in": "header",
    "name": "If-None-Match",
    "description": "ETags that the reader has: 304 while one of them is the latest.",
    "required": False,
    "schema": {"type": "string"},
    "example": EXAMPLE_ETAG,
}


def tag_of(blueprint: str) -> str:
    """Give the name under which a blueprint's operations are shown."""
    return blueprint.removeprefix("api_").replace("_", " ").capitalize()


def complete_operation(
    gathered: dict[str, Any], *, path: str, method: str, path_parameters: list[dict[str, Any]]
) -> dict[str, Any]:
    """Give an operation in full: every parameter told, every answer that it can really give."""
    is_limited = gathered.pop("x-rate-limited")
    parameters = [*path_parameters, *gathered.get("parameters", [])]
    if "304" in gathered["responses"]:
        parameters.append(dict(_IF_NONE_MATCH))
    told = {
        "operationId": gathered["operationId"],
        "tags": [tag_of(tag) for tag in gathered["tags"]],
        "summary": gathered["summary"],
        "description": f"{gathered['description']}\n\n{_scopes(gathered['x-required-scopes'])}",
        "parameters": [_parameter(each) for each in parameters],
        "requestBody": gathered.get("requestBody"),
        "responses": _responses(gathered, method, is_limited=is_limited),
    }
    further = {name: value for name, value in gathered.items() if name not in told}
    return {name: value for name, value in told.items() if value} | further


def _scopes(scopes: list[str]) -> str:
    *others, last = scopes
    return f"Takes a token with the scope {', '.join(others)}{' or ' if others else ''}{last}."


def _parameter(gathered: dict[str, Any]) -> dict[str, Any]:
    schema = gathered["schema"]
    if not gathered["required"]:
        # What is left out is not null: a query string has no such thing.
        schema.pop("nullable", None)
        if schema.get("default", "") is None:
            del schema["default"]
        if "enum" in schema:
            schema["enum"] = [value for value in schema["enum"] if value is not None]
    told = _PATH_PARAMETERS.get(gathered["name"], {})
    # Examples that apispec has put into the schema belong to the parameter.
    example = {"example": schema.pop("example")} if "example" in schema else {}
    return {**example, **told, **gathered}


def _responses(gathered: dict[str, Any], method: str, *, is_limited: bool) -> dict[str, Any]:
    answers = {str(status): answer for status, answer in gathered["responses"].items() if str(status) != "400"}
    for status, answer in answers.items():
        if status < "400":
            answer["headers"] = {"X-Request-ID": header("X-Request-ID"), **answer.get("headers", {})}
            if status == "304":
                answer["headers"]["ETag"] = header("ETag")
        else:
            answers[status] = refusal(int(status), answer["description"])
    common = common_answers(method=method, has_body="requestBody" in gathered, is_limited=is_limited)
    return dict(sorted({**common, **answers}.items()))
