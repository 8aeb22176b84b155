"""``/lineage``: OpenLineage events, as the clients of that standard send them."""

from __future__ import annotations

import io
import zlib
from typing import Any

import flask
from marshmallow import INCLUDE, Schema, fields
from webargs.flaskparser import abort

from chm_web.access.guard import actor
from chm_web.access.permissions import Permission
from chm_web.api.base import ApiBlueprint, ErrorSchema, JsonParser, NoQuery
from chm_web.ingestion.lineage import LineageResult, take_events
from chm_web.schemas import MAX_BATCH, RecordResultSchema
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


class _AsItComes(Schema):
    """Described here, but taken as it comes: the mapper is the one that checks events."""

    class Meta:
        """The standard grows: unknown fields are no errors."""

        unknown = INCLUDE

    def load(self, data: Any, **kwargs: Any) -> Any:
        """Give what came."""
        return data


class LineageRunSchema(_AsItComes):
    """The run that an event is of."""

    runId = fields.String(required=True)  # noqa: N815 - OpenLineage's name
    facets = fields.Dict()


class LineageJobSchema(_AsItComes):
    """The job that a run is of."""

    namespace = fields.String()
    name = fields.String(required=True)
    facets = fields.Dict()


class LineageEventSchema(_AsItComes):
    """An OpenLineage event (spec 2-0-2). Those of jobs and datasets have no run; they are accepted and ignored."""

    eventType = fields.String(  # noqa: N815
        metadata={"description": "START, RUNNING, COMPLETE, FAIL, ABORT; any other says nothing of the run's state."}
    )
    eventTime = fields.DateTime(required=True)  # noqa: N815
    run = fields.Nested(LineageRunSchema)
    job = fields.Nested(LineageJobSchema)
    inputs = fields.List(fields.Dict())
    outputs = fields.List(fields.Dict())
    producer = fields.String()


class LineageResultSchema(RecordResultSchema):
    """What became of events: counts, and why those that were rejected were."""

    unmapped = fields.Integer(metadata={"description": "Of no pipeline, or of several; see /ingestion/unmapped."})
    ignored = fields.Integer(metadata={"description": "Accepted, and no event of a pipeline's run."})


blueprint = LineageBlueprint("api_lineage", __name__, description="OpenLineage")


@blueprint.route("/lineage", methods=["POST"], allow=Permission.REPORT)
@blueprint.arguments(LineageEventSchema)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(201, LineageResultSchema)
@blueprint.alt_response(413, schema=ErrorSchema, description="The body is too large, packed or unpacked.")
@blueprint.alt_response(415, schema=ErrorSchema, description="The body is not JSON, or packed by something but gzip.")
@blueprint.alt_response(503, schema=ErrorSchema, description="The database does not answer; send it again.")
def take_event(body: Any, query: dict[str, Any]) -> LineageResult:
    """Take an OpenLineage event. It may come in any order and any number of times, plain or packed by gzip."""
    result = take_events(events=[body], reported_by=actor().name)
    for rejection in result.rejected:
        raise Invalid("The event is not valid.", (FieldIssue(rejection.field, rejection.issue),))
    return result


@blueprint.route("/lineage/batch", methods=["POST"], allow=Permission.REPORT)
@blueprint.arguments(LineageEventSchema(many=True))
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(200, LineageResultSchema)
@blueprint.alt_response(413, schema=ErrorSchema, description="The body is too large, packed or unpacked.")
@blueprint.alt_response(415, schema=ErrorSchema, description="The body is not JSON, or packed by something but gzip.")
@blueprint.alt_response(503, schema=ErrorSchema, description="The database does not answer; send it again.")
def take_batch(body: Any, query: dict[str, Any]) -> LineageResult:
    """Take up to 1,000 OpenLineage events. A bad one is rejected by itself and never costs the others."""
    if not isinstance(body, list):
        raise Invalid("The body is not valid.", (FieldIssue("body", "Must be an array of events."),))
    if len(body) > MAX_BATCH:
        raise Invalid("The batch is too long.", (FieldIssue("body", f"Must not hold more than {MAX_BATCH:,} events."),))
    return take_events(events=body, reported_by=actor().name)
