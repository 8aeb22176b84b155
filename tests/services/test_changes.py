"""What has changed since a moment, in a fleet whose changes can be told by hand."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa

from chm_web.extensions import db
from chm_web.models import Client, Pipeline, RunStatus
from chm_web.services.changes import Change, ChangeKind, Fleet, list_changes, look_at_fleet
from chm_web.services.health import Health, list_fleet_health, tally_fleet_health
from chm_web.services.runs import record_runs
from tests.factories import NOW, make_client, make_pipeline, make_record
from tests.reporting import scene

SUCCESS, FAILED, CANCELED = RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.CANCELED
SINCE = NOW - timedelta(hours=24)


def pipeline_with(
    *runs: tuple[RunStatus, float], owner: Client | None = None, late_after: int | None = None, **values: object
) -> Pipeline:
    """A pipeline that is a hundred days old; of its runs, the status and how many hours before NOW they ended."""
    pipeline = make_pipeline(owner, expected_every_minutes=late_after, **values)
    db.session.get_one(Pipeline, pipeline.id).created_at = scene.ago(24 * 100)
    db.session.commit()
    record_runs(records=[make_record(pipeline, **scene.run(status, hours)) for status, hours in runs])
    return pipeline


def only_change(kind: ChangeKind) -> Change:
    """The one change that there is, which is of this kind."""
    changes = list_changes(since=SINCE, now=NOW)
    assert (changes.total, changes.totals[kind]) == (1, 1)
    return changes.listed[kind][0]


def ended(change: Change) -> float:
    """How many hours before NOW the run of a change ended."""
    moment = db.session.scalar(sa.text("SELECT event_at FROM runs WHERE id = :id"), {"id": change.run_id})
    return float((NOW - moment) / timedelta(hours=1))


@pytest.mark.usefixtures("app")
class TestKinds:
    """One pipeline, one change."""

    def test_newly_failing_names_the_first_failure_of_the_row(self) -> None:
        pipeline_with((SUCCESS, 30), (FAILED, 5), (FAILED, 3))

        change = only_change(ChangeKind.NEWLY_FAILING)

        assert (change.old, change.new, ended(change)) == (Health.HEALTHY, Health.FAILING, 5)

    def test_newly_failing_without_a_run_before_had_no_data(self) -> None:
        pipeline_with((FAILED, 3))

        assert only_change(ChangeKind.NEWLY_FAILING).old is Health.NO_DATA

    def test_recovered_names_the_success_that_ended_the_failures(self) -> None:
        pipeline_with((FAILED, 26), (FAILED, 10), (SUCCESS, 8), (SUCCESS, 2))

        change = only_change(ChangeKind.RECOVERED)

        assert (change.old, change.new, ended(change)) == (Health.FAILING, Health.HEALTHY, 8)

    def test_newly_late_names_the_last_success_before_the_silence(self) -> None:
        pipeline_with((SUCCESS, 40), (SUCCESS, 20), late_after=22 * 60 // 2)

        change = only_change(ChangeKind.NEWLY_LATE)

        # Late 1.25 x 11 h after the success: 6 h 15 min before NOW.
        assert change.changed_at == NOW - timedelta(hours=6, minutes=15)
        assert (change.new, ended(change)) == (Health.LATE, 20)

    def test_failing_that_was_late_before_says_so(self) -> None:
        pipeline_with((SUCCESS, 90), (FAILED, 2), late_after=60)

        assert only_change(ChangeKind.NEWLY_FAILING).old is Health.LATE

    def test_failure_that_has_passed_is_a_blip(self) -> None:
        pipeline_with((SUCCESS, 30), (FAILED, 9), (FAILED, 8), (SUCCESS, 6))

        change = only_change(ChangeKind.BLIP)

        assert (change.old, change.new, change.failures, ended(change)) == (Health.HEALTHY, Health.HEALTHY, 2, 8)

    def test_recovery_that_did_not_last_is_a_blip(self) -> None:
        pipeline_with((FAILED, 30), (SUCCESS, 9), (FAILED, 6))

        change = only_change(ChangeKind.BLIP)

        assert (change.old, change.new, change.failures, ended(change)) == (Health.FAILING, Health.FAILING, 1, 9)

    def test_run_at_the_very_moment_belongs_to_the_window(self) -> None:
        pipeline_with((SUCCESS, 30), (FAILED, 24))

        assert only_change(ChangeKind.NEWLY_FAILING).old is Health.HEALTHY

    def test_run_that_came_in_late_counts_when_it_happened(self) -> None:
        pipeline = pipeline_with((SUCCESS, 40))
        record_runs(records=[make_record(pipeline, **scene.run(FAILED, 30))])

        assert list_changes(since=SINCE, now=NOW).total == 0

    @pytest.mark.parametrize(
        "runs",
        [
            ((FAILED, 30), (FAILED, 3)),
            ((SUCCESS, 30), (SUCCESS, 3)),
            ((SUCCESS, 30), (CANCELED, 3)),
            ((FAILED, 30),),
            (),
        ],
        ids=["fails as before", "well as before", "only canceled", "nothing since", "nothing at all"],
    )
    def test_what_is_as_it_was_is_no_change(self, runs: tuple[tuple[RunStatus, float], ...]) -> None:
        pipeline_with(*runs)

        assert list_changes(since=SINCE, now=NOW).total == 0

    def test_pipeline_out_of_service_is_left_out(self) -> None:
        pipeline_with((SUCCESS, 30), (FAILED, 3), is_active=False)
        pipeline_with((SUCCESS, 30), (FAILED, 9), (SUCCESS, 3), owner=make_client(is_active=False))

        assert list_changes(since=SINCE, now=NOW).total == 0


@pytest.mark.usefixtures("app")
def test_newest_change_comes_first_and_the_rest_is_counted() -> None:
    for hours in (3, 1, 2):
        pipeline_with((SUCCESS, 30), (FAILED, hours), name=f"since {hours} h")

    changes = list_changes(since=SINCE, now=NOW, limit=2)

    listed = changes.listed[ChangeKind.NEWLY_FAILING]
    assert [change.pipeline_name for change in listed] == ["since 1 h", "since 2 h"]
    assert changes.totals[ChangeKind.NEWLY_FAILING] == 3


@pytest.mark.usefixtures("app")
def test_changes_are_counted_by_client() -> None:
    busy, quiet = make_client(), make_client()
    pipeline_with((SUCCESS, 30), (FAILED, 3), owner=busy)
    pipeline_with((FAILED, 3), owner=busy)
    pipeline_with((FAILED, 30), (SUCCESS, 3), owner=busy)
    pipeline_with((SUCCESS, 30), (SUCCESS, 3), owner=quiet)

    changes = look_at_fleet(since=SINCE, now=NOW).changes

    assert changes == {busy.id: {ChangeKind.NEWLY_FAILING: 2, ChangeKind.RECOVERED: 1}}


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize("hours", [1, 6, 24, 50, 24 * 7])
def test_counts_are_those_of_the_dashboards_and_of_the_list(hours: float) -> None:
    scene.build()
    since = scene.ago(hours)
    dashboards: dict[str, int] = dict(
        db.session.execute(
            sa.text("SELECT change, count(*) FROM reporting.health_changes(:since, :now) GROUP BY change"),
            {"since": since, "now": NOW},
        ).all()
    )

    counted: dict[str, int] = {}
    for tally in look_at_fleet(since=since, now=NOW).changes.values():
        for kind, pipelines in tally.items():
            counted[kind] = counted.get(kind, 0) + pipelines
    listed = list_changes(since=since, now=NOW).totals

    assert counted == dashboards
    assert {kind: total for kind, total in listed.items() if total and kind is not ChangeKind.BLIP} == dashboards


@pytest.mark.usefixtures("app")
def test_look_at_the_fleet_counts_as_the_tally_does() -> None:
    scene.build()

    fleet = look_at_fleet(since=SINCE, now=NOW)

    assert fleet.tally == tally_fleet_health(now=NOW)
    for health in (Health.FAILING, Health.LATE):
        listed = list_fleet_health(now=NOW, health=[health], limit=1000)
        assert len(listed) == fleet.tally.counts[health] > 0
        assert sorted(fleet.in_trouble[health]) == sorted((pipeline.since, pipeline.pipeline_id) for pipeline in listed)


def test_the_longest_in_trouble_are_given_with_those_that_are_as_long() -> None:
    ids = sorted(uuid4() for _ in range(4))
    late = list(zip((NOW, SINCE, NOW, SINCE - timedelta(1)), ids, strict=True))
    fleet = Fleet({}, {}, {Health.FAILING: [], Health.LATE: late})

    assert fleet.longest_in(Health.LATE, 1) == [ids[3]]
    assert fleet.longest_in(Health.LATE, 3) == [ids[3], ids[1], ids[0], ids[2]]
    assert fleet.longest_in(Health.LATE, 9) == [ids[3], ids[1], ids[0], ids[2]]
    assert fleet.longest_in(Health.FAILING, 9) == []
