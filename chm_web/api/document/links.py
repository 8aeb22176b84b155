"""Links: where to go on from what was made, as OpenAPI says it."""

from __future__ import annotations

from typing import Any

from chm_web.api.document.responses import JSON

# By the schema of an answer: the fields that have the values of path parameters.
_KNOWN: dict[str, dict[str, str]] = {
    "AlertRule": {"alert_rule_id": "id"},
    "Client": {"client_id": "id"},
    "Job": {"job_id": "id"},
    "Pipeline": {"pipeline_id": "id"},
    "Run": {"run_id": "id", "external_run_id": "external_run_id", "pipeline_id": "pipeline_id"},
}


def add_links(document: dict[str, Any]) -> None:
    """Link each answer that tells of something new to every operation whose path it can fill."""
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    for operation in operations:
        for status in ("201", "202"):
            answer = operation["responses"].get(status)
            if answer is None:
                continue
            known = _KNOWN.get(answer["content"][JSON]["schema"]["$ref"].rsplit("/", 1)[1])
            # What became of events is nothing that has an address.
            if known is not None:
                answer["links"] = {
                    target["operationId"]: _link(target, known) for target in operations if _leads_to(target, known)
                }


def _path_parameters(operation: dict[str, Any]) -> set[str]:
    return {each["name"] for each in operation.get("parameters", []) if each["in"] == "path"}


def _leads_to(target: dict[str, Any], known: dict[str, str]) -> bool:
    wanted = _path_parameters(target)
    return bool(wanted) and wanted <= set(known)


def _link(target: dict[str, Any], known: dict[str, str]) -> dict[str, Any]:
    parameters = {name: f"$response.body#/{known[name]}" for name in known if name in _path_parameters(target)}
    return {"operationId": target["operationId"], "parameters": parameters, "description": target["summary"]}
