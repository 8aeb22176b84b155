"""Runs that misbehave: the page around them is saved, and what cannot be taken is told with its reason."""

from __future__ import annotations

import logging
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from pytest_httpserver import HTTPServer
from werkzeug import Response

from chm_web.ingestion.client import SourceBusy, SourceError
from chm_web.ingestion.job import map_page
from chm_web.ingestion.platforms import partner
from chm_web.models import Pipeline, RunStatus
from chm_web.services.redaction import remember_secret
from tests.factories import find_run, make_pipeline
from tests.ingestion.partners import (
    TOKEN,
    Account,
    answers,
    base_url,
    ingest,
    page,
    run,
    source_at,
    stored,
)

REJECTED: dict[str, tuple[Any, str]] = {
    "without an id": (run(1, external_run_id=None), "external_run_id: is missing"),
    "with a 9 kB id": (run(1, external_run_id="x" * 9000), "must have 1 to 512 characters"),
    "with a 2^70 count": (run(1, rows_processed=2**70), "rows_processed: must be between"),
    "with a time that is none": (run(1, started_at="yesterday"), "started_at: 'yesterday' is not a time"),
    "with the year 9999": (run(1, finished_at="9999-12-31T23:59:59Z"), "finished_at: the year 9999"),
    "without a status": (run(1, status=None), "status: is missing"),
    "that is no object": ("run-1", "run: must be an object"),
    "running with a finish": (run(1, status="running"), "finished_at: a running run has none"),
}


@pytest.mark.parametrize("name", REJECTED)
def test_the_page_around_a_bad_run_is_saved_and_the_run_is_told_with_its_reason(
    pipeline: Pipeline, httpserver: HTTPServer, name: str
) -> None:
    bad, reason = REJECTED[name]
    answers(httpserver, page(*(run(n) for n in range(2, 50)), bad, run(50)))
    account = ingest(base_url(httpserver), pipeline)
    assert (account.counts.created, account.counts.rejected, stored()) == (49, 1, 49)
    assert reason in account.rejected[0].reason
    assert account.rejected[0].pipeline_id == pipeline.id


TAKEN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "with an unknown status": ({"status": "exploded"}, {"status": RunStatus.FAILED, "status_reason": "exploded"}),
    "without any times": (
        {"started_at": None, "finished_at": None},
        {"started_at": None, "finished_at": None, "duration_seconds": None},
    ),
    "with naive times": (
        {"started_at": "2026-10-01T00:00:00", "finished_at": "2026-10-01T00:01:00"},
        {"started_at": datetime(2026, 10, 1, tzinfo=UTC), "duration_seconds": 60},
    ),
    "that ends before it starts": (
        {"started_at": "2026-10-01T02:00:00Z"},
        {"finished_at": datetime(2026, 10, 1, 2, tzinfo=UTC), "status_reason": "clock_skew", "duration_seconds": 0},
    ),
    "with NUL and lone surrogates": (
        {"status": "failed", "error_message": "a\0b\ud800", "note": "\0\udfff"},
        {"error_message": "a\ufffdb\ufffd", "payload": {"note": "\ufffd\ufffd"}},
    ),
    "with NaN": (
        {"duration_seconds": math.nan, "rows_processed": math.nan, "finished_at": None, "ratio": math.inf},
        {"duration_seconds": None, "rows_processed": None, "payload": {"ratio": None}},
    ),
    "with a 5 MB payload": (
        {"dump": "x" * 5_000_000, "attempt": 1},
        {"payload": {"_cut": "The payload had 5,000,023 bytes; at most 65,536 are kept.", "attempt": 1}},
    ),
    "with a token inside the payload": (
        {"config": {"api_token": "abc", "url": "https://u:hunter2@h/x"}},
        {"payload": {"config": {"api_token": "[redacted]", "url": "https://u:[redacted]@h/x"}}},
    ),
    "with our token echoed in an error": (
        {"status": "failed", "error_message": f"401 for Authorization: Bearer {TOKEN}"},
        {"error_message": "401 for Authorization: Bearer [redacted]"},
    ),
}


