"""The REST API under ``/api/v1``, one module a resource. Each route says by ``allow=`` what it asks for."""

from __future__ import annotations

from flask import Flask
from flask_smorest import Api

from chm_web.access.guard import declare
from chm_web.access.permissions import Permission
from chm_web.api import alert_rules, clients, ingestion, lineage, pipelines, runs
from chm_web.api.base import ErrorSchema, ExternalId
from chm_web.config import Config
from chm_web.extensions import csrf

PREFIX = "/api/v1"


class _Api(Api):  # type: ignore[misc]
    ERROR_SCHEMA = ErrorSchema


def init_app(app: Flask) -> None:
    """Register the API and its document."""
    app.config.update(
        API_TITLE="CHM",
        API_VERSION="v1",
        OPENAPI_VERSION="3.0.3",
        OPENAPI_URL_PREFIX=PREFIX,
        OPENAPI_JSON_PATH="openapi.json",
    )
    app.url_map.converters["external_id"] = ExternalId
    # An external id may begin with a slash or hold several in a row.
    app.url_map.merge_slashes = False
    api = _Api(app)
    config: Config = app.config["CHM"]
    declare(app, "api-docs.openapi_json", Permission.PUBLIC if config.api_docs_public else Permission.READ)
    for module in (clients, pipelines, runs, alert_rules, ingestion, lineage):
        api.register_blueprint(module.blueprint, url_prefix=PREFIX)
        # No cookie authorises anything here, and ApiBlueprint refuses what a foreign page could still send.
        csrf.exempt(module.blueprint)
