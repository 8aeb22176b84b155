"""Reading ahead: first pages of several feeds at once, in order all the same."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest
from flask import Flask
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from chm_web.ingestion.ahead import read_ahead
from chm_web.ingestion.client import SourceBusy
from chm_web.ingestion.platforms.pages import RunsPage
from tests.factories import find_run, make_pipeline
from tests.ingestion.partners import FAST, Account, base_url, ingest, page, run, stored


class Feeds:
    """Feeds of two pages each, which count how many first pages are on their way at once."""

    def __init__(self, at_once: int) -> None:
        self.asked: list[int] = []
        self.together = threading.Barrier(at_once)

    def open(self, number: int) -> Iterator[RunsPage]:
        """Give the pages of a feed; the first one comes when as many are asked for as may be."""
        self.asked.append(number)
        self.together.wait(10)
        yield RunsPage([number], None, "next")
        yield RunsPage([-number], None, None)


@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_first_pages_are_asked_for_at_once_and_given_in_order(at_once: int) -> None:
    feeds = Feeds(at_once)

    given = [(item, [one.runs for one in pages]) for item, pages in read_ahead(range(8), feeds.open, at_once=at_once)]

    assert given == [(number, [[number], [-number]]) for number in range(8)]


def test_an_error_is_raised_where_its_page_is_taken() -> None:
    def open_feed(number: int) -> Iterator[RunsPage]:
        if number == 1:
            raise SourceBusy("wait", 60)
        yield RunsPage([number], None, None)

    seen: list[object] = []
    for item, pages in read_ahead(range(3), open_feed, at_once=2):
        try:
            seen.append((item, next(pages).runs))
        except SourceBusy as err:
            seen.append((item, err.retry_after))

    assert seen == [(0, [0]), (1, 60), (2, [2])]


def test_who_leaves_early_asks_for_nothing_more() -> None:
    asked: list[int] = []

    def open_feed(number: int) -> Iterator[RunsPage]:
        asked.append(number)
        yield RunsPage([number], None, None)

    with closing(read_ahead(range(100), open_feed, at_once=3)) as opened:
        next(opened)

    assert len(asked) <= 4


# -- a partner's pipelines ------------------------------------------------------------------------------------------


def test_a_partners_pipelines_are_asked_for_at_once(app: Flask) -> None:
    pipelines = [make_pipeline(external_id=f"p-{number}") for number in range(8)]
    together = threading.Barrier(4)

    def handle(request: Request) -> Response:
        together.wait(10)
        name = request.path.split("/")[2]
        return Response(json.dumps(page(run(1, external_run_id=f"of-{name}"))), content_type="application/json")

    with HTTPServer(threaded=True) as server:
        server.expect_request(re.compile("/pipelines/.*")).respond_with_handler(handle)
        account = ingest(base_url(server), *pipelines, config=replace(FAST, http_timeout_seconds=10))

    assert account.done == [pipeline.id for pipeline in pipelines]
    assert all(find_run(pipeline.id, f"of-{pipeline.external_id}") for pipeline in pipelines)


def test_a_pause_in_the_middle_keeps_those_before_and_marks_none_behind(app: Flask, httpserver: HTTPServer) -> None:
    pipelines = [make_pipeline(external_id=f"p-{number}") for number in range(8)]
    httpserver.expect_request("/pipelines/p-3/runs").respond_with_data("", status=429, headers={"Retry-After": "60"})
    for pipeline in pipelines:
        httpserver.expect_request(f"/pipelines/{pipeline.external_id}/runs").respond_with_json(page(run(1)))
    account = Account()

    with pytest.raises(SourceBusy):
        ingest(base_url(httpserver), *pipelines, account=account)

    before = {pipeline.id for pipeline in pipelines[:3]}
    assert (stored(), set(account.marks), set(account.done)) == (3, before, before)


def test_pipelines_that_are_not_known_cost_the_others_nothing(app: Flask, httpserver: HTTPServer) -> None:
    pipelines = [make_pipeline(external_id=f"p-{number}") for number in range(6)]
    for pipeline in pipelines[::2]:
        httpserver.expect_request(f"/pipelines/{pipeline.external_id}/runs").respond_with_json(page(run(1)))
    for pipeline in pipelines[1::2]:
        httpserver.expect_request(f"/pipelines/{pipeline.external_id}/runs").respond_with_data("", status=404)

    account = ingest(base_url(httpserver), *pipelines)

    assert stored() == 3
    assert {unread.pipeline_id for unread in account.not_read} == {pipeline.id for pipeline in pipelines[1::2]}
