"""The REST API under ``/api/v1``, one module a resource. Each route says by ``allow=`` what it asks for."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from flask import Flask
from flask_smorest import Api
from marshmallow import Schema

from chm_web.access.guard import declare
from chm_web.access.permissions import Permission
from chm_web.api import alert_rules, clients, dbt, docs, ingestion, lineage, pipelines, runs, sources
from chm_web.api.base import ErrorSchema, ExternalId
from chm_web.api.document import complete_document
from chm_web.config import Config
from chm_web.extensions import csrf

PREFIX = "/api/v1"


class _Converter(OpenAPIConverter):
    """Takes a schema's docstring for its description, too."""

    def schema2jsonschema(self, schema: Schema) -> dict[str, Any]:
        described: dict[str, Any] = super().schema2jsonschema(schema)  # type: ignore[no-untyped-call]
        return {**described, "description": inspect.getdoc(schema)}


class _MarshmallowPlugin(MarshmallowPlugin):
    Converter = _Converter


class _Api(Api):  # type: ignore[misc]
    ERROR_SCHEMA = ErrorSchema
    # Every operation names the errors that it can give.
    DEFAULT_ERROR_RESPONSE_NAME = None


def init_app(app: Flask) -> None:
    """Register the API and its document."""
    # The document is completed before it is served, so the extension itself serves none.
    app.config.update(API_TITLE="CHM", API_VERSION="v1", OPENAPI_VERSION="3.0.3", OPENAPI_URL_PREFIX=None)
    app.url_map.converters["external_id"] = ExternalId
    # An external id may begin with a slash or hold several in a row.
    app.url_map.merge_slashes = False
    api = _Api(app, spec_kwargs={"marshmallow_plugin": _MarshmallowPlugin()})
    api.register_converter(ExternalId, ExternalId.describe)
    for module in (clients, pipelines, runs, dbt, alert_rules, ingestion, sources, lineage):
        api.register_blueprint(module.blueprint, url_prefix=PREFIX)
        # The guard asks for the CSRF token where it is a session that authorises, and a token needs none.
        csrf.exempt(module.blueprint)
    # Made when it is first asked for: workers and most commands never ask.
    app.extensions[docs.EXTENSION] = cache(lambda: complete_document(api.spec.to_dict(), prefix=PREFIX))
    app.register_blueprint(docs.blueprint, url_prefix=PREFIX)
    config: Config = app.config["CHM"]
    reading = Permission.PUBLIC if config.api_docs_public else Permission.READ
    declare(app, "api_docs.openapi_json", reading)
    declare(app, "api_docs.swagger_ui", reading, is_page=True)
