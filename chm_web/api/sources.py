"""``/ingestion/sources``: what runs are read from, and whether it goes on."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import current_app
from marshmallow import fields

from chm_web.access.permissions import Permission
from chm_web.api.base import ApiBlueprint, NoQuery
from chm_web.api.job_schemas import CountsSchema
from chm_web.config import Config
from chm_web.ingestion import queue
from chm_web.ingestion.problems import behind_since
from chm_web.ingestion.queue import Rhythm, SourceSigns
from chm_web.json_answers import Schema
from chm_web.models import Platform
from chm_web.schemas.base import UtcTime, told

blueprint = ApiBlueprint("api_sources", __name__, description="What runs are read from.")


class SourceSchema(Schema):
    """One source of runs."""

    name = fields.String(metadata=told("Its name in the configuration."))
    kind = fields.String(metadata=told("What answers there.", example="airflow"))
    address = fields.String(metadata=told("Where it is read from, without what could be a secret."))
    platforms = fields.List(
        fields.Enum(Platform, by_value=True), metadata=told("It is asked for pipelines on these platforms.")
    )
    client = fields.String(
        allow_none=True, metadata=told("Only this client's pipelines are read, by name or id; null: those of all.")
    )
    is_paused = fields.Boolean(metadata=told("Whether its configuration keeps it from being read."))
    interval_seconds = fields.Integer(metadata=told("How often the schedule reads it at present."))
    slowed = fields.String(
        allow_none=True,
        metadata=told("That it is read less often than it should be since it fails, in words; null: it is not."),
    )
    next_run_at = UtcTime(allow_none=True, metadata=told("When the schedule reads it next; null: not planned."))
    last_success_at = UtcTime(
        allow_none=True, metadata=told("When all of it was last read without an error; null: not yet.")
    )
    lag_seconds = fields.Integer(allow_none=True, metadata=told("How long ago that was; null: not yet."))
    is_behind = fields.Boolean(metadata=told("Whether it has not been read for three cycles."))
    failures_in_row = fields.Integer(metadata=told("How many cycles of the schedule it has let down in a row."))
    counts = fields.Nested(
        CountsSchema, allow_none=True, metadata=told("What the last reading of all of it brought; null: none known.")
    )
    last_error = fields.String(allow_none=True, metadata=told("The last error, also of a part of it; null: none."))
    last_error_at = UtcTime(allow_none=True, metadata=told("When that was; null: none."))


class SourceListSchema(Schema):
    """All configured sources."""

    items = fields.List(
        fields.Nested(SourceSchema), required=True, metadata=told("The sources, as the configuration has them.")
    )
    next_cursor = fields.String(required=True, allow_none=True, metadata=told("Always null: there is one page."))


@blueprint.route("/ingestion/sources", methods=["GET"], allow=Permission.READ)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(200, SourceListSchema, description="The sources.")
def list_sources(query: dict[str, Any]) -> dict[str, Any]:
    """List the sources that runs are read from.

    Each with its last success, what is planned next and its last error. Secrets are not told.
    """
    config: Config = current_app.config["CHM"]
    signs, now, every = queue.read_signs(), datetime.now(UTC), timedelta(seconds=config.ingest_every_seconds)
    rhythms = queue.rhythms_of(signs, now=now, every=every)
    items = [_told(one, rhythms[one.source.name], now=now, every=every) for one in signs.sources]
    return {"items": items, "next_cursor": None}


def _told(one: SourceSigns, rhythm: Rhythm, *, now: datetime, every: timedelta) -> dict[str, Any]:
    source, last_success_at = one.source, one.last_success_at
    return {
        "name": source.name,
        "kind": source.kind,
        "address": source.address,
        "platforms": source.platforms,
        "client": source.client,
        "is_paused": source.paused,
        "interval_seconds": int(rhythm.interval.total_seconds()),
        "slowed": rhythm.slowed,
        "next_run_at": rhythm.next_at,
        "last_success_at": last_success_at,
        "lag_seconds": max(0, int((now - last_success_at).total_seconds())) if last_success_at else None,
        "is_behind": behind_since(one, now=now, every=every) is not None,
        "failures_in_row": one.failures,
        "counts": asdict(one.counts) if one.counts else None,
        "last_error": one.last_error,
        "last_error_at": one.last_error_at,
    }
