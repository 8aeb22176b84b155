"""What the API's modules share: the parser that answers 400, the error envelope, versions, the parameters of lists."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, TypeVar

import flask
from flask_smorest import Blueprint
from marshmallow import INCLUDE, RAISE, ValidationError, fields, missing, validate
from webargs.flaskparser import FlaskParser, abort
from werkzeug.http import parse_etags
from werkzeug.routing import BaseConverter

from chm_web.access.guard import Guarded, declared_access
from chm_web.access.permissions import scopes_with
from chm_web.api.document.responses import EXAMPLE_ETAG, header
from chm_web.errors import CODES
from chm_web.json_answers import Schema
from chm_web.models import EXTERNAL_ID_MAX_LENGTH
from chm_web.schemas.base import Bounds, Text, told
from chm_web.services.versions import Versioned, version_of

MAX_LIMIT = 1000
DEFAULT_LIMIT = 100
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

ETAG = {"ETag": header("ETag")}
"""How an answer with a version is described in the document."""

LOCATION = {"Location": header("Location")}
"""How an answer that names an address is described in the document."""

V = TypeVar("V", bound=Versioned)


class ErrorDetailSchema(Schema):
    """One thing that is wrong with one field."""

    field = fields.String(
        required=True, metadata=told("The field or parameter; `body` when it is the body as a whole.")
    )
    issue = fields.String(required=True, metadata=told("What is wrong with it."))


class ErrorBodySchema(Schema):
    """What went wrong."""

    code = fields.String(
        required=True, validate=validate.OneOf(list(CODES.values())), metadata=told("The kind of error, for programs.")
    )
    message = fields.String(required=True, metadata=told("What went wrong, for people."))
    details = fields.List(
        fields.Nested(ErrorDetailSchema), required=True, metadata=told("What is wrong with which field; may be empty.")
    )


class ErrorSchema(Schema):
    """The envelope of every error."""

    error = fields.Nested(ErrorBodySchema, required=True, metadata=told("What went wrong."))


class JsonParser(FlaskParser):
    """Answers 400 to what is invalid, unknown fields and parameters included."""

    DEFAULT_VALIDATION_STATUS = 400
    DEFAULT_UNKNOWN_BY_LOCATION: dict[str, str | None] = {  # noqa: RUF012 - as the base class declares it
        **FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION,
        "query": RAISE,
        "json": RAISE,
    }

    def _raw_load_json(self, req: flask.Request) -> Any:
        try:
            return super()._raw_load_json(req)
        except json.JSONDecodeError:
            # The parser tells an empty body, which may be fine, from a malformed one.
            raise
        except (RecursionError, ValueError) as err:
            # Nested too deeply, a number too long, bytes that are no UTF-8: not JSON that anyone means.
            abort(400, exc=err, messages={"json": ["Invalid JSON body."]})


class AsItComes(Schema):
    """Described here, but taken as it comes: the mapper is the one that checks it."""

    class Meta:
        """What others define grows: unknown fields are no errors."""

        unknown = INCLUDE

    def load(self, data: Any, **kwargs: Any) -> Any:
        """Give what came."""
        return data


class ApiBlueprint(Guarded, Blueprint):  # type: ignore[misc]
    """A blueprint whose invalid input is 400, and whose unknown fields and parameters are invalid."""

    ARGUMENTS_PARSER = JsonParser()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.before_request(_refuse_foreign_bodies)
        self.after_request(_leave_out_what_is_known)

    def _store_endpoint_docs(self, endpoint: str, obj: Any, parameters: Any, tags: Any, **options: Any) -> None:
        super()._store_endpoint_docs(endpoint, obj, parameters, tags, **options)
        for method in options.get("methods", ["GET"]):
            # The view's name, which is one of a kind: what generated clients call the operation.
            stated = self._docs[endpoint][method.lower()].setdefault("manual_doc", {})
            stated["operationId"] = endpoint
            access = declared_access(obj)
            stated["x-required-scopes"] = [scope.value for scope in scopes_with(access.permission)]
            stated["x-rate-limited"] = access.is_limited


def _refuse_foreign_bodies() -> None:
    """Take JSON alone, and nothing that a page of another site makes a browser send."""
    request = flask.request
    if request.method in _SAFE_METHODS:
        return
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        flask.abort(403, "Requests from other sites' pages are refused.")
    has_body = bool(request.content_length) or "Transfer-Encoding" in request.headers
    if (has_body or request.content_type) and request.mimetype != "application/json":
        flask.abort(415, "Send the body as application/json.")


def _leave_out_what_is_known(response: flask.Response) -> flask.Response:
    """Answer 304 without a body to a reader who has this version already."""
    request = flask.request
    etag, _ = response.get_etag()
    if request.method in ("GET", "HEAD") and etag is not None and request.if_none_match.contains_weak(etag):
        response.status_code = 304
    return response


def tagged(thing: V) -> tuple[V, dict[str, str]]:
    """Give a thing to answer with, and its version as the ETag."""
    return thing, {"ETag": f'"{version_of(thing)}"'}


def created(thing: V, endpoint: str, **values: Any) -> tuple[V, dict[str, str]]:
    """Give a new thing to answer with, its version, and the address by which ``endpoint`` shows it."""
    shown, headers = tagged(thing)
    return shown, {**headers, "Location": flask.url_for(endpoint, **values)}


def reported(thing: V, is_new: bool) -> tuple[V, int, dict[str, str]]:
    """Give a thing that was reported to answer with, and its version: by 201 if it is new, else by 200."""
    shown, headers = tagged(thing)
    return shown, 201 if is_new else 200, headers


class _SeenVersion(fields.String):
    """An If-Match header, as the version that a service compares; None for any."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        tags = parse_etags(super()._deserialize(value, *args, **kwargs))
        if tags.star_tag:
            return None
        versions = [tag for tag in tags.as_set() if tag]
        if len(versions) > 1:
            raise ValidationError("Name one version, or * for any.")
        # A weak one is none that a change may rest on: no version is empty.
        return versions[0] if versions else ""


