"""All pipelines: found by filters, put in order, and enabled, disabled or ingested several at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flask import Response, abort, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from chm_web.access.guard import actor
from chm_web.access.permissions import Permission
from chm_web.ingestion import queue
from chm_web.ingestion.progress import SyncScope
from chm_web.models import Environment, PipelineType, Platform
from chm_web.services import naming, pipeline_table, pipelines
from chm_web.services.exceptions import Conflict, NotFound, Unavailable
from chm_web.services.health import Health
from chm_web.services.paging import JudgedPage
from chm_web.services.pipeline_table import PipelineFilters, PipelineOrder, PipelineRow
from chm_web.web import asked, changing, exports
from chm_web.web.options import client_options
from chm_web.web.pipelines import blueprint
from chm_web.web.shared_looks import shared_look

ROWS_A_PAGE = 50
DEFAULT_ORDER = "client"
_FILTERS = {"q", "client_id", "platform", "pipeline_type", "environment", "health", "active"}
# What is enabled is what the overview counts: a pipeline of a disabled client is not.
ACTIVE = {"yes": True, "no": False, "all": None}

_CSV_HEAD = (
    "client",
    "pipeline",
    "status",
    "since",
    "platform",
    "type",
    "environment",
    "external_id",
    "enabled",
    "client_enabled",
    "expected_every_minutes",
    "last_runs",
    "last_runs_failed",
    "median_seconds",
    "last_finished_at",
    "last_success_at",
    "running_since",
    "alert_rules",
    "pipeline_id",
)


@blueprint.get("", allow=Permission.READ)
def index() -> str:
    """List the pipelines of all clients that the filters let through. For everyone who is signed in."""
    order, descending = asked.order(PipelineOrder, DEFAULT_ORDER)
    page = _read_page(_filters(), order, descending, request.args.get("cursor"))
    return render_template(
        "pipelines/index.html",
        page=page,
        now=page.now,
        filters=_filters(),
        is_filtered=bool(asked.parameters().keys() & _FILTERS),
        order=f"{'-' if descending else ''}{order}",
        clients=client_options(),
        platforms=Platform,
        pipeline_types=PipelineType,
        environments=Environment,
        healths=Health,
        strip_length=pipeline_table.STRIP_LENGTH,
        named=changing.NAMED,
    )


@blueprint.get("/export.csv", allow=Permission.READ)
def export() -> Response:
    """Give all the pipelines that the filters let through as CSV. For everyone who is signed in."""
    order, descending = asked.order(PipelineOrder, DEFAULT_ORDER)
    rows = pipeline_table.iterate_pipeline_rows(
        filters=_filters(), order=order, descending=descending, now=datetime.now(UTC)
    )
    return exports.csv_response("pipelines", _CSV_HEAD, _csv_rows(rows))


@blueprint.post("/bulk", allow=Permission.OPERATE)
def bulk() -> BaseResponse | str:
    """Enable, disable or ingest the marked pipelines, and lead back to the list. For operators and admins."""
    marked = _marked()
    action = request.form.get("action")
    if not marked:
        flash("Nothing was marked.", "problem")
    elif action == "enable":
        _set_active(marked, is_active=True)
    elif action == "disable":
        if not changing.is_confirmed():
            return _ask_to_disable(marked)
        _set_active(marked, is_active=False)
    elif action == "ingest":
        _ingest(marked)
    else:
        abort(400, description="Choose what to do with the marked pipelines: enable, disable or ingest.")
    return redirect(url_for("pipelines.index", **asked.parameters()), code=303)


def _read_page(
    filters: PipelineFilters, order: PipelineOrder, descending: bool, cursor: str | None
) -> JudgedPage[PipelineRow]:
    def read() -> JudgedPage[PipelineRow]:
        return pipeline_table.list_pipeline_rows(
            filters=filters,
            order=order,
            descending=descending,
            now=datetime.now(UTC),
            limit=ROWS_A_PAGE,
            cursor=cursor,
        )

    if pipeline_table.judges_all(filters, order):
        return shared_look(("pipelines", filters, order, descending, cursor), read)
    return read()


def _filters() -> PipelineFilters:
    return PipelineFilters(
        q=asked.text("q"),
        client_id=asked.uuid("client_id"),
        platform=asked.one_of("platform", Platform),
        pipeline_type=asked.one_of("pipeline_type", PipelineType),
        environment=asked.one_of("environment", Environment),
        health=asked.one_of("health", Health),
        in_service=ACTIVE[asked.choice("active", tuple(ACTIVE))],
    )


def _csv_rows(rows: Iterator[PipelineRow]) -> Iterator[tuple[Any, ...]]:
    for row in rows:
        yield (
            row.client_name,
            row.pipeline_name,
            row.health,
            row.since,
            row.platform,
            row.pipeline_type,
            row.environment,
            row.external_id,
            row.is_active,
            row.client_is_active,
            row.expected_every_minutes,
            len(row.strip),
            row.failed,
            row.median_seconds,
            row.last_finished_at,
            row.last_success_at,
            row.running_since,
            row.rule_source,
            row.pipeline_id,
        )


def _marked() -> list[UUID]:
    """Read which pipelines are marked: at most a page of them."""
    values = request.form.getlist("pipeline_id")
    if len(values) > ROWS_A_PAGE:
        abort(400, description=f"Mark at most {ROWS_A_PAGE} pipelines at a time.")
    try:
        return list(dict.fromkeys(UUID(value) for value in values))
    except ValueError:
        abort(400, description="A marked pipeline is not given by its id.")


def _ask_to_disable(marked: list[UUID]) -> str:
    names = naming.name_pipelines(pipeline_ids=marked)
    return changing.ask_to_disable(
        f"Disable {_count(len(marked))}",
        "pipeline" if len(marked) == 1 else "pipelines",
        action=url_for("pipelines.bulk", **asked.parameters()),
        back=url_for("pipelines.index", **asked.parameters()),
        names=[names.get(pipeline_id, "A pipeline that is gone") for pipeline_id in marked],
        kept=(("action", "disable"), *(("pipeline_id", pipeline_id) for pipeline_id in marked)),
    )


def _set_active(marked: list[UUID], *, is_active: bool) -> None:
    changed = pipelines.set_pipelines_active(pipeline_ids=marked, is_active=is_active, updated_by=actor().name)
    word = "enabled" if is_active else "disabled"
    told = f"{_count(changed)} {word}."
    if changed < len(marked):
        told += f" {len(marked) - changed} {'was' if len(marked) - changed == 1 else 'were'} {word} already."
    flash(told)


def _ingest(marked: list[UUID]) -> None:
    """Ask for an ingestion of each marked pipeline, and tell what became of it in one line."""
    asked_for: Counter[bool] = Counter()
    refused: Counter[str] = Counter()
    for pipeline_id in marked:
        try:
            _, is_new = queue.request_sync(scope=SyncScope(pipeline_id=pipeline_id), requested_by=actor().name)
            asked_for[is_new] += 1
        except (Conflict, NotFound) as err:
            refused[err.message] += 1
        except Unavailable as err:
            refused[err.message] += 1
            break
    told = []
    if asked_for[True]:
        told.append(f"Ingestion of {_count(asked_for[True])} is asked for.")
    if asked_for[False]:
        told.append(f"{_count(asked_for[False])} {'is' if asked_for[False] == 1 else 'are'} being ingested already.")
    if told:
        flash(" ".join(told))
    for message, number in refused.items():
        flash(f"{_count(number)} not ingested: {message}", "problem")


def _count(number: int) -> str:
    return f"{number} {'pipeline' if number == 1 else 'pipelines'}"
