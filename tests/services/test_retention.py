"""The removal of old runs, on histories whose outcome is worked out by hand, and the command that asks for it."""

from __future__ import annotations

import dataclasses
import logging
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from click.testing import Result
from flask import Flask

from chm_web.commands.prune import prune
from chm_web.extensions import db
from chm_web.models import Pipeline, Run, RunStatus
from chm_web.services.health import get_pipeline_health
from chm_web.services.retention import Pruned, prune_runs
from chm_web.services.runs import get_latest_run, record_runs
from tests.factories import NOW, make_pipeline, make_record

RUNNING, SKIPPED, CANCELED, SUCCESS, FAILED = RunStatus

MONTH_AGO = NOW - timedelta(days=30)


def make_history(*runs: tuple[str, RunStatus, float], now: datetime = NOW) -> Pipeline:
    """A pipeline and its runs: name, status, and how many days ago it ended, or began where it still runs."""
    pipeline = make_pipeline()
    records = []
    for name, status, days in runs:
        moment = now - timedelta(days=days)
        ended = None if status is RUNNING else moment
        records.append(make_record(pipeline, external_run_id=name, status=status, started_at=moment, finished_at=ended))
    assert not record_runs(records=records).rejected
    return pipeline


def left(*pipelines: Pipeline) -> list[str]:
    """The names of the runs that stand, by name."""
    query = sa.select(Run.external_run_id).where(Run.pipeline_id.in_([pipeline.id for pipeline in pipelines]))
    return sorted(db.session.scalars(query))


def prune_all(*, before: datetime = MONTH_AGO, dry_run: bool = False, batch_size: int = 5000) -> Pruned:
    """Remove to the end, and give how it ended."""
    steps = [Pruned(), *prune_runs(before=before, dry_run=dry_run, batch_size=batch_size)]
    return steps[-1]


CASES: dict[str, tuple[Sequence[tuple[str, RunStatus, float]], list[str]]] = {
    "of a healthy pipeline all old runs go": (
        [("a", SUCCESS, 100), ("b", FAILED, 60), ("c", SUCCESS, 31), ("d", SUCCESS, 1)],
        ["d"],
    ),
    "of a pipeline that fell silent the newest success stays": (
        [("a", SUCCESS, 100), ("b", FAILED, 90), ("c", SUCCESS, 80)],
        ["c"],
    ),
    "its latest run stays beside the one that decides": (
        [("a", SUCCESS, 100), ("b", SUCCESS, 90), ("c", CANCELED, 80), ("d", SKIPPED, 70)],
        ["b", "d"],
    ),
    "of a failing pipeline the last success, the first failure since and the newest stay": (
        [("a", FAILED, 120), ("b", SUCCESS, 110), ("c", FAILED, 100), ("d", FAILED, 90), ("e", FAILED, 80)],
        ["b", "c", "e"],
    ),
    "what a young failure rests on stays however old": (
        [("a", SUCCESS, 110), ("b", SUCCESS, 100), ("c", FAILED, 90), ("d", FAILED, 80), ("e", FAILED, 1)],
        ["b", "c", "e"],
    ),
    "of one that never succeeded the first and the newest failure stay": (
        [("a", FAILED, 100), ("b", FAILED, 90), ("c", FAILED, 80)],
        ["a", "c"],
    ),
    "a run under way stays, and so does what it has not outdone": (
        [("a", SUCCESS, 100), ("b", SUCCESS, 90), ("c", RUNNING, 80)],
        ["b", "c"],
    ),
    "young runs that decide nothing do not let the deciding one go": (
        [("a", SUCCESS, 100), ("b", SUCCESS, 90), ("c", SKIPPED, 2), ("d", CANCELED, 1)],
        ["b", "d", "c"],
    ),
    "a pipeline whose runs decide nothing keeps the latest": (
        [("a", CANCELED, 100), ("b", SKIPPED, 90)],
        ["b"],
    ),
}


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize("batch_size", [1, 5000])
@pytest.mark.parametrize("case", CASES)
def test_what_stays(case: str, batch_size: int) -> None:
    runs, expected = CASES[case]
    pipeline = make_history(*runs)

    prune_all(batch_size=batch_size)

    assert left(pipeline) == sorted(expected)


@pytest.mark.usefixtures("app")
def test_a_run_at_the_very_moment_is_kept() -> None:
    pipeline = make_history(("before", SUCCESS, 30.001), ("at", SUCCESS, 30), ("after", SUCCESS, 1))

    prune_all()

    assert left(pipeline) == ["after", "at"]


