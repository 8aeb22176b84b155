"""Lists of the runs of all pipelines. Those of one pipeline are tested in ``test_runs``."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from flask import Flask

from chm_web.extensions import db
from chm_web.models import Pipeline, Platform, Run, RunStatus
from chm_web.services import run_lists
from chm_web.services.exceptions import Invalid, NotFound
from chm_web.services.paging import Page
from chm_web.services.run_lists import (
    ERROR_SEARCH,
    NamedRun,
    RunFilter,
    list_named_runs,
    list_runs,
    read_pipeline_runs,
    read_runs,
)
from chm_web.services.runs import record_runs
from tests.factories import NOW, make_client, make_pipeline, make_record, make_run

Fleet = list[tuple[Run, Pipeline]]


@pytest.fixture
def fleet(app: Flask) -> Fleet:
    """Runs of five pipelines of two clients on two platforms, many at one moment, the newest by event time first."""
    chance = random.Random(1)
    one, other = make_client(), make_client()
    pipelines = [
        make_pipeline(client, platform=platform, name=name)
        for client, platform, name in (
            (one, Platform.DBT, "orders_100%"),
            (one, Platform.DBT, "orders_daily"),
            (one, Platform.CRON, "Orders_export"),
            (other, Platform.DBT, "invoices"),
            (other, Platform.CRON, "never ran"),
        )
    ]
    records = []
    for _ in range(60):
        status = chance.choice(tuple(RunStatus))
        started = NOW + timedelta(minutes=chance.randrange(20))
        finished = None if status is RunStatus.RUNNING else started
        pipeline = chance.choice(pipelines[:4])
        records.append(make_record(pipeline, status=status, started_at=started, finished_at=finished))
    record_runs(records=records)
    of = {pipeline.id: pipeline for pipeline in pipelines}
    runs = sorted(db.session.scalars(sa.select(Run)), key=lambda run: (run.event_at, run.id), reverse=True)
    return [(run, of[run.pipeline_id]) for run in runs]


def read_all(wanted: RunFilter, limit: int, list_page: Callable[..., Page[Any]] = list_runs) -> list[Any]:
    """Every run, page by page."""
    found: list[Any] = []
    cursor = None
    while True:
        page = list_page(wanted=wanted, limit=limit, cursor=cursor)
        found += page.items
        if page.next_cursor is None:
            return found
        cursor = page.next_cursor


def matches(run: Run, pipeline: Pipeline, wanted: RunFilter) -> bool:
    """What a filter means, written down a second time."""
    return (
        wanted.client_id in (None, pipeline.client_id)
        and wanted.pipeline_id in (None, pipeline.id)
        and wanted.platform in (None, pipeline.platform)
        and (wanted.q is None or wanted.q.lower() in pipeline.name.lower())
        and wanted.status in (None, run.status)
        and (wanted.since is None or run.event_at >= wanted.since)
        and (wanted.until is None or run.event_at < wanted.until)
        and (wanted.error is None or (run.status is RunStatus.FAILED and wanted.error in (run.error_message or "")))
    )


SCOPES = ["none", "client", "pipeline", "platform", "name", "client and platform", "pipeline of another client"]


def scope_of(name: str, fleet: Fleet) -> dict[str, Any]:
    """The pipelines that are wanted."""
    pipelines = {pipeline.name: pipeline for _, pipeline in fleet}
    first, foreign = pipelines["orders_daily"], pipelines["invoices"]
    scopes: dict[str, dict[str, Any]] = {
        "none": {},
        "client": {"client_id": first.client_id},
        "pipeline": {"pipeline_id": first.id},
        "platform": {"platform": Platform.DBT},
        "name": {"q": "orders_"},
        "client and platform": {"client_id": first.client_id, "platform": Platform.CRON},
        "pipeline of another client": {"client_id": first.client_id, "pipeline_id": foreign.id},
    }
    return scopes[name]


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("status", [None, *RunStatus])
def test_pages_and_files_hold_the_wanted_runs_newest_first(fleet: Fleet, scope: str, status: RunStatus | None) -> None:
    window: dict[str, Any] = {"since": NOW + timedelta(minutes=3), "until": NOW + timedelta(minutes=17)}
    for limits, limit in itertools.product(({}, window), (7, 100)):
        wanted = RunFilter(**scope_of(scope, fleet), status=status, **limits)
        expected = [run.id for run, pipeline in fleet if matches(run, pipeline, wanted)]

        assert [run.id for run in read_all(wanted, limit)] == expected
        assert [run.id for run in read_all(wanted, limit, list_named_runs)] == expected
        assert [run.id for run in read_runs(wanted=wanted, limit=limit)] == expected[:limit]


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("status", [None, RunStatus.FAILED, RunStatus.CANCELED])
def test_errors_are_searched_among_the_failed_runs(fleet: Fleet, scope: str, status: RunStatus | None) -> None:
    for number, (run, _) in enumerate(fleet):
        run.error_message = ("disk full: 100%", "disk full: 99")[number % 2]
    db.session.commit()
    wanted = RunFilter(
        **scope_of(scope, fleet), status=status, since=NOW, until=NOW + timedelta(minutes=17), error="full: 100%"
    )
    expected = [run.id for run, pipeline in fleet if matches(run, pipeline, wanted)]

    assert expected or status is RunStatus.CANCELED or "pipeline" in scope or "client" in scope
    assert [run.id for run in read_all(wanted, 2)] == expected
    assert [run.id for run in read_runs(wanted=wanted, limit=100)] == expected


def test_reason_of_a_failure_without_a_message_is_searched_too(app: Flask) -> None:
    run = make_run(status=RunStatus.FAILED, status_reason="timeout")

    found = list_runs(wanted=RunFilter(since=NOW - timedelta(days=1), until=NOW, error="TIME")).items

    assert [each.id for each in found] == [run.id]


@pytest.mark.parametrize("since", [None, NOW - ERROR_SEARCH - timedelta(seconds=1)])
def test_errors_are_not_searched_in_a_long_time(app: Flask, since: datetime | None) -> None:
    with pytest.raises(Invalid) as refused:
        list_runs(wanted=RunFilter(error="x", since=since, until=NOW))

    assert refused.value.details[0].issue == "Error texts are searched in a window of 31 days at most."


@pytest.mark.parametrize("scope", ["none", "platform", "client"])
def test_file_is_read_in_pieces_that_join(fleet: Fleet, scope: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lists, "_KEYS_AT_ONCE", 7)
    wanted = RunFilter(**scope_of(scope, fleet))
    expected = [run.id for run, pipeline in fleet if matches(run, pipeline, wanted)]
    assert len(expected) > 14

    assert [run.id for run in read_runs(wanted=wanted, limit=100)] == expected
    assert [run.id for run in read_runs(wanted=wanted, limit=10)] == expected[:10]


def test_text_of_a_filter_is_taken_literally(fleet: Fleet) -> None:
    found = list_named_runs(wanted=RunFilter(q="100%")).items

    assert {run.pipeline_name for run in found} == {"orders_100%"}


def test_read_runs_have_pipeline_and_client_at_hand_and_no_payload(app: Flask) -> None:
    client = make_client(name="Northwind")
    make_run(make_pipeline(client, name="orders"), payload={"a": 1})
    db.session.expunge_all()

    run = next(read_runs(wanted=RunFilter(), limit=1))

    assert (run.pipeline.name, run.pipeline.client.name) == ("orders", "Northwind")
    assert "payload" in sa.inspect(run).unloaded


def test_named_runs_tell_what_the_runs_are(app: Flask) -> None:
    client = make_client(name="Northwind")
    run = make_run(make_pipeline(client, name="orders"), status=RunStatus.FAILED, error_message="x", status_reason="y")

    (named,) = list_named_runs(wanted=RunFilter()).items

    assert (named.pipeline_name, named.client_id, named.client_name) == ("orders", client.id, "Northwind")
    told = [each.name for each in fields(NamedRun) if hasattr(run, each.name)]
    assert {name: getattr(named, name) for name in told} == {name: getattr(run, name) for name in told}
    assert len(told) == 10


def test_empty_window_of_all_runs_is_invalid(app: Flask) -> None:
    with pytest.raises(Invalid, match="window is empty"):
        list_runs(wanted=RunFilter(since=NOW, until=NOW))


def test_file_of_a_pipeline_is_in_the_latest_run_order(app: Flask) -> None:
    pipeline = make_pipeline()
    # The one that started last ended first.
    long = make_run(pipeline, started_at=NOW, finished_at=NOW + timedelta(hours=9))
    short = make_run(pipeline, started_at=NOW + timedelta(hours=1), finished_at=NOW + timedelta(hours=2))
    make_run(pipeline, status=RunStatus.FAILED)
    make_run(make_pipeline())

    found = read_pipeline_runs(pipeline_id=pipeline.id, status=RunStatus.SUCCESS, limit=9)

    assert [run.id for run in found] == [short.id, long.id]


def test_file_holds_more_runs_than_are_read_at_once(app: Flask) -> None:
    pipeline = make_pipeline()
    run = make_run(pipeline, external_run_id="0", started_at=NOW, finished_at=NOW)
    copies = sa.text(
        "INSERT INTO runs (id, pipeline_id, external_run_id, status, started_at, finished_at)"
        " SELECT gen_random_uuid(), pipeline_id, n, status, started_at + n * interval '1 s', NULL"
        " FROM runs, generate_series(1, 1100) n WHERE id = :id"
    )
    db.session.execute(copies, {"id": run.id})

    found = [int(each.external_run_id) for each in read_pipeline_runs(pipeline_id=pipeline.id, limit=1050)]

    assert found == list(range(1100, 50, -1))


def test_file_of_an_unknown_pipeline_is_not_found(app: Flask) -> None:
    with pytest.raises(NotFound):
        read_pipeline_runs(pipeline_id=uuid4(), limit=1)
