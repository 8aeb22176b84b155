"""``/pipelines/{id}/runs`` and ``/runs``."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from marshmallow import Schema, ValidationError, fields, validate

from chm_web.access.guard import actor
from chm_web.access.permissions import Permission
from chm_web.api.base import (
    ETAG,
    LOCATION,
    ApiBlueprint,
    ErrorSchema,
    NoQuery,
    PageQuery,
    created,
    page_schema,
    reported,
    tagged,
)
from chm_web.models import Run, RunStatus
from chm_web.schemas.base import UtcTime, told
from chm_web.schemas.runs import (
    BatchRunSchema,
    RecordResultSchema,
    RunBatchSchema,
    RunReportSchema,
    RunSchema,
    RunSummarySchema,
)
from chm_web.services import runs
from chm_web.services.paging import Page
from chm_web.services.runs import RecordResult, Rejection, RunFilter, RunRecord, RunSummary

blueprint = ApiBlueprint("api_runs", __name__, description="The history of what ran, and reporting what runs.")

_ONE_OF_PIPELINE = "/pipelines/<uuid:pipeline_id>/runs/<external_id:external_run_id>"


class WindowQuery(Schema):
    """A window of event time."""

    since = UtcTime(
        load_default=None,
        metadata=told("The start of the window of event time, inclusive.", example="2026-11-01T00:00:00Z"),
    )
    until = UtcTime(
        load_default=None,
        metadata=told("Its end, exclusive; later than since.", example="2026-11-08T00:00:00Z"),
    )


class FleetRunQuery(PageQuery, WindowQuery):
    """The parameters of a list of runs of any pipelines."""

    client_id = fields.UUID(load_default=None, metadata=told("Only runs of this client's pipelines."))
    pipeline_id = fields.UUID(load_default=None, metadata=told("Only runs of this pipeline."))
    status = fields.Enum(
        RunStatus, by_value=True, load_default=None, metadata=told("Only runs in this state.", example="failed")
    )


class RunQuery(PageQuery, WindowQuery):
    """The parameters of a list of a pipeline's runs."""

    status = fields.Enum(
        RunStatus, by_value=True, load_default=None, metadata=told("Only runs in this state.", example="failed")
    )
    order = fields.String(
        load_default="desc",
        validate=validate.OneOf(["desc", "asc"]),
        metadata=told("The latest first (desc) or last (asc).", example="desc"),
    )


@blueprint.route("/pipelines/<uuid:pipeline_id>/runs", methods=["GET"], allow=Permission.READ)
@blueprint.arguments(RunQuery, location="query")
@blueprint.response(200, page_schema(RunSchema), description="A page of runs.")
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such pipeline.")
def list_pipeline_runs(query: dict[str, Any], pipeline_id: UUID) -> Page[Run]:
    """List a pipeline's runs, the latest first unless asked otherwise.

    In the order of when they started; runs without a start come last.
    """
    return runs.list_pipeline_runs(pipeline_id=pipeline_id, **query)


@blueprint.route("/pipelines/<uuid:pipeline_id>/runs", methods=["POST"], allow=Permission.OPERATE)
@blueprint.arguments(RunSchema)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(201, RunSchema, headers=ETAG | LOCATION, description="The new run.")
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such pipeline.")
@blueprint.alt_response(409, schema=ErrorSchema, description="The pipeline has this run already.")
def create_run(body: dict[str, Any], query: dict[str, Any], pipeline_id: UUID) -> tuple[Run, dict[str, str]]:
    """Record a run by hand.

    The run must not be known yet; to report one whatever is known of it, use PUT.
    """
    external_run_id = body.pop("external_run_id") or runs.manual_run_id()
    record = RunRecord(pipeline_id=pipeline_id, external_run_id=external_run_id, **body)
    run = runs.create_run(record=record, updated_by=actor().name)
    return created(run, "api_runs.get_run", run_id=run.id)


@blueprint.route("/pipelines/<uuid:pipeline_id>/runs/latest", methods=["GET"], allow=Permission.READ)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(200, RunSchema, headers=ETAG, description="The run.")
@blueprint.alt_response(304, description="The version that If-None-Match names is still the latest.")
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such pipeline, or it has no run.")
def get_latest_run(query: dict[str, Any], pipeline_id: UUID) -> tuple[Run, dict[str, str]]:
    """Give the latest run of a pipeline.

    The one that started last, finished or not.
    """
    return tagged(runs.get_latest_run(pipeline_id=pipeline_id))


