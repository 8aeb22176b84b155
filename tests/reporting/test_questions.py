"""What CHM exists to answer, answered from the schema ``reporting`` alone."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
import pytest
from flask import Flask

from tests.reporting import scene
from tests.reporting.asking import ask
from tests.reporting.conftest import PASSWORD, Connect
from tests.reporting.scene import ago

Reader = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def ids(emptied_app: Flask) -> dict[str, UUID]:
    """The scene, committed."""
    return scene.build()


def test_what_fails_now_for_which_client_since_when_with_what_error(
    ids: dict[str, UUID], connect: Connect, trusted_role: str
) -> None:
    found = ask(connect(trusted_role, PASSWORD), "failing_now_with_errors")

    # What a disabled pipeline or a disabled client's pipeline did last is of no account.
    assert [(row[0], row[1], row[4], row[7]) for row in found] == [
        ("Acme", "broken", ago(65), None),
        ("Acme", "orders", ago(5), "disk full"),
    ]


@pytest.mark.parametrize(
    ("since", "changes"),
    [
        (24, {"orders": "newly_failing", "sessions": "gone_silent", "invoices": "recovered"}),
        # The failures of five hours ago are older than this, sessions went silent before, invoices healed after it.
        (4, {"invoices": "recovered"}),
        (1, {}),
        # Before the first run there was no failure: what failed in the meantime and healed has not changed.
        (24 * 30, {"orders": "newly_failing", "broken": "newly_failing", "sessions": "gone_silent"}),
    ],
)
def test_what_has_changed_since(ids: dict[str, UUID], reader: Reader, since: float, changes: dict[str, str]) -> None:
    found = ask(reader, "changes_since", since=ago(since))

    assert {row[2]: row[0] for row in found} == changes


def test_latest_status_of_each_pipeline_of_a_client(ids: dict[str, UUID], reader: Reader) -> None:
    found = ask(reader, "latest_status_by_pipeline", client_id=ids["Birch"])

    assert [(row[0], row[3]) for row in found] == [
        ("exports", "success"),
        ("loads", "running"),
        ("nothing", None),
        ("retired", "failed"),
    ]


def test_what_is_flaky_and_not_what_is_simply_broken(ids: dict[str, UUID], reader: Reader) -> None:
    assert [row[1] for row in ask(reader, "flaky_pipelines", since=ago(24 * 30))] == ["prices"]


def test_five_runs_make_flakiness_and_four_do_not(ids: dict[str, UUID], reader: Reader) -> None:
    five = ask(reader, "flaky_pipelines", since=ago(60))
    four = ask(reader, "flaky_pipelines", since=ago(59))

    assert [(row[1], row[3], row[5]) for row in five] == [("prices", 0.75, 5)]
    assert four == []


def test_which_platforms_fail_most(ids: dict[str, UUID], reader: Reader) -> None:
    found = ask(reader, "failure_rate_by_platform", since=ago(72))

    assert [(row[0], row[1]) for row in found] == [
        ("custom", 1),
        ("airflow", 0.75),
        ("dbt", pytest.approx(2 / 3)),
        ("vendor_api", pytest.approx(1 / 3)),
        ("cron", 0),
    ]


def test_whether_it_gets_better_or_worse(ids: dict[str, UUID], reader: Reader) -> None:
    found = ask(reader, "failure_rate_by_platform_over_time", since=ago(72), bucket="1 day")

    # Days begin at midnight UTC, twelve hours before NOW.
    rates = {(row[0], row[1]): row[2] for row in found}
    assert [rates.get((ago(hours), "airflow")) for hours in (84, 60, 36, 12)] == [None, None, 0, 1]
    assert [rates.get((ago(hours), "vendor_api")) for hours in (84, 60, 36, 12)] == [0, pytest.approx(2 / 3), 0, None]
