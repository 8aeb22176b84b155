"""What the API's modules share: the parser that answers 400, the error envelope, the parameters of lists."""

from __future__ import annotations

import json
from typing import Any

import flask
from flask_smorest import Blueprint
from marshmallow import RAISE, Schema, fields, validate
from webargs.flaskparser import FlaskParser, abort

from chm_web.schemas import Text

MAX_LIMIT = 1000
DEFAULT_LIMIT = 100
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class ErrorDetailSchema(Schema):
    """One thing that is wrong with one field."""

    field = fields.String(required=True)
    issue = fields.String(required=True)


class ErrorBodySchema(Schema):
    """What went wrong."""

    code = fields.String(required=True)
    message = fields.String(required=True)
    details = fields.List(fields.Nested(ErrorDetailSchema), required=True)


class ErrorSchema(Schema):
    """The envelope of every error."""

    error = fields.Nested(ErrorBodySchema, required=True)


class _Parser(FlaskParser):
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


class ApiBlueprint(Blueprint):  # type: ignore[misc]
    """A blueprint whose invalid input is 400, and whose unknown fields and parameters are invalid."""

    ARGUMENTS_PARSER = _Parser()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.before_request(_refuse_foreign_bodies)


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


class NoQuery(Schema):
    """A route without query parameters."""


class PageQuery(Schema):
    """The parameters of every list."""

    limit = fields.Integer(
        load_default=DEFAULT_LIMIT,
        validate=validate.Range(1, MAX_LIMIT),
        metadata={"description": f"Items a page, 1 to {MAX_LIMIT}."},
    )
    cursor = Text(load_default=None, metadata={"description": "The next_cursor of the page before."})


class SearchQuery(PageQuery):
    """The parameters of a list of named things."""

    is_active = fields.Boolean(load_default=None, metadata={"description": "Only enabled or only disabled ones."})
    q = Text(load_default=None, metadata={"description": "Only names that contain this, ignoring case."})


def page_schema(item: type[Schema]) -> type[Schema]:
    """Make the schema of a page of ``item``."""
    name = item.__name__.removesuffix("Schema") + "Page"
    members: dict[str, fields.Field[Any]] = {
        "items": fields.List(fields.Nested(item), required=True),
        "next_cursor": fields.String(required=True, allow_none=True),
    }
    return Schema.from_dict(members, name=name)
