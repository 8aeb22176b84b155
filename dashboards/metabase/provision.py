"""Sets Metabase up: a connection as the reader, a collection, the questions in it, and a dashboard of them.

Whatever is there already, by its name, is left alone unless what it should be has changed. Metabase gives a question
back in another form than it was sent in, so the two cannot be compared: a fingerprint in the description tells.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from dashboards.metabase.api import Metabase
from dashboards.metabase.questions import DEFAULT_WINDOW, QUESTIONS, WIDTH, WINDOW, Question

NAME = "CHM"
_WINDOW_TARGET = ["variable", ["template-tag", WINDOW]]


@dataclass(frozen=True, kw_only=True)
class Reader:
    """How Metabase reaches CHM's database."""

    host: str
    database: str
    port: int = 5432
    user: str = "chm_reader"
    password: str = field(repr=False)
    ssl: bool = False


def provision(metabase: Metabase, reader: Reader) -> list[str]:
    """Make or change what is not as it should be, as a signed-in administrator; tells what was done.

    Raises:
        MetabaseError: Metabase refuses, or does not answer.
    """
    done: list[str] = []
    database = _connection(metabase, reader, done)
    collection = _collection(metabase, done)
    found = metabase.get(f"/api/collection/{collection}/items?models=card&models=dashboard&limit=1000")["data"]
    cards = [_put_right(metabase, "card", _card(question, database, collection), found, done) for question in QUESTIONS]
    _put_right(metabase, "dashboard", _dashboard(cards, collection), found, done)
    return done


def _connection(metabase: Metabase, reader: Reader, done: list[str]) -> int:
    body = {
        "engine": "postgres",
        "name": NAME,
        "details": {
            "host": reader.host,
            "port": reader.port,
            "dbname": reader.database,
            "user": reader.user,
            "password": reader.password,
            "ssl": reader.ssl,
            "schema-filters-type": "inclusion",
            "schema-filters-patterns": "reporting",
        },
    }
    there = _named(NAME, metabase.get("/api/database")["data"])
    if there is None:
        done.append("connection made")
        return int(metabase.post("/api/database", body)["id"])
    # Sent every time: a password that was changed cannot be seen from outside.
    metabase.put(f"/api/database/{there['id']}", body)
    return int(there["id"])


def _collection(metabase: Metabase, done: list[str]) -> int:
    there = _named(NAME, metabase.get("/api/collection"))
    if there is None:
        done.append("collection made")
        there = metabase.post("/api/collection", {"name": NAME, "description": "Made by CHM's provisioning."})
    return int(there["id"])


def _card(question: Question, database: int, collection: int) -> dict[str, Any]:
    return {
        "name": question.name,
        "type": "question",
        "display": question.display,
        "visualization_settings": question.settings,
        "dataset_query": {"database": database, "type": "native", "native": _native(question)},
        "collection_id": collection,
    }


def _native(question: Question) -> dict[str, Any]:
    tag = {
        "id": WINDOW,
        "name": WINDOW,
        "display-name": "Window",
        "type": "text",
        "required": True,
        "default": DEFAULT_WINDOW,
    }
    return {"query": question.sql, "template-tags": {WINDOW: tag} if question.has_window else {}}


def _dashboard(cards: list[int], collection: int) -> dict[str, Any]:
    parameter = {"id": WINDOW, "name": "Window", "slug": WINDOW, "type": "category", "default": DEFAULT_WINDOW}
    return {"name": NAME, "collection_id": collection, "parameters": [parameter], "dashcards": list(_laid_out(cards))}


def _laid_out(cards: list[int]) -> Iterable[dict[str, Any]]:
    row = column = height = 0
    # A number below zero is how a new place on a dashboard is told from one that is there.
    for number, (question, card) in enumerate(zip(QUESTIONS, cards, strict=True), start=1):
        if column + question.width > WIDTH:
            row, column, height = row + height, 0, 0
        mapping = {"parameter_id": WINDOW, "card_id": card, "target": _WINDOW_TARGET}
        yield {
            "id": -number,
            "card_id": card,
            "row": row,
            "col": column,
            "size_x": question.width,
            "size_y": question.height,
            "parameter_mappings": [mapping] if question.has_window else [],
        }
        column, height = column + question.width, max(height, question.height)


def _put_right(
    metabase: Metabase, kind: str, body: dict[str, Any], found: list[dict[str, Any]], done: list[str]
) -> int:
    """Make a card or a dashboard, or change the one of its name whose fingerprint is another; gives its id."""
    fingerprint = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
    body = {**body, "description": f"Made by CHM's provisioning ({fingerprint})."}
    there = _named(body["name"], [item for item in found if item["model"] == kind])
    if there is None:
        there = metabase.post(f"/api/{kind}", body)
        if kind == "dashboard":
            # What is on a dashboard is taken from a change alone.
            metabase.put(f"/api/{kind}/{there['id']}", body)
        done.append(f"{kind} made: {body['name']}")
    elif there.get("description") != body["description"]:
        metabase.put(f"/api/{kind}/{there['id']}", body)
        done.append(f"{kind} changed: {body['name']}")
    return int(there["id"])


def _named(name: str, items: list[dict[str, Any]]) -> dict[str, Any] | None:
    return next((item for item in items if item["name"] == name and not item.get("archived")), None)
