"""What a rule covers and how often it would have fired, by histories whose answers were worked out by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask

from chm_web.models import Client, Pipeline, RuleType, RunStatus
from chm_web.services.exceptions import NotFound
from chm_web.services.rule_preview import Coverage, RulePreview, preview_rule
from tests.factories import NOW, make_alert_rule, make_client, make_pipeline, make_run

STATUS = {"s": RunStatus.SUCCESS, "f": RunStatus.FAILED, "c": RunStatus.CANCELED, "k": RunStatus.SKIPPED}


@pytest.fixture
def owner(app: Flask) -> Client:
    """A client."""
    return make_client()


@pytest.fixture
def pipeline(owner: Client) -> Pipeline:
    """Its only pipeline."""
    return make_pipeline(owner)


def history(pipeline: Pipeline, *runs: tuple[float, str]) -> None:
    """Runs that finished so many minutes before ``NOW``."""
    for minutes, status in runs:
        finished = NOW - timedelta(minutes=minutes)
        make_run(pipeline, status=STATUS[status], started_at=finished - timedelta(minutes=1), finished_at=finished)


def on_failure(owner: Client, **values: Any) -> RulePreview:
    """What a rule of the client's would do that fires on failure."""
    return preview_rule(rule_type=RuleType.ON_FAILURE, now=NOW, client_id=owner.id, **values)


def in_window(client_id: UUID, threshold: int, minutes: int) -> int:
    """How often a rule of the client's would have fired that counts failures."""
    return preview_rule(
        rule_type=RuleType.FAILURES_IN_WINDOW,
        now=NOW,
        client_id=client_id,
        threshold=threshold,
        window_minutes=minutes,
    ).fired


# -- coverage -----------------------------------------------------------------------------------------------------


def test_rule_of_a_client_covers_its_active_pipelines(owner: Client) -> None:
    make_pipeline(owner)
    make_pipeline(owner)
    make_pipeline(owner, is_active=False)
    make_pipeline()

    assert on_failure(owner).coverage == Coverage(covered=2, overridden=0)


def test_pipeline_with_an_enabled_rule_of_its_own_is_overridden(owner: Client) -> None:
    own, silenced, _ = (make_pipeline(owner) for _ in range(3))
    make_alert_rule(pipeline_id=own.id)
    make_alert_rule(pipeline_id=silenced.id, is_enabled=False)

    assert on_failure(owner).coverage == Coverage(covered=2, overridden=1)


def test_rule_that_is_being_changed_does_not_override_itself(owner: Client, pipeline: Pipeline) -> None:
    rule = make_alert_rule(pipeline_id=pipeline.id)

    assert on_failure(owner, rule_id=rule.id).coverage == Coverage(covered=1, overridden=0)


def test_rule_of_a_pipeline_covers_it_beside_its_other_rules(owner: Client, pipeline: Pipeline) -> None:
    make_alert_rule(pipeline_id=pipeline.id)

    assert on_failure(owner, pipeline_id=pipeline.id).coverage == Coverage(covered=1, overridden=0)


def test_nothing_of_a_disabled_client_is_covered(app: Flask) -> None:
    gone = make_client(is_active=False)
    make_pipeline(gone)

    assert on_failure(gone).coverage == Coverage(covered=0, overridden=0)


def test_pipeline_of_another_client_is_refused(owner: Client) -> None:
    with pytest.raises(NotFound, match="another client"):
        on_failure(owner, pipeline_id=make_pipeline().id)


def test_unknown_client_is_refused(app: Flask) -> None:
    with pytest.raises(NotFound):
        preview_rule(rule_type=RuleType.ON_FAILURE, now=NOW, client_id=uuid4())


# -- on_failure ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("runs", "times"),
    [
        ([], 0),
        ([(60, "s")], 0),
        ([(60, "f")], 1),  # nothing before it: the pipeline was not failing
        ([(60, "f"), (50, "f"), (40, "f")], 1),
        ([(60, "f"), (50, "s"), (40, "f")], 2),
        ([(60, "f"), (50, "c"), (40, "k"), (30, "f")], 1),  # these heal nothing
        ([(60, "s"), (50, "c"), (40, "f")], 1),
    ],
)
def test_on_failure_fires_when_a_pipeline_begins_to_fail(
    owner: Client, pipeline: Pipeline, runs: list[tuple[float, str]], times: int
) -> None:
    history(pipeline, *runs)

    assert on_failure(owner).fired == times


def test_failure_that_goes_on_from_before_the_seven_days_does_not_fire(owner: Client, pipeline: Pipeline) -> None:
    week = 7 * 24 * 60
    history(pipeline, (week + 5, "f"), (week - 5, "f"))

    assert on_failure(owner).fired == 0


