"""Completes schemas: what is sent and what is answered apart, enumerations by their names."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from chm_web.ingestion.progress import JobState
from chm_web.models import Channel, Environment, PipelineType, Platform, RuleType, RunStatus
from chm_web.services.health import Health

_REFERENCE = "#/components/schemas/"
_ENUMS: tuple[type[StrEnum], ...] = (
    Channel,
    Environment,
    Health,
    JobState,
    PipelineType,
    Platform,
    RuleType,
    RunStatus,
)


def split_directions(document: dict[str, Any]) -> None:
    """Tell what is sent from what is answered, where one schema serves for both.

    An answer has all of its fields, and others may join them some day. What is sent has none that are read-only, and
    none that are unknown; its schema is called ``...Input`` where the other has the name.
    """
    schemas = document["components"]["schemas"]
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    bodies = [operation["requestBody"] for operation in operations if "requestBody" in operation]
    answers = [operation["responses"] for operation in operations] + [document["components"]["responses"]]
    asked, given = _reachable(bodies, schemas), _reachable(answers, schemas)
    inputs = {name: f"{name}Input" if name in given else name for name in asked}
    outputs = {name: _output(schemas[name]) for name in given}
    document["components"]["schemas"] = outputs | {
        inputs[name]: _renamed(_input(schemas[name]), inputs) for name in asked
    }
    for operation in operations:
        if "requestBody" in operation:
            operation["requestBody"] = _renamed(operation["requestBody"], inputs)


def _output(schema: dict[str, Any]) -> dict[str, Any]:
    properties = {name: _without_default(each) for name, each in schema["properties"].items()}
    told = {"type": "object", "description": schema["description"]}
    return {**told, "required": list(properties), "properties": properties}


def _input(schema: dict[str, Any]) -> dict[str, Any]:
    properties = {name: each for name, each in schema["properties"].items() if not each.get("readOnly")}
    told: dict[str, Any] = {"type": "object", "description": schema["description"]}
    told["additionalProperties"] = schema.get("additionalProperties", False)
    required = [name for name in properties if name in schema.get("required", [])]
    if required:
        told["required"] = required
    # That a field without a default is null when it is left out goes without saying, and confuses generators.
    return {
        **told,
        "properties": {
            name: _without_default(each) if each.get("default") is None else copy.deepcopy(each)
            for name, each in properties.items()
        },
    }


def _without_default(described: dict[str, Any]) -> dict[str, Any]:
    return {name: copy.deepcopy(value) for name, value in described.items() if name != "default"}


def name_enums(document: dict[str, Any]) -> None:
    """Give each enumeration a name, so that generated clients have one type of it and not one a field."""
    by_values = {tuple(member.value for member in enum): enum for enum in _ENUMS}
    for described in list(_enumerations(document["paths"])) + list(_enumerations(document["components"]["schemas"])):
        values = tuple(value for value in described["enum"] if value is not None)
        enum = by_values.get(values)
        if enum is None:
            described["type"] = "string"
            continue
        del described["enum"]
        document["components"]["schemas"][enum.__name__] = _named(enum)
        reference = {"$ref": _REFERENCE + enum.__name__}
        if described.pop("nullable", False):
            # Null must be said beside it: a reference cannot be told to be nullable.
            described["oneOf"] = [reference, {"type": "string", "nullable": True, "enum": [None]}]
        else:
            # Nor may anything stand beside a reference but by this detour.
            described.update({"allOf": [reference]} if described else reference)


def _named(enum: type[StrEnum]) -> dict[str, Any]:
    values = [member.value for member in enum]
    summary = (enum.__doc__ or "").split("\n", 1)[0]
    return {"type": "string", "description": summary, "enum": values, "example": values[0]}


def _enumerations(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if isinstance(value.get("enum"), list):
            yield value
        for inner in list(value.values()):
            yield from _enumerations(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _enumerations(inner)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        target = value.get("$ref")
        if isinstance(target, str) and target.startswith(_REFERENCE):
            yield target.removeprefix(_REFERENCE)
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def _reachable(roots: Any, schemas: dict[str, Any]) -> list[str]:
    """Name the schemas that ``roots`` refer to, directly or by others."""
    found: dict[str, None] = {}
    waiting = list(_references(roots))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = None
            waiting += _references(schemas[name])
    return sorted(found)


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [_renamed(inner, names) for inner in value]
    if not isinstance(value, dict):
        return value
    renamed = {key: _renamed(inner, names) for key, inner in value.items()}
    target = value.get("$ref")
    if isinstance(target, str) and target.startswith(_REFERENCE):
        renamed["$ref"] = _REFERENCE + names[target.removeprefix(_REFERENCE)]
    return renamed
