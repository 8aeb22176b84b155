"""Every query of the contract, asked by the reader of a fleet whose right answers were worked out by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from flask import Flask

from dashboards.queries import README, columns_of, for_psycopg, parameters_of
from tests.factories import NOW
from tests.reporting import scene
from tests.reporting.asking import QUERIES, ask
from tests.reporting.conftest import PASSWORD, Connect
from tests.reporting.scene import ago

FIRST, SECOND = ago(24), ago(12)
MINUTES = timedelta(minutes=5)


@dataclass(frozen=True)
class Case:
    """What a query answers: the first columns of each row, in order. ``client`` is named, as the scene names it."""

    rows: list[tuple[Any, ...]]
    values: dict[str, Any] = field(default_factory=dict)
    client: str | None = None


CASES: dict[str, Case] = {
    "failing_now": Case(
        [
            ("Acme", "broken", "custom", "prod", ago(65), 5, None, None),
            ("Acme", "orders", "airflow", "prod", ago(5), 2, ago(30), None),
        ]
    ),
    "failing_now_with_errors": Case(
        [
            ("Acme", "broken", "custom", "prod", ago(65), 5, None, None),
            ("Acme", "orders", "airflow", "prod", ago(5), 2, ago(30), "disk full"),
        ]
    ),
    "health_tally": Case([("failing", 2, 0), ("late", 1, 0), ("running", 1, 1), ("healthy", 3, 0), ("no_data", 1, 0)]),
    "health_by_client": Case([("Acme", 2, 1, 0, 2, 0), ("Birch", 0, 0, 1, 1, 1)]),
    "changes_since": Case(
        [
            ("newly_failing", "Acme", "orders", "airflow", ago(5), "failing"),
            ("gone_silent", "Acme", "sessions", "cron", ago(8.75), "late"),
            ("recovered", "Acme", "invoices", "dbt", ago(2), "healthy"),
        ]
    ),
    "latest_status_by_pipeline": Case(
        [
            ("broken", "custom", "prod", "failed", ago(61)),
            ("invoices", "dbt", "prod", "success", ago(2)),
            ("orders", "airflow", "prod", "canceled", ago(2.5)),
            ("prices", "vendor_api", "prod", "success", ago(20)),
            ("sessions", "cron", "prod", "success", ago(10)),
        ],
        client="Acme",
    ),
    "freshness": Case(
        [
            ("Acme", "broken", "custom", "failing", None, None, None, None),
            ("Birch", "loads", "airflow", "running", None, None, None, None),
            ("Birch", "nothing", "airflow", "no_data", None, None, None, None),
            ("Acme", "orders", "airflow", "failing", ago(30), 108_000, None, None),
            ("Acme", "prices", "vendor_api", "healthy", ago(20), 72_000, None, None),
            ("Acme", "sessions", "cron", "late", ago(10), 36_000, 3600, ago(8.75)),
            ("Acme", "invoices", "dbt", "healthy", ago(2), 7200, None, None),
            ("Birch", "exports", "cron", "healthy", NOW, 0, None, None),
        ]
    ),
    "failures_over_time": Case([(ago(24), 0), (ago(18), 0), (ago(12), 0), (ago(6), 4)], values={"bucket": "6 hours"}),
    "failures_by_client": Case([("Acme", 2, 10), ("Birch", 1, 1), ("Closed", 1, 1)]),
    # prices: S F S F S S, four changes in five steps. What only fails is broken, and orders has too few runs.
    "flaky_pipelines": Case([("Acme", "prices", "vendor_api", 0.8, 4, 6, 2)], values={"since": ago(24 * 30)}),
    "failure_rate_by_platform": Case(
        [("airflow", 1, 3, 0, 5), ("dbt", 0.5, 1, 1, 2), ("cron", 0, 0, 2, 2), ("vendor_api", 0, 0, 1, 1)]
    ),
    "failure_rate_by_platform_over_time": Case(
        [
            (FIRST, "cron", 0, 0, 1, 1),
            (FIRST, "vendor_api", 0, 0, 1, 1),
            (SECOND, "airflow", 1, 3, 0, 5),
            (SECOND, "cron", 0, 0, 1, 1),
            (SECOND, "dbt", 0.5, 1, 1, 2),
        ]
    ),
    "success_rate_over_time": Case([(FIRST, 1, 2, 0, 2), (SECOND, pytest.approx(1 / 3), 2, 4, 8)]),
    "success_rate_by_pipeline": Case(
        [
            ("orders", "airflow", 0, 0, 2, 3),
            ("invoices", "dbt", 1, 1, 0, 1),
            ("prices", "vendor_api", 1, 1, 0, 1),
            ("sessions", "cron", 1, 1, 0, 1),
        ],
        client="Acme",
    ),
    "client_stability": Case([("Closed", 0, 0, 1, 1), ("Birch", 0.5, 1, 1, 3), ("Acme", 0.6, 3, 2, 6)]),
    "client_throughput": Case([("Birch", 1000, 3), ("Acme", 67, 6), ("Closed", None, 1)]),
    "throughput_over_time": Case([(FIRST, 1007, 2), (SECOND, 60, 8)]),
    "duration_percentiles_over_time": Case(
        [(FIRST, 60, 60, 60, 60, 2), (SECOND, 75, 115.5, pytest.approx(119.1), 120, 2)]
    ),
    "duration_percentiles_by_platform": Case(
        [
            ("cron", 45, 58.5, pytest.approx(59.7), 60, 2),
            ("dbt", 120, 120, 120, 120, 1),
            ("vendor_api", 60, 60, 60, 60, 1),
        ]
    ),
    "duration_percentiles_by_pipeline": Case(
        [
            ("invoices", "dbt", 120, 120, 120, 120, 1),
            ("prices", "vendor_api", 60, 60, 60, 60, 1),
            ("sessions", "cron", 30, 30, 30, 30, 1),
        ],
        client="Acme",
    ),
    "duration_histogram": Case(
        [
            *((0, 1, 0), (1, 5, 0), (5, 15, 0), (15, 60, 1), (60, 300, 3), (300, 900, 0), (900, 1800, 0)),
            *((1800, 3600, 0), (3600, 7200, 0), (7200, 14400, 0), (14400, 28800, 0), (28800, None, 0)),
        ]
    ),
    "clients": Case([("Acme", True), ("Birch", True), ("Closed", False)]),
    # Each run came in five minutes after its event, the last one after NOW.
    "ingestion_now": Case([(1, 10, ago(1) + MINUTES, 3300)]),
    "ingestion_over_time": Case([(FIRST, 2, 300, 300), (SECOND, 8, 300, 300)]),
    "ingestion_by_platform": Case(
        [
            ("airflow", 5, ago(1) + MINUTES, 300, 300),
            ("cron", 2, ago(10) + MINUTES, 300, 300),
            ("dbt", 2, ago(2) + MINUTES, 300, 300),
            ("vendor_api", 1, ago(20) + MINUTES, 300, 300),
        ]
    ),
}

# The same, of one client alone.
OF_BIRCH: dict[str, list[tuple[Any, ...]]] = {
    "failing_now": [],
    "failing_now_with_errors": [],
    "health_tally": [("failing", 0, 0), ("late", 0, 0), ("running", 1, 1), ("healthy", 1, 0), ("no_data", 1, 0)],
    "changes_since": [],
    "freshness": [("Birch", "loads"), ("Birch", "nothing"), ("Birch", "exports")],
    "failures_over_time": [(FIRST, 0), (SECOND, 1)],
    "flaky_pipelines": [],
    "failure_rate_by_platform": [("airflow", 1, 1, 0, 2), ("cron", 0, 0, 1, 1)],
    "failure_rate_by_platform_over_time": [(FIRST, "cron", 0, 0, 1, 1), (SECOND, "airflow", 1, 1, 0, 2)],
    "success_rate_over_time": [(FIRST, 1, 1, 0, 1), (SECOND, 0, 0, 1, 2)],
    "throughput_over_time": [(FIRST, 1000, 1), (SECOND, None, 2)],
    "duration_percentiles_over_time": [(FIRST, 60, 60, 60, 60, 1)],
    "duration_percentiles_by_platform": [("cron", 60, 60, 60, 60, 1)],
    "duration_histogram": [(lower, upper, int(lower == 60)) for lower, upper, _ in CASES["duration_histogram"].rows],
    "latest_status_by_pipeline": [("exports",), ("loads",), ("nothing",), ("retired",)],
    "success_rate_by_pipeline": [("retired", "airflow", 0, 0, 1, 1), ("exports",), ("loads",)],
    "ingestion_over_time": [(FIRST, 1, 300, 300), (SECOND, 2, 300, 300)],
    "ingestion_by_platform": [("airflow", 2, ago(1) + MINUTES, 300, 300), ("cron", 1, ago(24) + MINUTES, 300, 300)],
    "duration_percentiles_by_pipeline": [("exports", "cron", 60, 60, 60, 60, 1)],
}


@pytest.fixture(scope="module")
def ids(emptied_app: Flask) -> dict[str, UUID]:
    """The scene, committed."""
    return scene.build()


def heads(found: list[tuple[Any, ...]], expected: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The first columns of each row: as many as are expected of it."""
    widths = [len(row) for row in expected] + [len(row) for row in found[len(expected) :]]
    return [row[:width] for row, width in zip(found, widths, strict=False)]


