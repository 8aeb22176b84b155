"""Runs: those of all clients, everything about one, and recording one by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flask import Response, flash, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from chm_web.access.guard import actor
from chm_web.access.permissions import Permission
from chm_web.models import Platform, Run, RunStatus
from chm_web.schemas.runs import RunSchema
from chm_web.services import clients, health, pipeline_history, pipelines, run_lists, runs
from chm_web.services.run_lists import RunFilter
from chm_web.services.runs import RunRecord
from chm_web.web import asked, forms
from chm_web.web.asked import Window
from chm_web.web.blueprints import PageBlueprint
from chm_web.web.exports import csv_response
from chm_web.web.formats import words
from chm_web.web.options import client_options
from chm_web.web.pipeline_page import STATUS_FILTERS, asked_filters

blueprint = PageBlueprint("runs", __name__)

RUNS_A_PAGE = 50
DEFAULT_WINDOW = "7d"
MAX_CSV_ROWS = 100_000
STATUSES = [(status, words(status)) for status in STATUS_FILTERS]

_CSV_HEADER = (
    *("status", "pipeline", "client", "platform", "external_run_id", "started_at", "finished_at"),
    *("duration_seconds", "rows_processed", "error", "run_id"),
)


@blueprint.get("/runs", allow=Permission.READ)
def index() -> str:
    """List the runs of all clients in a window of time, the newest first. For everyone who is signed in."""
    now = datetime.now(UTC)
    window = _window(now)
    wanted = _wanted(window)
    cursor = request.args.get("cursor")
    return render_template(
        "runs/index.html",
        now=now,
        window=window,
        wanted=wanted,
        runs=run_lists.list_named_runs(wanted=wanted, limit=RUNS_A_PAGE, cursor=cursor),
        clients=client_options(),
        pipeline=wanted.pipeline_id and pipelines.get_pipeline(pipeline_id=wanted.pipeline_id),
        platforms=[(platform, words(platform)) for platform in Platform],
        status_filters=STATUSES,
        max_csv_rows=MAX_CSV_ROWS,
        error_days=run_lists.ERROR_SEARCH.days,
    )


@blueprint.get("/runs.csv", allow=Permission.READ)
def index_csv() -> Response:
    """Give the newest of these runs as a file, at most so many. For everyone who is signed in."""
    now = datetime.now(UTC)
    found = run_lists.read_runs(wanted=_wanted(_window(now)), limit=MAX_CSV_ROWS)
    rows = (_csv_row(run, run.pipeline.name, run.pipeline.client.name, run.pipeline.platform) for run in found)
    return csv_response(f"runs-{now:%Y-%m-%d}", _CSV_HEADER, rows)


@blueprint.get("/pipelines/<uuid:pipeline_id>/runs.csv", allow=Permission.READ)
def pipeline_csv(pipeline_id: UUID) -> Response:
    """Give the latest runs of one pipeline as a file, at most so many. For everyone who is signed in."""
    pipeline = pipelines.get_pipeline(pipeline_id=pipeline_id)
    client = clients.get_client(client_id=pipeline.client_id)
    found = run_lists.read_pipeline_runs(pipeline_id=pipeline_id, limit=MAX_CSV_ROWS, **asked_filters())
    names = (pipeline.name, client.name, pipeline.platform)
    return csv_response(f"runs-of-{pipeline_id}", _CSV_HEADER, _csv_rows(found, names))


@blueprint.get("/runs/<uuid:run_id>", allow=Permission.READ)
def show(run_id: UUID) -> str:
    """Show everything about one run, with its neighbours by event time. For everyone who is signed in."""
    run = runs.get_named_run(run_id=run_id)
    recent = health.list_recent_runs(pipeline_id=run.pipeline_id, limit=pipeline_history.RECENT)
    return render_template(
        "runs/show.html",
        now=datetime.now(UTC),
        run=run,
        error=runs.error_of(run),
        around=pipeline_history.runs_around(run),
        usual=pipeline_history.usual_duration(recent),
        payload=None if run.payload is None else json.dumps(run.payload, indent=2, ensure_ascii=False),
    )


@blueprint.get("/pipelines/<uuid:pipeline_id>/runs/new", allow=Permission.OPERATE)
def new(pipeline_id: UUID) -> str:
    """Show the form to record a run by hand. For operators and admins."""
    return _form(pipeline_id, values={"status": RunStatus.SUCCESS}, issues={})


@blueprint.post("/pipelines/<uuid:pipeline_id>/runs/new", allow=Permission.OPERATE)
def create(pipeline_id: UUID) -> BaseResponse:
    """Record a run by hand, and lead to it. For operators and admins."""
    body, issues = forms.read(RunSchema(exclude=("payload",)), request.form)
    made: list[Run] = []
    if not issues:
        external_run_id = body.pop("external_run_id") or runs.manual_run_id()
        record = RunRecord(pipeline_id=pipeline_id, external_run_id=external_run_id, **body)
        issues = forms.attempt(lambda: made.append(runs.create_run(record=record, updated_by=actor().name)))
    if issues:
        return make_response(_form(pipeline_id, values=forms.shown(request.form), issues=issues), 422)
    flash("The run is recorded.")
    return redirect(url_for("runs.show", run_id=made[0].id), code=303)


def _form(pipeline_id: UUID, *, values: dict[str, Any], issues: forms.Issues) -> str:
    pipeline = pipelines.get_pipeline(pipeline_id=pipeline_id)
    client = clients.get_client(client_id=pipeline.client_id)
    return render_template(
        "runs/new.html", pipeline=pipeline, client=client, values=values, issues=issues, statuses=STATUSES
    )


def _window(now: datetime) -> Window:
    return asked.window(now=now, default=DEFAULT_WINDOW)


def _wanted(window: Window) -> RunFilter:
    error, since = asked.text("error"), window.since
    if error is not None:
        # Of a longer time the end is searched, and the page says so.
        since = max(since, window.until - run_lists.ERROR_SEARCH)
    return RunFilter(
        client_id=asked.uuid("client_id"),
        pipeline_id=asked.uuid("pipeline_id"),
        platform=asked.one_of("platform", Platform),
        q=asked.text("q"),
        status=asked.one_of("status", RunStatus),
        since=since,
        until=window.until,
        error=error,
    )


def _csv_rows(found: Iterable[Run], names: tuple[str, str, str]) -> Iterator[list[Any]]:
    return (_csv_row(run, *names) for run in found)


def _csv_row(run: Run, pipeline: str, client: str, platform: str) -> list[Any]:
    return [
        run.status,
        pipeline,
        client,
        platform,
        run.external_run_id,
        run.started_at,
        run.finished_at,
        run.duration_seconds,
        run.rows_processed,
        runs.summarize_error(runs.error_of(run)),
        run.id,
    ]
