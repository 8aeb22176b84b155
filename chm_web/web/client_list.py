"""All clients: how each is doing now, and against the week before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flask import Response, render_template, request

from chm_web.access.permissions import Permission
from chm_web.ingestion import queue
from chm_web.ingestion.progress import IngestionJob, SyncScope
from chm_web.services import client_table
from chm_web.services.client_table import ClientOrder, ClientRow
from chm_web.services.exceptions import Unavailable
from chm_web.services.health import Health
from chm_web.web import asked, exports
from chm_web.web.clients import blueprint
from chm_web.web.shared_looks import shared_look

ROWS_A_PAGE = 50
DEFAULT_ORDER = "-failing"
ACTIVE = {"all": None, "yes": True, "no": False}

_CSV_HEAD = (
    "client",
    "enabled",
    "pipelines",
    *Health,
    "running_now",
    "newly_failing_24h",
    "success_rate_7d",
    "success_rate_7d_before",
    "last_ingest_at",
    "alert_rules",
    "client_id",
)


@blueprint.get("", allow=Permission.READ)
def index() -> str:
    """List clients, those in most trouble first. For everyone who is signed in."""
    order, descending = asked.order(ClientOrder, DEFAULT_ORDER)
    wanted = {**_filters(), "order": order, "descending": descending, "cursor": request.args.get("cursor")}
    page = shared_look(
        ("clients", *wanted.items()),
        lambda: client_table.list_client_rows(**wanted, now=datetime.now(UTC), limit=ROWS_A_PAGE),
    )
    return render_template(
        "clients/index.html",
        page=page,
        now=page.now,
        last_jobs=_last_jobs(page.rows),
        q=asked.text("q"),
        is_filtered=bool(asked.parameters().keys() & {"q", "active"}),
        order=f"{'-' if descending else ''}{order}",
    )


@blueprint.get("/export.csv", allow=Permission.READ)
def export() -> Response:
    """Give all the clients that the filters let through as CSV. For everyone who is signed in."""
    order, descending = asked.order(ClientOrder, DEFAULT_ORDER)
    rows = client_table.list_all_client_rows(**_filters(), order=order, descending=descending, now=datetime.now(UTC))
    return exports.csv_response("clients", _CSV_HEAD, _csv_rows(rows))


def _filters() -> dict[str, Any]:
    return {"q": asked.text("q"), "is_active": ACTIVE[asked.choice("active", tuple(ACTIVE))]}


def _last_jobs(rows: Iterable[ClientRow]) -> dict[UUID, IngestionJob]:
    """Find the last ingestion of each client; none of any while the queue does not answer."""
    scopes = {row.client_id: SyncScope(client_id=row.client_id) for row in rows}
    try:
        found = queue.last_jobs(scopes=scopes.values())
    except Unavailable:
        return {}
    return {client_id: found[scope] for client_id, scope in scopes.items() if scope in found}


def _csv_rows(rows: list[ClientRow]) -> Iterator[tuple[Any, ...]]:
    last_jobs = _last_jobs(rows)
    for row in rows:
        job = last_jobs.get(row.client_id)
        yield (
            row.client_name,
            row.is_active,
            row.tally.total,
            *(row.tally.counts[state] for state in Health),
            row.tally.running_now,
            row.newly_failing,
            row.success_rate,
            row.success_rate_before,
            job and job.ended_at,
            row.rules,
            row.client_id,
        )
