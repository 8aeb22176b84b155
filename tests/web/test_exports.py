"""Lists as CSV."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from chm_web.extensions import db
from chm_web.models import RunStatus
from chm_web.web.exports import cell, csv_response
from tests.factories import make_alert_rule, make_pipeline, make_run
from tests.http import client_of
from tests.web.scenes import ago


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1+2", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", '=HYPERLINK("http://x")']
)
def test_text_that_a_spreadsheet_would_run_is_made_harmless(text: str) -> None:
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, ""),
        ("orders", "orders"),
        (-5, "-5"),
        (0.5, "0.5"),
        (True, "yes"),
        (False, "no"),
        (datetime(2026, 11, 24, 8, 30, tzinfo=UTC), "2026-11-24T08:30:00Z"),
    ],
)
def test_values_are_written_for_people_and_programs(value: Any, written: str) -> None:
    assert cell(value) == written


def test_file_carries_every_row_and_its_name(app: Flask) -> None:
    with app.test_request_context():
        response = csv_response(
            "runs", ["name", "note"], ((f"row {number}", 'a "quoted", note') for number in range(950))
        )
        body = response.get_data(as_text=True)

    rows = list(csv.reader(io.StringIO(body.removeprefix("\ufeff"))))
    assert rows[0] == ["name", "note"]
    assert rows[950] == ["row 949", 'a "quoted", note']
    assert response.headers["Content-Disposition"] == 'attachment; filename="runs.csv"'


def test_file_begins_with_the_mark_that_spreadsheets_know_utf_8_by(app: Flask) -> None:
    with app.test_request_context():
        assert csv_response("x", ["ü"], []).get_data().startswith(b"\xef\xbb\xbf")


def test_what_cannot_be_read_is_an_error_and_no_file(app: Flask) -> None:
    rows = ([1 // left] for left in (1, 0))

    with app.test_request_context(), pytest.raises(ZeroDivisionError):
        csv_response("x", ["a"], rows)


@pytest.mark.parametrize(
    "path",
    [
        "/runs.csv",
        "/runs.csv?platform=vendor_api",
        "/pipelines/{pipeline}/runs.csv",
        "/pipelines/export.csv",
        "/clients/export.csv",
        "/alert-rules/export.csv",
        "/insights/clients.csv",
    ],
)
def test_no_transaction_waits_for_a_slow_download(committed_app: Flask, path: str) -> None:
    pipeline = make_pipeline()
    make_alert_rule(client_id=pipeline.client_id)
    make_run(pipeline, status=RunStatus.FAILED, started_at=ago(hours=2), finished_at=ago(hours=1))
    db.session.commit()

    response = client_of(committed_app).get(path.format(pipeline=pipeline.id), buffered=False)

    # The first piece is ready, and the other side has not taken it yet.
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in tr%'"
    with db.engine.connect() as connection:
        assert connection.scalar(sa.text(waiting)) == 0
    assert response.text.count("\r\n") == 2