@pytest.mark.parametrize("name", TAKEN)
def test_an_odd_run_is_taken(pipeline: Pipeline, httpserver: HTTPServer, name: str) -> None:
    values, expected = TAKEN[name]
    answers(httpserver, page(run(1), run(2, **values)))
    account = ingest(base_url(httpserver), pipeline)
    assert (account.counts.created, account.counts.rejected) == (2, 0)
    stands = find_run(pipeline.id, "run-2")
    assert {key: getattr(stands, key) for key in expected} == expected


@pytest.mark.parametrize("count", ["--5", "+-5", "٣٤x", "5e", "\u0661"])
def test_a_count_that_only_looks_like_one_costs_its_run_alone(
    pipeline: Pipeline, httpserver: HTTPServer, count: str
) -> None:
    answers(httpserver, page(run(1), run(2, rows_processed=count)))
    account = ingest(base_url(httpserver), pipeline)
    assert account.counts.created >= 1
    assert account.counts.created + account.counts.rejected == 2


def test_what_breaks_the_mapper_costs_its_run_alone(pipeline: Pipeline) -> None:
    nested: list[Any] = []
    for _ in range(5000):
        nested = [nested]
    runs = [(pipeline.id, run(1)), (pipeline.id, run(2, error_message=nested))]
    records, rejected = map_page(source_at("http://unused"), runs, partner)
    assert [record.external_run_id for record in records] == ["run-1"]
    assert rejected[0].external_run_id == "run-2"
    assert rejected[0].reason == "run: cannot be understood (RecursionError)"


@pytest.mark.parametrize("dots", [".", "..", "..."])
def test_an_id_of_dots_asks_for_nothing(app: Flask, httpserver: HTTPServer, dots: str) -> None:
    account = ingest(base_url(httpserver), make_pipeline(external_id=dots))
    assert "consists of dots" in account.not_read[0].reason
    assert httpserver.log == []


def test_a_pipeline_done_on_an_earlier_visit_is_not_asked_for_again(app: Flask, httpserver: HTTPServer) -> None:
    # Three pipelines, and a partner that answers one question a visit.
    pipelines = [make_pipeline(external_id=name) for name in ("p", "q", "r")]
    for name in ("p", "q", "r"):
        answers(httpserver, page(run(1)), (429, {"Retry-After": "300"}), path=f"/pipelines/{name}/runs")
    account = Account(visits=True)
    ingest(base_url(httpserver), *pipelines[:1], account=account)
    ingest(base_url(httpserver), *pipelines, account=account)
    assert [request.path for request, _ in httpserver.log] == [f"/pipelines/{name}/runs" for name in ("p", "q", "r")]


def test_a_cursor_forgotten_with_404_costs_a_new_beginning(pipeline: Pipeline, httpserver: HTTPServer) -> None:
    answers(httpserver, page(run(1), cursor="c1"), (429, {"Retry-After": "300"}), (404, {}), page(run(1), run(2)))
    account = Account()
    with pytest.raises(SourceBusy):
        ingest(base_url(httpserver), pipeline, account=account)
    ingest(base_url(httpserver), pipeline, account=account)
    assert (stored(), account.positions) == (2, {})


def test_no_fault_shows_the_token(pipeline: Pipeline, httpserver: HTTPServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    remember_secret(TOKEN)
    answers(httpserver, page(run(1, external_run_id=f"Bearer {TOKEN}" * 100)), Response(f"token={TOKEN}", status=400))
    account = ingest(base_url(httpserver), pipeline)
    with pytest.raises(SourceError) as fault:
        ingest(base_url(httpserver), pipeline)
    told = [*(item.reason for item in account.rejected), *(str(item.external_run_id) for item in account.rejected)]
    assert TOKEN not in " ".join([*told, str(fault.value), caplog.text])
