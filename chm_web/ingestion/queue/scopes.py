"""Scopes of jobs as they stand in Redis."""

from __future__ import annotations

import json
from dataclasses import asdict
from uuid import UUID

from chm_web.ingestion.progress import SyncScope


def scope_values(scope: SyncScope) -> dict[str, str | None]:
    """Give a scope as plain values."""
    return {name: None if value is None else str(value) for name, value in asdict(scope).items()}


def scope_key(scope: SyncScope) -> str:
    """Give a scope's name in Redis."""
    return json.dumps(scope_values(scope))


def scope_of(values: dict[str, str | None]) -> SyncScope:
    """Give the scope that ``scope_values`` gave as these."""
    client_id, pipeline_id = values["client_id"], values["pipeline_id"]
    return SyncScope(
        UUID(client_id) if client_id else None, UUID(pipeline_id) if pipeline_id else None, values["source"]
    )
