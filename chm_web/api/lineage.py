"""``/lineage``: OpenLineage events, as the clients of that standard send them."""

from __future__ import annotations

import io
import zlib
from typing import Any

import flask
from marshmallow import fields, validate
from webargs.flaskparser import abort

from chm_web.access.guard import actor
from chm_web.access.permissions import Permission
from chm_web.api.base import ApiBlueprint, AsItComes, JsonParser, NoQuery
from chm_web.ingestion.lineage import LineageResult, take_events
from chm_web.models import EXTERNAL_ID_MAX_LENGTH
from chm_web.schemas.base import UtcTime, told
from chm_web.schemas.runs import MAX_BATCH, RecordResultSchema
from chm_web.services.exceptions import FieldIssue, Invalid

_GZIP = 16 + zlib.MAX_WBITS


class _UnpackingParser(JsonParser):
    """Reads bodies that are packed by gzip, too."""

    def _raw_load_json(self, req: flask.Request) -> Any:
        return super()._raw_load_json(_unpacked(req))


def _unpacked(request: flask.Request) -> flask.Request:
    """Give the request as it were without a Content-Encoding; its size is limited unpacked as it is packed."""
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return request
    if encoding not in ("gzip", "x-gzip"):
        flask.abort(415, "Send the body as it is or packed by gzip.")
    limit = flask.current_app.config["MAX_CONTENT_LENGTH"]
    unpacker = zlib.decompressobj(_GZIP)
    try:
        body = unpacker.decompress(request.get_data(), limit + 1)
    except zlib.error as err:
        abort(400, exc=err, messages={"json": ["Not valid gzip."]})
    if len(body) > limit:
        flask.abort(413)
    if not unpacker.eof or unpacker.unused_data:
        abort(400, messages={"json": ["Not valid gzip: it is cut short, or more follows its end."]})
    return flask.Request({**request.environ, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))})


class LineageBlueprint(ApiBlueprint):
    """A blueprint that takes packed bodies."""

    ARGUMENTS_PARSER = _UnpackingParser()


class LineageRunSchema(AsItComes):
    """The run that an event is of."""

    runId = fields.String(  # noqa: N815 - OpenLineage's name
        required=True,
        validate=validate.Length(1, EXTERNAL_ID_MAX_LENGTH),
        metadata=told("The producer's id of the run. Airflow's own id, in the facet airflowDagRun, goes before it."),
    )
    facets = fields.Raw(metadata=told("What is known of the run: its parent, its error, its nominal time."))


class LineageJobSchema(AsItComes):
    """The job that a run is of."""

    namespace = fields.String(allow_none=True, metadata=told("Where the job is defined."))
    name = fields.String(
        required=True,
        validate=validate.Length(1),
        metadata=told("Its name: a pipeline's external id is `{namespace}/{name}` or the name alone."),
    )
    facets = fields.Raw(metadata=told("What is known of the job: its type."))


class LineageEventSchema(AsItComes):
    """An OpenLineage event (spec 2-0-2). Those of jobs and datasets have no run; they are accepted and ignored.

    An event with a run has a job too. What is not needed to find the run is taken whatever it looks like.
    """

    eventType = fields.String(  # noqa: N815
        allow_none=True,
        metadata=told("START, RUNNING, COMPLETE, FAIL, ABORT; any other says nothing of the run's state."),
    )
    eventTime = UtcTime(required=True, metadata=told("When it happened, by the producer's clock."))  # noqa: N815
    run = fields.Nested(LineageRunSchema, metadata=told("The run; events of jobs and datasets have none."))
    job = fields.Nested(LineageJobSchema, metadata=told("The job that the run is of."))
    inputs = fields.Raw(metadata=told("The datasets that were read."))
    outputs = fields.Raw(metadata=told("The datasets that were written, with the numbers of rows."))
    producer = fields.Raw(metadata=told("The program that sends the event."))


class LineageResultSchema(RecordResultSchema):
    """What became of events: counts, and why those that were rejected were."""

    unmapped = fields.Integer(metadata=told("Events of no pipeline, or of several: see `/ingestion/unmapped`."))
    ignored = fields.Integer(metadata=told("Events that are accepted and tell nothing of a pipeline's run."))


blueprint = LineageBlueprint("api_lineage", __name__, description="Runs that OpenLineage producers report.")


@blueprint.route("/lineage", methods=["POST"], allow=Permission.REPORT)
@blueprint.arguments(LineageEventSchema)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(201, LineageResultSchema, description="What became of the event.")
def take_event(body: Any, query: dict[str, Any]) -> LineageResult:
    """Take an OpenLineage event.

    Events may come in any order and any number of times, plain or with `Content-Encoding: gzip`. One of no pipeline is
    accepted too, and counted as unmapped.
    """
    result = take_events(events=[body], reported_by=actor().name)
    for rejection in result.rejected:
        raise Invalid("The event is not valid.", (FieldIssue(rejection.field, rejection.issue),))
    return result


@blueprint.route("/lineage/batch", methods=["POST"], allow=Permission.REPORT)
@blueprint.arguments(LineageEventSchema(many=True))
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(200, LineageResultSchema, description="What became of the events.")
def take_batch(body: Any, query: dict[str, Any]) -> LineageResult:
    """Take up to 1,000 OpenLineage events.

    A bad one is rejected by itself and never costs the others.
    """
    if not isinstance(body, list):
        raise Invalid("The body is not valid.", (FieldIssue("body", "Must be an array of events."),))
    if len(body) > MAX_BATCH:
        raise Invalid("The batch is too long.", (FieldIssue("body", f"Must not hold more than {MAX_BATCH:,} events."),))
    return take_events(events=body, reported_by=actor().name)
