"""The API's document, and Swagger UI to read it by."""

from __future__ import annotations

import json
from typing import Any

from flask import Blueprint, Flask, Response, current_app, render_template

blueprint = Blueprint("api_docs", __name__)

EXTENSION = "chm-api-document"
"""Where an app keeps what makes the document of its API."""


def api_document(app: Flask) -> dict[str, Any]:
    """Give the OpenAPI document of the app's API."""
    document: dict[str, Any] = app.extensions[EXTENSION]()
    return document


@blueprint.get("/openapi.json")
def openapi_json() -> Response:
    """Serve the document."""
    return Response(json.dumps(api_document(current_app), indent=2), mimetype="application/json")


@blueprint.get("/docs")
def swagger_ui() -> str:
    """Show the document in Swagger UI, from our own files and under the policy of every other page."""
    return render_template("api/docs.html")
