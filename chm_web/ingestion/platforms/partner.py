"""The generic partner: ``GET {base}/pipelines/{external_id}/runs?cursor=&updated_since=&limit=``."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from chm_web.ingestion.client import HttpClient, SourceUnreachable
from chm_web.ingestion.mapper import (
    Unmappable,
    clamp_finish,
    map_status,
    parse_count,
    parse_id,
    parse_number,
    parse_text,
    parse_time,
)
from chm_web.ingestion.platforms.pages import MAX_PAGES, RunsPage, path_part
from chm_web.services.run_records import RunRecord

_KNOWN_FIELDS = frozenset(
    {
        "external_run_id",
        "id",
        "status",
        "started_at",
        "finished_at",
        "duration_seconds",
        "rows_processed",
        "error_message",
        "status_reason",
        "queued_at",
        "updated_at",
    }
)


def read_pages(
    client: HttpClient, external_id: str, *, updated_since: datetime | None, limit: int, cursor: str | None = None
) -> Iterator[RunsPage]:
    """Read a pipeline's runs, page by page from ``cursor`` on, until the cursor ends.

    Raises:
        SourceError: a page cannot be read, or the cursor never ends.
    """
    path = f"/pipelines/{path_part(external_id)}/runs"
    params: dict[str, str | int] = {"limit": limit}
    if updated_since is not None:
        params["updated_since"] = updated_since.isoformat()
    seen: set[str] = set()
    for _ in range(MAX_PAGES):
        if cursor is not None:
            params["cursor"] = cursor
        answer = client.get(path, params)
        runs, cursor = _check_page(answer.body)
        yield RunsPage(runs, answer.server_time, cursor)
        if cursor is None:
            return
        if cursor in seen:
            raise SourceUnreachable(f"The partner's cursor goes round in a circle after {len(seen) + 1} pages.")
        seen.add(cursor)
    raise SourceUnreachable(f"The partner's feed does not end: stopped after {MAX_PAGES:,} pages.")


def map_run(pipeline_id: UUID, raw: Any) -> RunRecord:
    """Map one run of a page. Fields that the contract does not name are kept as its payload.

    Raises:
        Unmappable: the run cannot be understood.
    """
    if not isinstance(raw, dict):
        raise Unmappable("run", "must be an object")
    external_id = parse_id(raw.get("external_run_id") or raw.get("id"), "external_run_id")
    started = parse_time(raw.get("started_at"), "started_at")
    finished, skew = clamp_finish(started, parse_time(raw.get("finished_at"), "finished_at"))
    status, word = map_status(raw.get("status"), is_finished=finished is not None)
    return RunRecord(
        pipeline_id=pipeline_id,
        external_run_id=external_id,
        status=status,
        started_at=started,
        finished_at=finished,
        duration_seconds=parse_number(raw.get("duration_seconds"), "duration_seconds"),
        rows_processed=parse_count(raw.get("rows_processed"), "rows_processed"),
        error_message=parse_text(raw.get("error_message")),
        status_reason=parse_text(raw.get("status_reason")) or word or skew,
        payload={key: value for key, value in raw.items() if key not in _KNOWN_FIELDS} or None,
        attempt_at=started or parse_time(raw.get("queued_at"), "queued_at"),
        source_updated_at=parse_time(raw.get("updated_at"), "updated_at"),
    )


def run_id_of(raw: Any) -> str | None:
    """The id by which to name a run that could not be mapped."""
    value = (raw.get("external_run_id") or raw.get("id")) if isinstance(raw, dict) else None
    return str(value)[:200] if isinstance(value, str | int) else None


def _check_page(body: Any) -> tuple[list[Any], str | None]:
    runs = body.get("runs") if isinstance(body, dict) else None
    if not isinstance(runs, list):
        raise SourceUnreachable('The partner answered something else than {"runs": [...], "next_cursor": ...}.')
    cursor = body.get("next_cursor")
    if cursor is None or cursor == "":
        return runs, None
    if isinstance(cursor, bool) or not isinstance(cursor, str | int):
        raise SourceUnreachable("The partner's next_cursor is neither text nor null.")
    return runs, str(cursor)
