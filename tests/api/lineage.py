"""Sending OpenLineage events to the API."""

from __future__ import annotations

from typing import Any

from tests.http import ApiClient

LINEAGE = "/lineage"
BATCH = "/lineage/batch"
UNMAPPED = "/ingestion/unmapped"
DAG_RUN_ID = "manual__2026-11-01T11:58:00+00:00"
NOTHING = {"created": 0, "updated": 0, "unchanged": 0, "unmapped": 0, "ignored": 0, "rejected": []}


def send(api: ApiClient, event: Any) -> dict[str, Any]:
    """Send an event that must be accepted, and give what became of it."""
    response = api.post(LINEAGE, event)
    assert response.status_code == 201, response.text
    body: dict[str, Any] = response.get_json()
    return body


def send_all(api: ApiClient, *events: Any) -> dict[str, Any]:
    """Send a batch that must be taken, and give what became of it."""
    response = api.post(BATCH, list(events))
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.get_json()
    return body


def unmapped(api: ApiClient) -> list[dict[str, Any]]:
    """What the API lists as unmapped."""
    response = api.get(UNMAPPED)
    assert response.status_code == 200
    body = response.get_json()
    assert body["next_cursor"] is None
    items: list[dict[str, Any]] = body["items"]
    return items
