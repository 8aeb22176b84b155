"""Looks at the fleet that are shared for some seconds."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from chm_web.models import RunStatus
from chm_web.web import shared_looks
from tests.factories import make_client, make_pipeline, make_run
from tests.web.scenes import ago, make_failing

CountQueries = Callable[[Callable[[], Any]], int]


@pytest.fixture
def sharing(app: Flask) -> Iterator[Flask]:
    """The app as it runs by default, but with looks that are kept for a minute."""
    config = app.config["CHM"]
    app.config["CHM"] = dataclasses.replace(config, shared_look_seconds=60.0)
    shared_looks.init_app(app)
    yield app
    app.config["CHM"] = config
    shared_looks.init_app(app)


@pytest.mark.parametrize(
    ("path", "left"),
    [
        *(("/", 1), ("/overview/health", 1), ("/overview/changes", 1), ("/clients", 1), ("/insights", 1)),
        # The clients to choose from as well.
        *(("/pipelines?health=failing", 2), ("/pipelines?order=health", 2), ("/pipelines?order=-finished", 2)),
    ],
)
def test_second_look_asks_the_database_for_less(
    sharing: Flask, client: FlaskClient, count_queries: CountQueries, path: str, left: int
) -> None:
    make_failing()
    first = count_queries(lambda: client.get(path))
    second = count_queries(lambda: client.get(path))

    # What is left tells that the inventory has not changed.
    assert first > second == left


@pytest.mark.parametrize("query", ["", "?q=a", "?health=failing&q=a"])
def test_list_that_is_no_look_at_the_fleet_is_not_shared(
    sharing: Flask, client: FlaskClient, count_queries: CountQueries, query: str
) -> None:
    make_failing()

    assert count_queries(lambda: client.get(f"/pipelines{query}")) == count_queries(
        lambda: client.get(f"/pipelines{query}")
    )


def test_looks_of_different_lists_are_apart(sharing: Flask, client: FlaskClient) -> None:
    failing = make_failing()

    assert failing.name in client.get("/pipelines?health=failing").text
    assert failing.name not in client.get("/pipelines?health=healthy").text
    assert failing.name not in client.get("/pipelines?health=failing&platform=cron").text


def test_run_shows_with_the_next_look(sharing: Flask, client: FlaskClient) -> None:
    pipeline = make_pipeline()
    assert "Nothing is failing" in client.get("/").text

    make_run(pipeline, status=RunStatus.FAILED, started_at=ago(minutes=9), finished_at=ago(minutes=8))

    assert "Nothing is failing" in client.get("/").text
    fresh = client.get("/overview/health", headers={shared_looks.FRESH_HEADER: "1"}).text
    assert pipeline.name in fresh
    assert pipeline.name in client.get("/").text


def test_change_of_the_inventory_shows_at_once(sharing: Flask, client: FlaskClient) -> None:
    client.get("/clients")

    make_client(name="Brand New")

    assert "Brand New" in client.get("/clients").text


@pytest.mark.parametrize("address", ["/search", "/search/suggestions"])
def test_who_types_a_name_looks_at_the_fleet_once(
    sharing: Flask, client: FlaskClient, count_queries: CountQueries, address: str
) -> None:
    for name in ("Acme", "Acme North", "Acme South"):
        make_failing(client=make_client(name=name))
    first = count_queries(lambda: client.get(f"{address}?q=ac"))

    assert count_queries(lambda: client.get(f"{address}?q=acm")) == first - 1
    assert client.get(f"{address}?q=acme").text.count("1 failing") == 3


@pytest.mark.parametrize("address", ["/search", "/search/suggestions"])
def test_who_finds_few_clients_sees_how_they_are_now(sharing: Flask, client: FlaskClient, address: str) -> None:
    for name in ("Acme North", "Acme South"):
        make_failing(client=make_client(name=name))
    assert client.get(f"{address}?q=acme").text.count("1 failing") == 2
    pipeline = make_pipeline(make_client(name="Birch"))
    assert "failing" not in client.get(f"{address}?q=birch").text

    make_run(pipeline, status=RunStatus.FAILED, started_at=ago(minutes=9), finished_at=ago(minutes=8))

    assert "1 failing" in client.get(f"{address}?q=birch").text


def test_looks_under_other_filters_are_other_looks(sharing: Flask, client: FlaskClient) -> None:
    make_client(name="Acme")
    assert "Acme" in client.get("/clients").text

    assert "Acme" not in client.get("/clients?q=zebra").text


def test_those_who_come_while_a_look_is_taken_wait_for_it() -> None:
    looks = shared_looks.Looks(60)
    taken = []

    def take() -> int:
        taken.append(1)
        time.sleep(0.2)
        return len(taken)

    with ThreadPoolExecutor(5) as pool:
        given = list(pool.map(lambda _: looks.look("x", take), range(5)))

    assert given == [1] * 5


def test_look_that_failed_is_taken_again(sharing: Flask) -> None:
    def fail() -> int:
        raise LookupError

    with sharing.test_request_context():
        with pytest.raises(LookupError):
            shared_looks.shared_look(("y",), fail)
        assert shared_looks.shared_look(("y",), lambda: 2) == 2


def test_without_seconds_each_takes_their_own(app: Flask) -> None:
    with app.test_request_context():
        assert shared_looks.shared_look(("z",), lambda: 1) == 1
        assert shared_looks.shared_look(("z",), lambda: 2) == 2