def test_seven_days_begin_with_their_first_moment_and_end_before_now(owner: Client) -> None:
    for minutes in (7 * 24 * 60, 7 * 24 * 60 + 1, 0):
        history(make_pipeline(owner), (minutes, "f"))

    assert on_failure(owner).fired == 1


def test_order_is_by_event_time_and_not_by_arrival(owner: Client, pipeline: Pipeline) -> None:
    history(pipeline, (40, "f"), (60, "f"), (50, "s"))

    assert on_failure(owner).fired == 2


def test_pipelines_count_each_for_itself_the_noisiest_first(owner: Client) -> None:
    quiet, noisy = make_pipeline(owner, name="quiet"), make_pipeline(owner, name="noisy")
    history(quiet, (90, "f"))
    history(noisy, (80, "f"), (70, "s"), (60, "f"))

    preview = on_failure(owner)

    assert preview.firings is not None
    assert [(firing.pipeline_name, firing.times) for firing in preview.firings] == [("noisy", 2), ("quiet", 1)]
    assert preview.firings[0].last_at == NOW - timedelta(minutes=60)


def test_overridden_pipelines_do_not_fire_for_their_clients_rule(owner: Client, pipeline: Pipeline) -> None:
    history(pipeline, (60, "f"))
    make_alert_rule(pipeline_id=pipeline.id)

    assert on_failure(owner).fired == 0
    assert on_failure(owner, pipeline_id=pipeline.id).fired == 1


# -- failures_in_window -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("threshold", "minutes", "failures", "times"),
    [
        (1, 60, [50], 1),
        (1, 60, [50, 40, 30], 1),  # it stays reached while one of them is no older than an hour
        (1, 5, [50, 40, 30], 3),
        (2, 60, [50], 0),
        (2, 60, [50, 40], 1),
        (2, 60, [50, 40, 30, 20], 1),
        (3, 60, [200, 190, 180, 20, 10, 5], 2),
        (2, 10, [30, 20], 1),  # both ends of the window count
        (2, 9, [30, 20], 0),
        # At 20 the failures of 50 and 45 are older than 20 min: it was below, and is again until 15.
        (2, 20, [50, 45, 20, 15], 2),
        (3, 30, [60, 50, 40, 35, 30], 1),
        # Just after 40 the failure of 60 is too old, which leaves two: at 30 it is reached anew, and at 20 again.
        (3, 20, [60, 50, 40, 30, 20], 3),
    ],
)
def test_failures_in_window_fires_when_the_threshold_is_reached(
    pipeline: Pipeline, threshold: int, minutes: int, failures: list[float], times: int
) -> None:
    history(pipeline, *((minute, "f") for minute in failures), (55.5, "s"), (12.5, "c"))

    assert in_window(pipeline.client_id, threshold, minutes) == times


def test_failures_of_one_moment_count_each(owner: Client, pipeline: Pipeline) -> None:
    history(pipeline, (60, "f"), (60, "f"), (60, "f"))

    assert in_window(owner.id, 2, 30) == 1
    assert in_window(owner.id, 3, 30) == 1
    assert in_window(owner.id, 4, 30) == 0


def test_failures_of_several_pipelines_are_not_added_up(owner: Client) -> None:
    for minutes in (60, 50):
        history(make_pipeline(owner), (minutes, "f"))

    assert in_window(owner.id, 2, 60) == 0


def test_threshold_reached_before_the_seven_days_does_not_fire_in_them(owner: Client, pipeline: Pipeline) -> None:
    week = 7 * 24 * 60
    history(pipeline, (week + 20, "f"), (week + 10, "f"), (week - 5, "f"))

    assert in_window(owner.id, 2, 60) == 0


def test_window_longer_than_history_is_fine(owner: Client, pipeline: Pipeline) -> None:
    history(pipeline, (60, "f"), (50, "f"))

    assert in_window(owner.id, 2, 2**31 - 1) == 1
    assert in_window(owner.id, 2**31 - 1, 60) == 0


def test_window_without_its_numbers_cannot_tell_its_firings(owner: Client, pipeline: Pipeline) -> None:
    history(pipeline, (60, "f"))

    preview = preview_rule(rule_type=RuleType.FAILURES_IN_WINDOW, now=NOW, client_id=owner.id, threshold=1)

    assert preview.firings is None
    assert preview.coverage == Coverage(covered=1)


def test_client_of_a_pipeline_need_not_be_given(pipeline: Pipeline) -> None:
    history(pipeline, (60, "f"))

    preview = preview_rule(rule_type=RuleType.ON_FAILURE, now=NOW, pipeline_id=pipeline.id)

    assert (preview.coverage.covered, preview.fired) == (1, 1)