class IfMatch(Schema):
    """The header by which a change applies only to the version that its sender saw."""

    if_version = _SeenVersion(
        data_key="If-Match",
        load_default=None,
        metadata=told(
            "The ETag that was seen: 412 when the thing has changed since. `*` for any; left out, the change is made"
            " whatever is there.",
            example=EXAMPLE_ETAG,
            pattern=r'^(\*|(W/)?"[^"]*")$',
        ),
    )


def patch_schema(whole: type[Schema]) -> Schema:
    """Make the schema of a change to a ``whole`` thing: the same rules for what is sent, nothing filled in."""
    name = whole.__name__.removesuffix("Schema") + "PatchSchema"
    schema: Schema = type(name, (whole,), {"__doc__": "What to change; the rest stays as it is."})(partial=True)
    for field in schema.fields.values():
        field.load_default = missing
    return schema


class ExternalId(BaseConverter):
    """A platform's id as the end of a path: any characters, a slash too, wherever it stands."""

    regex = "(?s:.+?)"
    part_isolating = False

    def describe(self) -> dict[str, Any]:
        """Give the schema of the parameter."""
        return {"type": "string", "minLength": 1, "maxLength": EXTERNAL_ID_MAX_LENGTH}


def choice(description: str) -> fields.Boolean:
    """Give a parameter that is true or false, and nothing else that somebody might take for it."""
    return fields.Boolean(truthy={"true"}, falsy={"false"}, load_default=None, metadata=told(description, example=True))


class NoQuery(Schema):
    """A route without query parameters."""


class PageQuery(Schema):
    """The parameters of every list."""

    limit = fields.Integer(
        load_default=DEFAULT_LIMIT,
        validate=Bounds(1, MAX_LIMIT),
        metadata=told(f"Items a page, 1 to {MAX_LIMIT:,}.", example=50),
    )
    cursor = Text(
        load_default=None,
        metadata=told("The `next_cursor` of the page before, with the same filters; left out, the first page."),
    )


class SearchQuery(PageQuery):
    """The parameters of a list of named things."""

    is_active = choice("Only enabled (true) or only disabled ones (false).")
    q = Text(load_default=None, metadata=told("Only names that contain this, ignoring case.", example="orders"))


@cache
def page_schema(item: type[Schema]) -> type[Schema]:
    """Give the schema of a page of ``item``: one and the same for every list of them, as the document names it once."""
    name = item.__name__.removesuffix("Schema") + "Page"
    members: dict[str, fields.Field[Any]] = {
        "items": fields.List(fields.Nested(item), required=True, metadata=told("The items of this page, in order.")),
        "next_cursor": fields.String(
            required=True, allow_none=True, metadata=told("The cursor of the next page; null on the last one.")
        ),
    }
    return type(name, (Schema,), {"__doc__": "One page of a list.", **members})