@pytest.mark.parametrize("name", CASES)
def test_query_answers_what_is_worked_out_by_hand(
    name: str, ids: dict[str, UUID], connect: Connect, reader_role: str, trusted_role: str
) -> None:
    case = CASES[name]
    reader = connect(trusted_role if name.endswith("_with_errors") else reader_role, PASSWORD)

    found = ask(reader, name, **case.values, client_id=ids[case.client] if case.client else None)

    assert heads(found, case.rows) == case.rows


@pytest.mark.parametrize("name", OF_BIRCH)
def test_query_answers_of_one_client_alone(
    name: str, ids: dict[str, UUID], connect: Connect, trusted_role: str
) -> None:
    found = ask(connect(trusted_role, PASSWORD), name, client_id=str(ids["Birch"]))

    assert heads(found, OF_BIRCH[name]) == OF_BIRCH[name]


def test_every_query_has_a_case() -> None:
    assert list(QUERIES) == list(CASES)
    assert {name for name, query in QUERIES.items() if "client_id" in parameters_of(query)} == set(OF_BIRCH)


def test_a_window_takes_its_beginning_and_leaves_its_end(ids: dict[str, UUID], reader: psycopg.Connection[Any]) -> None:
    def rows(since: float, until: float) -> list[Any]:
        found = ask(reader, "client_throughput", since=ago(since), until=ago(until))
        return [row[1] for row in found if row[0] == "Birch"]

    assert rows(24, 1) == [1000]
    assert rows(23.999, 1.001) == [None]
    assert rows(23, 0) == [None]
    assert rows(23, -0.001) == [5]