@blueprint.route(_ONE_OF_PIPELINE, methods=["GET"], allow=Permission.READ)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(200, RunSchema, headers=ETAG, description="The run.")
@blueprint.alt_response(304, description="The version that If-None-Match names is still the latest.")
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such pipeline, or it has no such run.")
def get_pipeline_run(query: dict[str, Any], pipeline_id: UUID, external_run_id: str) -> tuple[Run, dict[str, str]]:
    """Give a run by the platform's id.

    Percent-encoded, slashes too. One that is called `latest` is reached by its own id, at `/runs/{run_id}`.
    """
    return tagged(runs.get_pipeline_run(pipeline_id=pipeline_id, external_run_id=external_run_id))


@blueprint.route(_ONE_OF_PIPELINE, methods=["PUT"], allow=Permission.REPORT)
@blueprint.arguments(RunReportSchema)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(200, RunSchema, headers=ETAG, description="The run was known; it stands as shown.")
@blueprint.alt_response(201, schema=RunSchema, headers=ETAG, success=True, description="The run is new.")
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such pipeline.")
def report_run(
    body: dict[str, Any], query: dict[str, Any], pipeline_id: UUID, external_run_id: str
) -> tuple[Run, int, dict[str, str]]:
    """Report a run.

    As often as you like: reports of one run are merged field by field in whatever order they come, a repeated one
    changes nothing, and a run that has ended never runs again.
    """
    record = RunRecord(pipeline_id=pipeline_id, external_run_id=external_run_id, **body)
    return reported(*runs.report_run(record=record, updated_by=actor().name))


@blueprint.route("/clients/<uuid:client_id>/runs/summary", methods=["GET"], allow=Permission.READ)
@blueprint.arguments(WindowQuery, location="query")
@blueprint.response(200, RunSummarySchema, description="The summary.")
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such client.")
def summarize_client_runs(query: dict[str, Any], client_id: UUID) -> RunSummary:
    """Sum up a client's runs.

    Those of the window of event time: by default until now, and since 30 days before its end. Disabled pipelines are
    included.
    """
    return runs.summarize_client_runs(client_id=client_id, now=datetime.now(UTC), **query)


@blueprint.route("/runs", methods=["GET"], allow=Permission.READ)
@blueprint.arguments(FleetRunQuery, location="query")
@blueprint.response(200, page_schema(RunSchema), description="A page of runs.")
def list_runs(query: dict[str, Any]) -> Page[Run]:
    """List the runs of all pipelines, the newest first.

    In the order of their event time: when they ended, else when they started, else when they were recorded.
    """
    limit, cursor = query.pop("limit"), query.pop("cursor")
    return runs.list_runs(wanted=RunFilter(**query), limit=limit, cursor=cursor)


@blueprint.route("/runs/<uuid:run_id>", methods=["GET"], allow=Permission.READ)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(200, RunSchema, headers=ETAG, description="The run.")
@blueprint.alt_response(304, description="The version that If-None-Match names is still the latest.")
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such run.")
def get_run(query: dict[str, Any], run_id: UUID) -> tuple[Run, dict[str, str]]:
    """Give one run.

    With `If-None-Match` the answer is 304 as long as nothing has changed.
    """
    return tagged(runs.get_run(run_id=run_id))


@blueprint.route("/runs/batch", methods=["POST"], allow=Permission.REPORT)
@blueprint.arguments(RunBatchSchema)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(200, RecordResultSchema, description="What became of each run.")
def report_runs(body: dict[str, Any], query: dict[str, Any]) -> RecordResult:
    """Report up to 1,000 runs of any pipelines.

    By the same rule as one. A bad one never costs the others: it is told under `rejected`.
    """
    records, rejected = _checked(body["runs"])
    result = runs.record_runs(records=records.values(), updated_by=actor().name)
    places = list(records)
    rejected += [replace(each, index=places[each.index]) for each in result.rejected]
    return replace(result, rejected=tuple(sorted(rejected, key=lambda each: each.index)))


def _checked(items: list[Any]) -> tuple[dict[int, RunRecord], list[Rejection]]:
    """Check each item by itself: the good ones by their places, and why the others are none."""
    schema = BatchRunSchema()
    records: dict[int, RunRecord] = {}
    rejected = []
    for index, item in enumerate(items):
        try:
            records[index] = RunRecord(**schema.load(item))
        except ValidationError as err:
            field, found = next(iter(err.messages_dict.items()))
            name = item.get("external_run_id") if isinstance(item, dict) else None
            shown = name[:200] if isinstance(name, str) else None
            rejected.append(Rejection(index, None, shown, "body" if field == "_schema" else field, found[0]))
    return records, rejected
