"""Ingestion: its sources and jobs, what nobody has registered, and "Ingest now" with its progress."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from flask import Response, abort, current_app, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from chm_web.access.guard import actor
from chm_web.access.permissions import Permission
from chm_web.config import Config
from chm_web.ingestion import queue
from chm_web.ingestion.problems import behind_since
from chm_web.ingestion.progress import SyncScope
from chm_web.services import clients, naming, pipelines
from chm_web.services.exceptions import Conflict, NotFound, Unavailable
from chm_web.web import asked
from chm_web.web.banner import problems_now
from chm_web.web.blueprints import PageBlueprint
from chm_web.web.exports import csv_response
from chm_web.web.panel import IngestPanel, panel_for_job, panel_for_scope

blueprint = PageBlueprint("ingestion", __name__, url_prefix="/ingestion")
blueprint.add_app_template_global(problems_now, "ingestion_problems")

JOBS = 20
UNMAPPED = 10
REJECTED = 10_000
BEGUN_EVENT = "chm:ingesting"
ENDED_EVENT = "chm:ingested"
_GONE = "This ingestion is no longer known: ingestions are kept for 7 days."


@blueprint.get("", allow=Permission.READ)
def index() -> str:
    """Show the sources, the jobs and what is reported of no pipeline. For everyone who is signed in."""
    return render_template("ingestion/index.html", panel=panel_for_scope(SyncScope()), **_going_on(), **_unmapped())


@blueprint.get("/state", allow=Permission.READ)
def state() -> str:
    """Show the sources and jobs alone, for the page's own refresh. For everyone who is signed in."""
    return render_template("ingestion/_state.html", **_going_on())


@blueprint.get("/banner", allow=Permission.READ)
def banner() -> str:
    """Show what is wrong with ingestion alone, for every page's own refresh. For everyone who is signed in."""
    return render_template("ingestion/_banner.html")


@blueprint.post("/sync", allow=Permission.OPERATE)
def sync() -> BaseResponse:
    """Start an ingestion, or join the one that runs, and lead to its progress. For operators and admins."""
    scope = _scope(request.form)
    try:
        job, _ = queue.request_sync(scope=scope, requested_by=actor().name)
    except (Conflict, Unavailable) as err:
        panel = IngestPanel(scope=scope, problem=err.message, refused=True)
        page = render_template("ingestion/refused.html", panel=panel, **_subject(scope))
        return make_response(page, 503 if isinstance(err, Unavailable) else 409)
    return redirect(url_for("ingestion.job", job_id=job.id), code=303)


@blueprint.get("/panel", allow=Permission.READ)
def panel() -> str:
    """Show the "Ingest now" panel of a page alone, for its own refresh. For everyone who is signed in."""
    scope = _scope(request.args)
    return render_template("ingestion/_panel.html", panel=panel_for_scope(scope))


@blueprint.get("/jobs/<job_id>", allow=Permission.READ)
def job(job_id: str) -> Response:
    """Show one ingestion: its progress or its result, by source. For everyone who is signed in."""
    found = queue.get_job(job_id=job_id)
    page = render_template("ingestion/job.html", job=found, panel=panel_for_job(found), **_subject(found.scope))
    response = _tell_when_ended(make_response(page), ended=not found.state.is_live)
    if found.state.is_live:
        response.headers["HX-Trigger"] = BEGUN_EVENT
    return response


@blueprint.get("/jobs/<job_id>/rejected.csv", allow=Permission.READ)
def rejected(job_id: str) -> Response:
    """Give the runs that an ingestion rejected as a file. For everyone who is signed in."""
    runs = queue.list_rejected(job_id=job_id, limit=REJECTED)
    names = naming.name_pipelines(pipeline_ids={run.pipeline_id for run in runs if run.pipeline_id})
    rows = (
        (run.source, names.get(run.pipeline_id) if run.pipeline_id else None, run.external_run_id, run.reason)
        for run in runs
    )
    return csv_response("rejected-runs", ("source", "pipeline", "external_run_id", "reason"), rows)


