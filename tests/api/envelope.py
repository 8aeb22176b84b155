"""The error envelope, taken apart for assertions."""

from __future__ import annotations

from werkzeug.test import TestResponse


def refusal(response: TestResponse) -> tuple[int, str]:
    """The status and the code of an error; fails when the answer is not the envelope, whole and nothing else."""
    body = response.get_json()
    assert set(body) == {"error"}, body
    assert set(body["error"]) == {"code", "message", "details"}
    assert isinstance(body["error"]["message"], str)
    assert body["error"]["message"]
    assert all(set(detail) == {"field", "issue"} for detail in body["error"]["details"])
    return response.status_code, body["error"]["code"]


def issues(response: TestResponse) -> dict[str, str]:
    """What an error says of each field."""
    refusal(response)
    return {detail["field"]: detail["issue"] for detail in response.get_json()["error"]["details"]}


INVALID = (400, "validation_error")
NOT_FOUND = (404, "not_found")
CONFLICT = (409, "conflict")
UNAVAILABLE = (503, "service_unavailable")
STALE = (412, "precondition_failed")
