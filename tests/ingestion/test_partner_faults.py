"""A partner that misbehaves: each fault against a real server, each with the end that it must have."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from flask import Flask
from pytest_httpserver import HTTPServer
from werkzeug import Response

from chm_web.extensions import db
from chm_web.ingestion.client import SourceBusy, SourceRefused, SourceUnreachable
from chm_web.ingestion.job import OVERLAP, ask_from
from chm_web.models import Pipeline, RunStatus
from tests.factories import find_run, make_pipeline
from tests.ingestion.partners import (
    FAST,
    TOKEN,
    Account,
    answers,
    base_url,
    ingest,
    page,
    raw_server,
    run,
    stored,
)

# -- reading ------------------------------------------------------------------------------------------------------


def test_pages_are_read_until_the_cursor_ends(pipeline: Pipeline, httpserver: HTTPServer) -> None:
    seen = answers(httpserver, page(run(1), run(2), cursor="c1"), page(run(3), cursor="c2"), page(run(4)))
    account = ingest(base_url(httpserver), pipeline)
    assert (account.counts.pages, account.counts.created, stored()) == (3, 4, 4)
    assert [request.args.get("cursor") for request in seen] == [None, "c1", "c2"]
    assert {request.headers["Authorization"] for request in seen} == {f"Bearer {TOKEN}"}


def test_three_ingestions_of_the_same_data_leave_every_row_version_as_it_was(
    pipeline: Pipeline, httpserver: HTTPServer
) -> None:
    answers(httpserver, page(*(run(n, attempt=1) for n in range(50)), run(99, status="running", finished_at=None)))
    account = ingest(base_url(httpserver), pipeline)
    versions = db.session.execute(sa.text("SELECT id, xmin, ctid FROM runs ORDER BY id")).all()
    for _ in range(2):
        account.marks.clear()
        ingest(base_url(httpserver), pipeline, account=account)
        assert db.session.execute(sa.text("SELECT id, xmin, ctid FROM runs ORDER BY id")).all() == versions
    assert (account.counts.created, account.counts.updated, account.counts.unchanged) == (51, 0, 102)


def test_a_running_run_becomes_a_success_in_place_and_never_goes_back(
    pipeline: Pipeline, httpserver: HTTPServer
) -> None:
    running = run(1, status="running", finished_at=None)
    answers(httpserver, page(running), page(run(1)), page(running))
    seen = []
    for _ in range(3):
        ingest(base_url(httpserver), pipeline)
        seen.append(find_run(pipeline.id, "run-1").status)
    assert seen == [RunStatus.RUNNING, RunStatus.SUCCESS, RunStatus.SUCCESS]
    assert stored() == 1


def test_the_next_cycle_asks_from_the_watermark(pipeline: Pipeline, httpserver: HTTPServer) -> None:
    seen = answers(httpserver, page(run(1)), page())
    account = ingest(base_url(httpserver), pipeline)
    asked_from = account.marks[pipeline.id]
    ingest(base_url(httpserver), pipeline, account=account)
    assert [request.args.get("updated_since") for request in seen] == [None, asked_from.isoformat()]


def test_a_day_later_the_last_two_days_are_read_again(pipeline: Pipeline, httpserver: HTTPServer) -> None:
    seen = answers(httpserver, page(run(1)))
    account = ingest(base_url(httpserver), pipeline)
    account.deep[pipeline.id] -= timedelta(days=1)
    began = datetime.now(UTC)

    for _ in range(2):
        ingest(base_url(httpserver), pipeline, account=account)

    deep, after = (datetime.fromisoformat(request.args["updated_since"]) for request in seen[1:])
    assert began <= deep + timedelta(hours=48) <= datetime.now(UTC)
    assert after > deep + timedelta(hours=47)


def test_a_reading_from_further_back_that_is_broken_off_is_begun_again(
    pipeline: Pipeline, httpserver: HTTPServer
) -> None:
    seen = answers(httpserver, page(run(1)), (401, {}), page(run(1)))
    account = ingest(base_url(httpserver), pipeline)
    account.deep[pipeline.id] -= timedelta(days=5)
    with pytest.raises(SourceRefused):
        ingest(base_url(httpserver), pipeline, account=account)

    ingest(base_url(httpserver), pipeline, account=account)

    asked_from = [datetime.fromisoformat(request.args["updated_since"]) for request in seen[1:]]
    assert len(asked_from) == 2
    assert max(asked_from) <= datetime.now(UTC) - timedelta(hours=48)
    assert account.deep[pipeline.id] > datetime.now(UTC) - timedelta(minutes=1)


def test_what_has_not_been_read_for_longer_than_that_is_read_from_where_it_stood() -> None:
    one, now = uuid4(), datetime.now(UTC)
    stood = now - timedelta(days=5)

    assert ask_from(Account(marks={one: stood}, deep={one: stood}), one, now=now) == (stood, True)
    assert ask_from(Account(deep={one: now}), one, now=now) == (None, True)


def test_the_watermark_is_shortly_before_the_request_by_the_partners_clock(pipeline: Pipeline) -> None:
    body = json.dumps(page(run(1))).encode()
    head = b"HTTP/1.1 200 OK\r\nDate: Mon, 05 Oct 2026 12:00:00 GMT\r\nContent-Length: %d\r\n\r\n" % len(body)
    with raw_server(head + body) as url:
        account = ingest(url, pipeline)
    assert account.marks[pipeline.id] == datetime(2026, 10, 5, 12, 0, tzinfo=UTC) - OVERLAP


def test_an_id_of_any_characters_is_asked_for_and_comes_back(app: Flask, httpserver: HTTPServer) -> None:
    odd = "team/orders daily:2+ü%"
    pipeline = make_pipeline(external_id=odd)
    httpserver.expect_request(f"/pipelines/{odd}/runs").respond_with_json(page(run(1, external_run_id="a/b:c+d é%")))
    ingest(base_url(httpserver), pipeline)
    assert find_run(pipeline.id, "a/b:c+d é%").status is RunStatus.SUCCESS


def test_one_unknown_pipeline_does_not_stop_the_others(app: Flask, httpserver: HTTPServer) -> None:
    pipelines = [make_pipeline(external_id=name) for name in ("gone", "p")]
    answers(httpserver, page(run(1)))
    httpserver.expect_request("/pipelines/gone/runs").respond_with_data("no", status=404)
    account = Account()
    ingest(base_url(httpserver), *pipelines, account=account)
    assert (stored(), len(account.done)) == (1, 2)
    [unread] = account.not_read
    assert (unread.pipeline_id, unread.external_id, unread.source) == (pipelines[0].id, "gone", "partner")
    assert unread.reason.endswith("does not know it (404). It said: no")


def test_one_pipeline_that_the_platform_cannot_give_does_not_stop_the_others(
    app: Flask, httpserver: HTTPServer
) -> None:
    pipelines = [make_pipeline(external_id=name) for name in ("odd", "p")]
    answers(httpserver, page(run(1)))
    httpserver.expect_request("/pipelines/odd/runs").respond_with_data("no", status=400)
    account = ingest(base_url(httpserver), *pipelines)
    assert (stored(), len(account.done)) == (1, 2)
    assert "did not accept the request (400)" in account.not_read[0].reason


# -- 429 ----------------------------------------------------------------------------------------------------------


def _in(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({"Retry-After": "300"}, 300, 300),
        ({"Retry-After": _in(3000)}, 1500, 3000),
        ({"Retry-After": "301.5"}, 301.5, 301.5),
        ({}, 30, 30),
        ({"Retry-After": "soon"}, 30, 30),
        ({"Retry-After": "nan"}, 30, 30),
        ({"Retry-After": "999999999"}, 3600, 3600),
    ],
    ids=["seconds", "date", "broken seconds", "absent", "word", "nan", "absurd"],
)
def test_a_long_pause_is_left_to_the_queue_at_once(
    pipeline: Pipeline, httpserver: HTTPServer, headers: dict[str, str], low: float, high: float
) -> None:
    seen = answers(httpserver, (429, headers))
    began = time.monotonic()
    with pytest.raises(SourceBusy) as busy:
        ingest(base_url(httpserver), pipeline)
    assert low <= busy.value.retry_after <= high
    assert time.monotonic() - began < 5
    assert len(seen) == 1


@pytest.mark.parametrize("header", ["1", "1.5", "0", pytest.param(_in(-100), id="a date in the past")])
def test_a_short_pause_is_kept_and_the_reading_goes_on(pipeline: Pipeline, httpserver: HTTPServer, header: str) -> None:
    answers(httpserver, (429, {"Retry-After": header}), page(run(1)))
    ingest(base_url(httpserver), pipeline)
    assert stored() == 1


def test_short_pauses_without_end_become_the_queues_business(pipeline: Pipeline, httpserver: HTTPServer) -> None:
    seen = answers(httpserver, (429, {"Retry-After": "0"}))
    with pytest.raises(SourceBusy):
        ingest(base_url(httpserver), pipeline)
    assert len(seen) == 1 + FAST.http_max_retries


def test_what_came_before_a_pause_is_kept_and_its_watermark_is_not_moved(
    pipeline: Pipeline, httpserver: HTTPServer
) -> None:
    answers(httpserver, page(run(1), cursor="c1"), (429, {"Retry-After": "300"}))
    account = Account()
    with pytest.raises(SourceBusy):
        ingest(base_url(httpserver), pipeline, account=account)
    assert (stored(), account.marks) == (1, {})


def test_after_a_pause_the_reading_goes_on_behind_the_last_page(pipeline: Pipeline, httpserver: HTTPServer) -> None:
    # A partner whose quota is two pages a visit: from the beginning each time, it would never come to an end.
    busy = (429, {"Retry-After": "300"})
    pages = [page(run(n), cursor=f"c{n}") for n in range(4)]
    seen = answers(httpserver, pages[0], pages[1], busy, pages[2], pages[3], busy, page(run(4)))
    account = Account()
    for _ in range(2):
        with pytest.raises(SourceBusy):
            ingest(base_url(httpserver), pipeline, account=account)
    ingest(base_url(httpserver), pipeline, account=account)
    assert [request.args.get("cursor") for request in seen] == [None, "c0", "c1", "c1", "c2", "c3", "c3"]
    assert (stored(), account.positions) == (5, {})
    assert pipeline.id in account.marks


def test_a_cursor_that_is_no_longer_good_costs_a_new_beginning(pipeline: Pipeline, httpserver: HTTPServer) -> None:
    seen = answers(
        httpserver, page(run(1), cursor="c1"), (429, {"Retry-After": "300"}), (400, {}), page(run(1), run(2))
    )
    account = Account()
    with pytest.raises(SourceBusy):
        ingest(base_url(httpserver), pipeline, account=account)
    ingest(base_url(httpserver), pipeline, account=account)
    assert [request.args.get("cursor") for request in seen] == [None, "c1", "c1", None]
    assert (stored(), account.positions) == (2, {})


# -- servers that fail --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_an_error_that_passes_is_tried_again(pipeline: Pipeline, httpserver: HTTPServer, status: int) -> None:
    answers(httpserver, (status, {}), (status, {}), page(run(1)))
    ingest(base_url(httpserver), pipeline)
    assert stored() == 1


def test_an_error_that_stays_ends_after_bounded_tries(pipeline: Pipeline, httpserver: HTTPServer) -> None:
    seen = answers(httpserver, (500, {}))
    with pytest.raises(SourceUnreachable, match=r"localhost has an error of its own \(500\)\. It said: please wait"):
        ingest(base_url(httpserver), pipeline)
    assert len(seen) == 1 + FAST.http_max_retries


def test_a_platform_that_fails_for_several_pipelines_in_a_row_is_given_up(app: Flask, httpserver: HTTPServer) -> None:
    pipelines = [make_pipeline() for _ in range(6)]
    httpserver.expect_request(r"/pipelines").respond_with_data("no", status=500)
    account = Account()
    with pytest.raises(SourceUnreachable):
        ingest(base_url(httpserver), *pipelines, account=account)
    assert len(account.done) == 2


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "the credentials are missing, wrong or expired"), (403, "they may not read this")],
)
def test_a_refusal_is_readable_and_not_tried_again(
    pipeline: Pipeline, httpserver: HTTPServer, status: int, words: str
) -> None:
    seen = answers(httpserver, Response(f"bad Authorization: Bearer {TOKEN}", status=status))
    with pytest.raises(SourceRefused, match=rf"refused access \({status}\): {words}") as refused:
        ingest(base_url(httpserver), pipeline)
    assert len(seen) == 1
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(pipeline: Pipeline, httpserver: HTTPServer, status: int) -> None:
    seen = answers(httpserver, (status, {"Location": "http://elsewhere.invalid/"}))
    with pytest.raises(SourceUnreachable, match="redirects elsewhere"):
        ingest(base_url(httpserver), pipeline)
    assert len(seen) == 1


def test_a_redirect_without_an_end_is_not_read(pipeline: Pipeline, httpserver: HTTPServer) -> None:
    sent: list[int] = []

    def chunks() -> Iterator[bytes]:
        for number in range(10_000):
            sent.append(number)
            yield b"x" * 65536

    answers(httpserver, Response(chunks(), status=302, headers={"Location": "http://elsewhere.invalid/"}))
    with pytest.raises(SourceUnreachable, match=r"sent more than [\d,]+ bytes"):
        ingest(base_url(httpserver), pipeline)
    assert len(sent) < 1000


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Sorry</html>",
        b"",
        b'{"runs": [',
        b"\xff\xfe{",
        b'"text"',
        b"[" * 200_000,
        b'{"runs": {}}',
        b'{"run": []}',
    ],
    ids=["html", "empty", "half", "not utf-8", "text", "nested", "runs no list", "no runs"],
)
def test_what_is_not_the_contract_is_an_error_in_words(pipeline: Pipeline, httpserver: HTTPServer, body: bytes) -> None:
    answers(httpserver, Response(body, content_type="text/html"))
    with pytest.raises(SourceUnreachable, match=r"not JSON|something else than"):
        ingest(base_url(httpserver), pipeline)


def test_an_answer_beyond_the_limit_is_broken_off(pipeline: Pipeline, httpserver: HTTPServer) -> None:
    answers(httpserver, Response(b" " * 9_000_000))
    with pytest.raises(SourceUnreachable, match="more than 8,000,000 bytes"):
        ingest(base_url(httpserver), pipeline)


def test_nobody_listening_is_an_error_in_words(pipeline: Pipeline) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(SourceUnreachable, match=r"No connection to 127\.0\.0\.1: .*refused"):
        ingest(f"http://127.0.0.1:{port}", pipeline)


def test_a_connection_that_is_not_accepted_times_out(pipeline: Pipeline) -> None:
    # A full backlog: the kernel drops further attempts to connect, as a dead host would.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(address)
            with pytest.raises(SourceUnreachable, match=r"did not accept a connection within 0\.5 s"):
                ingest(f"http://127.0.0.1:{address[1]}", pipeline)
        finally:
            for filler in fillers:
                filler.close()


def test_an_answer_that_does_not_come_times_out(pipeline: Pipeline) -> None:
    with raw_server(b"", hold=1.5) as url, pytest.raises(SourceUnreachable, match=r"did not answer within 0\.5 s"):
        ingest(url, pipeline, config=replace(FAST, http_max_retries=0))


def test_an_answer_that_stops_in_the_middle_times_out(pipeline: Pipeline) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"
    with raw_server(head, hold=1.5) as url, pytest.raises(SourceUnreachable, match="stopped in the middle"):
        ingest(url, pipeline, config=replace(FAST, http_max_retries=0))


def test_an_answer_that_trickles_is_broken_off(pipeline: Pipeline) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    began = time.monotonic()
    with (
        raw_server(head, trickle=0.2) as url,
        pytest.raises(SourceUnreachable, match="sent its answer too slowly"),
    ):
        ingest(url, pipeline, config=replace(FAST, http_max_retries=0))
    # Four times the read time-out of half a second, whatever the pauses between the bytes.
    assert 1.5 < time.monotonic() - began < 4


@pytest.mark.parametrize(
    "answer",
    [
        b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"runs": [',
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{"runs": [',
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
        b"",
        b"nonsense\r\n\r\n",
    ],
    ids=["content-length", "chunked", "damaged gzip", "hang up", "no http"],
)
def test_an_answer_cut_short_is_tried_again_and_then_an_error(pipeline: Pipeline, answer: bytes) -> None:
    body = json.dumps(page(run(1))).encode()
    good = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with raw_server(answer, good) as url:
        ingest(url, pipeline)
    assert stored() == 1
    with raw_server(answer) as url, pytest.raises(SourceUnreachable):
        ingest(url, pipeline)


# -- pages that misbehave -----------------------------------------------------------------------------------------


def test_a_cursor_that_goes_round_in_a_circle_is_broken_off_and_what_came_is_kept(
    pipeline: Pipeline, httpserver: HTTPServer
) -> None:
    answers(httpserver, page(run(1), cursor="a"), page(run(2), cursor="b"), page(run(3), cursor="a"))
    account = Account()
    with pytest.raises(SourceUnreachable, match="circle after 3 pages"):
        ingest(base_url(httpserver), pipeline, account=account)
    assert (stored(), account.marks) == (3, {})


@pytest.mark.parametrize("cursor", [{}, [], True, 1.5])
def test_a_cursor_of_an_odd_kind_is_an_error_in_words(pipeline: Pipeline, httpserver: HTTPServer, cursor: Any) -> None:
    answers(httpserver, page(run(1), cursor=cursor))
    with pytest.raises(SourceUnreachable, match="neither text nor null"):
        ingest(base_url(httpserver), pipeline)


def test_pages_repeated_and_reordered_end_in_the_same_rows(app: Flask, httpserver: HTTPServer) -> None:
    straight, odd = make_pipeline(external_id="p"), make_pipeline(external_id="q")
    first = [run(n) for n in range(10)]
    second = [run(n, status="failed", error_message="boom") for n in range(10, 20)]
    running = [run(n, status="running", finished_at=None) for n in range(5)]
    answers(httpserver, page(*running, cursor="1"), page(*first, cursor="2"), page(*second))
    answers(
        httpserver,
        page(*reversed(second), cursor="1"),
        page(*first[5:], *second, cursor="2"),
        page(*reversed(first), *running, cursor="3"),
        page(*running),
        path="/pipelines/q/runs",
    )
    ingest(base_url(httpserver), straight, odd)
    columns = "external_run_id, status, started_at, finished_at, duration_seconds, error_message"
    query = sa.text(f"SELECT {columns} FROM runs WHERE pipeline_id = :id ORDER BY 1")
    rows = [db.session.execute(query, {"id": one.id}).all() for one in (straight, odd)]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 20
