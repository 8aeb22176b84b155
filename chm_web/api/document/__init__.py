"""The API's OpenAPI document: what flask-smorest gathers from the routes, completed with what holds for all of them.

Errors, headers, examples and the split into what is sent and what is answered are decided here, so that no route has
to repeat them; a route states what is its own: its parameters, its answers, and why it says 404, 409 or 412.
"""

from __future__ import annotations

import copy
from typing import Any

from chm_web.api.document.examples import add_examples
from chm_web.api.document.info import INFO, SECURITY_SCHEMES, SERVERS
from chm_web.api.document.links import add_links
from chm_web.api.document.operations import complete_operation, tag_of
from chm_web.api.document.responses import COMMON, HEADERS
from chm_web.api.document.schemas import name_enums, split_directions

__all__ = ["complete_document"]


def complete_document(gathered: dict[str, Any], *, prefix: str) -> dict[str, Any]:
    """Make the whole document of what was gathered, in an order that is always the same.

    Args:
        gathered: the document as flask-smorest makes it; it is left as it is.
        prefix: what all its paths begin with; it becomes the server's address.
    """
    gathered = copy.deepcopy(gathered)
    paths = {path.removeprefix(prefix): item for path, item in gathered["paths"].items()}
    for path, item in paths.items():
        shared = item.pop("parameters", [])
        for method in list(item):
            item[method] = complete_operation(item[method], path=path, method=method, path_parameters=shared)
    schemas = {
        name: schema for name, schema in gathered["components"]["schemas"].items() if name != "PaginationMetadata"
    }
    document = {
        "openapi": gathered["openapi"],
        "info": INFO,
        "servers": SERVERS,
        "security": [{"bearerAuth": []}],
        "tags": [{"name": tag_of(tag["name"]), "description": tag["description"]} for tag in gathered["tags"]],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": copy.deepcopy(COMMON),
            "headers": copy.deepcopy(HEADERS),
            "securitySchemes": SECURITY_SCHEMES,
        },
    }
    split_directions(document)
    add_examples(document)
    name_enums(document)
    add_links(document)
    document["components"]["schemas"] = dict(sorted(document["components"]["schemas"].items()))
    return document