@blueprint.get("/jobs/<job_id>/progress", allow=Permission.READ)
def progress(job_id: str) -> Response:
    """Show one ingestion's panel alone; it asks for itself again until the end. For everyone who is signed in."""
    try:
        found = queue.get_job(job_id=job_id)
        shown, status = panel_for_job(found), 200
    except NotFound:
        shown, status = IngestPanel(scope=_scope(request.args), problem=_GONE), 404
    except Unavailable as err:
        # The job goes on without us: keep asking, so that the progress comes back by itself.
        shown, status = IngestPanel(scope=_scope(request.args), problem=err.message, job_id=job_id), 503
    page = make_response(render_template("ingestion/_panel.html", panel=shown), status)
    return _tell_when_ended(page, ended=status == 200 and shown.job_id is None)


def _going_on() -> dict[str, Any]:
    """Read the sources and a page of jobs; ``problem`` says why they cannot be read."""
    now = datetime.now(UTC)
    config: Config = current_app.config["CHM"]
    every = timedelta(seconds=config.ingest_every_seconds)
    shown: dict[str, Any] = {"now": now, "every": every, "jobs": []}
    try:
        queue.ping(hastily=True)
        signs = queue.read_signs()
        found = queue.latest_jobs(limit=JOBS + 1, after=asked.text("after"))
        shown |= {"signs": signs, "workers": queue.count_live_workers()}
    except Unavailable as err:
        return {**shown, "problem": err.message, "next_cursor": None, "is_live": False}
    jobs = found[:JOBS]
    return {
        **shown,
        "jobs": jobs,
        "rhythms": queue.rhythms_of(signs, now=now, every=every),
        "behind": {one.source.name for one in signs.sources if behind_since(one, now=now, every=every)},
        "problem": None,
        "next_cursor": jobs[-1].id if len(found) > JOBS else None,
        "is_live": any(job.state.is_live for job in jobs),
        "client_names": naming.name_clients(client_ids={job.scope.client_id for job in jobs if job.scope.client_id}),
        "pipeline_names": naming.name_pipelines(
            pipeline_ids={job.scope.pipeline_id for job in jobs if job.scope.pipeline_id}
        ),
    }


def _unmapped() -> dict[str, Any]:
    try:
        queue.ping(hastily=True)
        names = queue.list_unmapped()
    except Unavailable:  # told above it
        return {"unmapped": None}
    return {"unmapped_count": len(names), "unmapped": names if request.args.get("unmapped") else names[:UNMAPPED]}


def _tell_when_ended(response: Response, *, ended: bool) -> Response:
    if ended:
        response.headers["HX-Trigger"] = ENDED_EVENT
    return response


def _scope(values: Any) -> SyncScope:
    try:
        client_id = UUID(values["client_id"]) if values.get("client_id") else None
        pipeline_id = UUID(values["pipeline_id"]) if values.get("pipeline_id") else None
    except ValueError:
        abort(400, description="The client or the pipeline is not given by its id.")
    return SyncScope(client_id=client_id, pipeline_id=pipeline_id, source=values.get("source") or None)


def _subject(scope: SyncScope) -> dict[str, Any]:
    """Name what a scope covers, and where its page is."""
    try:
        if scope.pipeline_id is not None:
            name = pipelines.get_pipeline(pipeline_id=scope.pipeline_id).name
            return {"subject": name, "back": url_for("pipelines.show", pipeline_id=scope.pipeline_id)}
        if scope.client_id is not None:
            name = clients.get_client(client_id=scope.client_id).name
            return {"subject": name, "back": url_for("clients.show", client_id=scope.client_id)}
    except NotFound:  # an old ingestion of something that is gone
        pass
    return {"subject": scope.source or "All clients", "back": url_for("ingestion.index")}
