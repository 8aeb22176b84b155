"""How answers are written, whatever they are of."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from flask import Flask, jsonify
from marshmallow import fields

from chm_web.json_answers import Schema
from chm_web.models import RunStatus
from chm_web.schemas.base import UtcTime
from tests.factories import make_pipeline, make_run
from tests.http import ApiClient


class ThingSchema(Schema):
    """Something with a time, and a name that goes by another key."""

    name = fields.String(data_key="called", attribute="title")
    seen_at = UtcTime()


def test_number_past_64_bits_in_a_payload_comes_back_with_all_else_as_ever(api: ApiClient) -> None:
    run = make_run(make_pipeline(), payload={"small": 2**20, "rows": 2**70, "share": 0.1})

    body = api.get(f"/runs/{run.id}").get_json()

    assert body["payload"] == {"small": 2**20, "rows": 2**70, "share": 0.1}
    assert (body["id"], body["status"]) == (str(run.id), RunStatus.SUCCESS.value)
    assert (body["started_at"], body["finished_at"]) == ("2026-11-01T11:00:00Z", "2026-11-01T11:01:00Z")


def test_field_whose_name_no_text_can_hold_is_told(api: ApiClient) -> None:
    body = b'{"name": "Northwind Foods", "\\ud800": 1}'

    response = api.client.post("/api/v1/clients", data=body, content_type="application/json")

    assert response.status_code == 400
    assert [detail["field"] for detail in json.loads(response.data)["error"]["details"]] == ["\ud800"]


def test_text_of_any_script_is_written_as_utf8(api: ApiClient) -> None:
    run = make_run(make_pipeline(), status=RunStatus.FAILED, error_message="Datenträger voll 満杯")

    assert "Datenträger voll 満杯".encode() in api.get(f"/runs/{run.id}").data


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (datetime(2026, 11, 1, 12, tzinfo=timezone(timedelta(hours=2))), "2026-11-01T10:00:00Z"),
        (datetime(2026, 11, 1, 12, 0, 0, 5, tzinfo=UTC), "2026-11-01T12:00:00.000005Z"),
        (None, None),
    ],
)
def test_time_is_written_in_utc_and_field_by_its_key(app: Flask, moment: datetime | None, written: str | None) -> None:
    thing = SimpleNamespace(title="nightly", seen_at=moment)

    with app.app_context():
        response = jsonify(ThingSchema(many=True).dump([thing]))

    assert json.loads(response.data) == [{"called": "nightly", "seen_at": written}]


def test_answer_leaves_no_field_out() -> None:
    with pytest.raises(AttributeError, match="title"):
        ThingSchema().dump(SimpleNamespace(seen_at=None))
    with pytest.raises(KeyError, match="title"):
        ThingSchema().dump({"seen_at": None})