def test_a_query_limits_its_list(ids: dict[str, UUID], reader: psycopg.Connection[Any]) -> None:
    assert [row[1] for row in ask(reader, "freshness", limit=2)] == ["broken", "loads"]


def test_the_view_of_health_is_of_the_present(ids: dict[str, UUID], reader: psycopg.Connection[Any]) -> None:
    view = reader.execute("SELECT * FROM reporting.pipeline_health ORDER BY pipeline_id").fetchall()
    function = reader.execute("SELECT * FROM reporting.pipeline_health_at(now()) ORDER BY pipeline_id").fetchall()

    assert len(view) == len(scene.FLEET)
    assert view == function


def test_error_texts_are_of_what_failed_or_was_canceled(
    ids: dict[str, UUID], connect: Connect, trusted_role: str
) -> None:
    query = "SELECT status, error_message FROM reporting.run_errors WHERE pipeline_id = %s ORDER BY event_at"

    found = connect(trusted_role, PASSWORD).execute(query, (ids["orders"],)).fetchall()

    assert found == [("failed", "timeout"), ("failed", "disk full"), ("canceled", "stopped by hand")]


@pytest.mark.parametrize("name", CASES)
def test_the_readme_names_a_querys_parameters_and_columns(
    name: str, emptied_app: Flask, connect: Connect, trusted_role: str
) -> None:
    readme = README.read_text(encoding="utf-8")
    [described] = [line for line in readme.splitlines() if line.startswith(f"| `{name}` |")]
    _, _, parameters, _, panel, _ = described.split("|")
    query = QUERIES[name]
    cursor = connect(trusted_role, PASSWORD).execute(for_psycopg(query), dict.fromkeys(parameters_of(query)))

    assert set(parameters.replace("`", "").replace(",", " ").split()) == parameters_of(query)
    assert columns_of(name) == [column.name for column in cursor.description or ()]
    assert panel.strip()


@pytest.mark.parametrize("name", [name for name in CASES if name.endswith("_over_time") and "ingestion" not in name])
def test_a_days_bucket_has_24_hours_whatever_the_readers_clocks_do(
    name: str, ids: dict[str, UUID], reader: psycopg.Connection[Any]
) -> None:
    def rows(time_zone: str) -> list[tuple[Any, ...]]:
        reader.execute("SELECT set_config('TimeZone', %s, false)", (time_zone,))
        found = ask(reader, name, since=NOW - timedelta(days=182), bucket="1 day")
        # Moments of a repeated hour are equal to none of another zone.
        return [(start.astimezone(UTC), *others) for start, *others in found]

    in_utc = rows("UTC")

    assert any(row[1] for row in in_utc)
    assert rows("Europe/Berlin") == in_utc


@pytest.mark.parametrize(
    "name", ["success_rate_over_time", "duration_percentiles_over_time", "failure_rate_by_platform_over_time"]
)
def test_a_window_may_be_without_end(name: str, ids: dict[str, UUID], reader: psycopg.Connection[Any]) -> None:
    always = ask(reader, name, since="-infinity", until="infinity")

    assert always == ask(reader, name, since=NOW - timedelta(days=90), until=NOW + timedelta(days=90))
    assert len(always) > 1