@pytest.mark.usefixtures("app")
def test_it_counts_what_it_looked_at_and_what_it_removed() -> None:
    make_history(("a", SUCCESS, 100), ("b", SUCCESS, 90), ("c", SUCCESS, 80))
    make_history(("d", FAILED, 100), ("e", SUCCESS, 1))

    done = prune_all(batch_size=3)

    assert (done.looked_at, done.removed, done.kept) == (4, 3, 1)
    assert done.reached == NOW - timedelta(days=80)


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize("batch_size", [2, 5000])
def test_a_dry_run_counts_the_same_and_removes_nothing(batch_size: int) -> None:
    pipeline = make_history(("a", FAILED, 100), ("b", FAILED, 90), ("c", FAILED, 80), ("d", SUCCESS, 1))

    counted = prune_all(dry_run=True, batch_size=batch_size)

    assert left(pipeline) == ["a", "b", "c", "d"]
    assert counted == prune_all(batch_size=batch_size)
    assert left(pipeline) == ["d"]


@pytest.mark.usefixtures("app")
def test_one_that_was_stopped_is_taken_up_by_the_next() -> None:
    pipeline = make_history(("a", SUCCESS, 100), ("b", SUCCESS, 90), ("c", SUCCESS, 80), ("d", SUCCESS, 1))
    stopped = prune_runs(before=MONTH_AGO, batch_size=1)
    next(stopped)
    stopped.close()  # type: ignore[attr-defined]
    assert left(pipeline) == ["b", "c", "d"]

    assert prune_all().removed == 2
    assert left(pipeline) == ["d"]


@pytest.mark.usefixtures("app")
def test_a_second_time_there_is_nothing_to_remove() -> None:
    make_history(*CASES["of a failing pipeline the last success, the first failure since and the newest stay"][0])
    assert prune_all().removed == 2

    assert (prune_all().looked_at, prune_all().removed) == (3, 0)


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize("seed", range(6))
def test_no_answer_about_any_pipeline_changes(seed: int) -> None:
    chance = random.Random(seed)
    pipelines = [
        make_history(
            *(
                (
                    f"{number}",
                    chance.choice([SKIPPED, CANCELED, SUCCESS, FAILED, FAILED, RUNNING]),
                    chance.uniform(0, 90),
                )
                for number in range(chance.randint(1, 9))
            )
        )
        for _ in range(12)
    ]

    def answers() -> list[object]:
        # How many failed in a row is a count of what is kept, and does change.
        return [
            (
                dataclasses.replace(get_pipeline_health(pipeline_id=pipeline.id, now=NOW), failures_in_row=0),
                get_latest_run(pipeline_id=pipeline.id),
            )
            for pipeline in pipelines
        ]

    before = answers()
    assert prune_all(batch_size=7).removed > 0
    assert answers() == before


def test_a_run_that_a_writer_holds_is_left_and_not_waited_for(committed_app: Flask) -> None:
    pipeline = make_history(("held", SUCCESS, 100), ("free", SUCCESS, 90), ("new", SUCCESS, 1))
    with db.engine.connect() as writer:
        writer.execute(sa.text("SELECT 1 FROM runs WHERE external_run_id = 'held' FOR UPDATE"))

        assert prune_all().removed == 1

    assert left(pipeline) == ["held", "new"]
    assert prune_all().removed == 1


@pytest.mark.usefixtures("app")
def test_what_was_removed_is_in_the_record_of_changes(caplog: pytest.LogCaptureFixture) -> None:
    make_history(("a", SUCCESS, 100), ("b", SUCCESS, 1))
    with caplog.at_level(logging.INFO, "chm.audit"):
        list(prune_runs(before=MONTH_AGO, pruned_by="the test"))

    said = caplog.records[-1].__dict__
    assert (said["action"], said["counts"], said["by"]) == ("prune runs", {"removed": 1}, "the test")


def run_command(app: Flask, *arguments: str) -> Result:
    """Run ``chm prune``."""
    return app.test_cli_runner().invoke(prune, arguments)


def test_the_command_says_what_it_removed(app: Flask) -> None:
    now = datetime.now(UTC)
    pipeline = make_history(("a", SUCCESS, 100), ("b", SUCCESS, 90), ("c", SUCCESS, 10), now=now)
    silent = make_history(("d", SUCCESS, 90), now=now)

    counted = run_command(app, "--keep-days", "30", "--dry-run")
    assert counted.stdout.startswith("2 runs from before ")
    assert "UTC would be removed; 1 of that age stay" in counted.stdout
    assert len(left(pipeline, silent)) == 4

    done = run_command(app, "--keep-days", "30")
    assert done.exit_code == 0
    assert "UTC removed; 1 of that age stay" in done.stdout
    assert left(pipeline, silent) == ["c", "d"]


@pytest.mark.parametrize("arguments", [(), ("--keep-days", "0"), ("--keep-days", "-1")])
def test_the_command_removes_nothing_without_a_whole_day_to_keep(app: Flask, arguments: tuple[str, ...]) -> None:
    assert run_command(app, *arguments).exit_code == 2
