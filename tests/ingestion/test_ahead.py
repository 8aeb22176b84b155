"""Reading ahead: first pages of several feeds at once, in order all the same."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest
from flask import Flask
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from chm_web.ingestion.ahead import read_ahead
from chm_web.ingestion.client import SourceBusy, SourceUnreachable
from chm_web.ingestion.platforms.pages import RunsPage
from tests.factories import find_run, make_pipeline
from tests.http import OwnHttpServer
from tests.ingestion.partners import FAST, Account, base_url, ingest, page, run, stored


class Feeds:
    """Feeds of two pages each, which count how many first pages are on their way at once."""

    def __init__(self, ahead: int) -> None:
        self.asked: list[int] = []
        self.together = threading.Barrier(ahead or 1)

    def open(self, number: int) -> Iterator[RunsPage]:
        """Give the pages of a feed; the first one comes when as many are asked for as may be."""
        self.asked.append(number)
        self.together.wait(10)
        yield RunsPage([number], None, "next")
        yield RunsPage([-number], None, None)


@pytest.mark.parametrize("ahead", [0, 1, 2, 4])
def test_first_pages_are_asked_for_at_once_and_given_in_order(ahead: int) -> None:
    feeds = Feeds(ahead)

    given = [(item, [one.runs for one in pages]) for item, pages in read_ahead(range(8), feeds.open, ahead=ahead)]

    assert given == [(number, [[number], [-number]]) for number in range(8)]


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_no_more_is_asked_for_at_once_than_may_be(ahead: int) -> None:
    lock, under_way, most = threading.Lock(), 0, 0

    def ask() -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.02)
        with lock:
            under_way -= 1

    def open_feed(number: int) -> Iterator[RunsPage]:
        for cursor in ("second", "third", None):
            ask()
            yield RunsPage([number], None, cursor)

    for _, pages in read_ahead(range(12), open_feed, ahead=ahead):
        list(pages)

    assert most <= ahead + 1


def test_an_error_is_raised_where_its_page_is_taken() -> None:
    def open_feed(number: int) -> Iterator[RunsPage]:
        if number == 1:
            raise SourceBusy("wait", 60)
        yield RunsPage([number], None, None)

    seen: list[object] = []
    for item, pages in read_ahead(range(3), open_feed, ahead=2):
        try:
            seen.append((item, next(pages).runs))
        except SourceBusy as err:
            seen.append((item, err.retry_after))

    assert seen == [(0, [0]), (1, 60), (2, [2])]


def test_after_an_error_nothing_more_is_asked_for_until_it_is_raised() -> None:
    asked: list[int] = []
    has_failed = threading.Event()

    def open_feed(number: int) -> Iterator[RunsPage]:
        asked.append(number)
        if number == 1:
            has_failed.set()
            raise SourceBusy("wait", 60)
        yield RunsPage([number], None, None)

    def numbers() -> Iterator[int]:
        for number in range(100):
            if number == 2:
                # Set before the error is raised in the other thread: give it the time.
                assert has_failed.wait(10)
                time.sleep(0.2)
            yield number

    with closing(read_ahead(numbers(), open_feed, ahead=3)) as opened:
        _, first = next(opened)
        list(first)
        _, second = next(opened)
        with pytest.raises(SourceBusy):
            list(second)

    assert asked == [0, 1]


def test_who_leaves_early_asks_for_nothing_more() -> None:
    asked: list[int] = []

    def open_feed(number: int) -> Iterator[RunsPage]:
        asked.append(number)
        yield RunsPage([number], None, None)

    with closing(read_ahead(range(100), open_feed, ahead=3)) as opened:
        next(opened)

    assert len(asked) <= 4


# -- a partner's pipelines ------------------------------------------------------------------------------------------


def test_a_partners_pipelines_are_asked_for_at_once(app: Flask) -> None:
    pipelines = [make_pipeline(external_id=f"p-{number}") for number in range(9)]
    # Four at once: the first pages of three, and the pages of the one that is being taken.
    together = threading.Barrier(3)

    def handle(request: Request) -> Response:
        together.wait(10)
        name = request.path.split("/")[2]
        return Response(json.dumps(page(run(1, external_run_id=f"of-{name}"))), content_type="application/json")

    with OwnHttpServer(threaded=True) as server:
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


@pytest.mark.parametrize("pipelines", [1, 2, 3])
def test_a_platform_that_answers_for_none_of_its_pipelines_cannot_be_read(
    app: Flask, httpserver: HTTPServer, pipelines: int
) -> None:
    httpserver.expect_request(re.compile("/pipelines/.*")).respond_with_data("no", status=400)

    with pytest.raises(SourceUnreachable):
        ingest(base_url(httpserver), *(make_pipeline() for _ in range(pipelines)))


def test_pipelines_that_are_not_known_cost_the_others_nothing(app: Flask, httpserver: HTTPServer) -> None:
    pipelines = [make_pipeline(external_id=f"p-{number}") for number in range(6)]
    for pipeline in pipelines[::2]:
        httpserver.expect_request(f"/pipelines/{pipeline.external_id}/runs").respond_with_json(page(run(1)))
    for pipeline in pipelines[1::2]:
        httpserver.expect_request(f"/pipelines/{pipeline.external_id}/runs").respond_with_data("", status=404)

    account = ingest(base_url(httpserver), *pipelines)

    assert stored() == 3
    assert {unread.pipeline_id for unread in account.not_read} == {pipeline.id for pipeline in pipelines[1::2]}
