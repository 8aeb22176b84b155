"""What stands on every panel of Grafana's, asked by the reader of the fleet that was worked out by hand."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import psycopg
import pytest
import yaml
from flask import Flask

from dashboards.grafana.files import FOLDER
from tests.factories import NOW
from tests.reporting import scene
from tests.reporting.grafana import ALL, expand
from tests.reporting.scene import ago

Reader = psycopg.Connection[Any]
BOARDS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (FOLDER / "dashboards").glob("*.json")}
PANELS = {
    f"{name}: {panel['title']} ({panel['type']})": panel
    for name, board in sorted(BOARDS.items())
    for panel in board["panels"]
    if panel["type"] != "row"
}
RULES = {
    rule["title"]: rule
    for group in yaml.safe_load((FOLDER / "provisioning/alerting/chm.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
}


@pytest.fixture(scope="module")
def ids(emptied_app: Flask) -> dict[str, UUID]:
    """The scene, committed."""
    return scene.build()


def ask(reader: Reader, sql: str, *, since: float = 24, client: UUID | str = ALL) -> list[dict[str, Any]]:
    """Ask as Grafana does; each row by its columns' names."""
    text = expand(sql, since=ago(since), until=NOW, variables={"client": str(client)})
    cursor = reader.execute(text.encode())
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def panel_sql(key: str) -> str:
    [target] = PANELS[key]["targets"]
    return str(target["rawSql"])


@pytest.mark.parametrize("key", PANELS)
def test_a_panel_asks_what_the_reader_may_read(key: str, ids: dict[str, UUID], reader: Reader) -> None:
    # Thirty days: fewer runs than in these would not be judged flaky.
    rows = ask(reader, panel_sql(key), since=24 * 30, client=ids["Acme"])

    assert rows
    [target] = PANELS[key]["targets"]
    assert ("time" in rows[0]) is (target["format"] == "time_series")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("fleet: Failing (stat)", {"Failing": 2}),
        ("fleet: Late (stat)", {"Late": 1}),
        ("fleet: Healthy (stat)", {"Healthy": 3}),
        ("fleet: No data (stat)", {"No data": 1}),
        ("fleet: Running now (stat)", {"Running now": 1}),
        ("fleet: Last arrival (stat)", {"Last arrival": 3300}),
        ("ingestion: Runs in the last hour (stat)", {"Runs in the last hour": 1}),
        ("ingestion: Runs in the last day (stat)", {"Runs in the last day": 10}),
    ],
)
def test_a_number_is_the_one_worked_out_by_hand(
    key: str, expected: dict[str, int], ids: dict[str, UUID], reader: Reader
) -> None:
    assert ask(reader, panel_sql(key)) == [expected]


def test_failures_over_time_are_a_series_without_gaps(ids: dict[str, UUID], reader: Reader) -> None:
    rows = ask(reader, panel_sql("fleet: Failures (timeseries)"))

    assert rows == [{"time": ago(24), "Failures": 0}, {"time": ago(12), "Failures": 4}]


def test_a_client_dashboard_shows_that_client_alone(ids: dict[str, UUID], reader: Reader) -> None:
    rows = ask(reader, panel_sql("client: Latest status (table)"), client=ids["Birch"])

    assert [row["pipeline_name"] for row in rows] == ["exports", "loads", "nothing", "retired"]


@pytest.mark.parametrize(("client", "airflow"), [("Birch", 1), (None, 3)])
def test_platforms_are_compared_of_one_client_or_of_all(
    client: str | None, airflow: int, ids: dict[str, UUID], reader: Reader
) -> None:
    rows = ask(reader, panel_sql("platform: Outcomes (table)"), client=ids[client] if client else ALL)

    assert {row["platform"]: row["failed"] for row in rows}["airflow"] == airflow


def test_a_client_name_in_the_variable_cannot_leave_its_quotes(ids: dict[str, UUID], reader: Reader) -> None:
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        ask(reader, panel_sql("client: Latest status (table)"), client="' OR true --")


@pytest.mark.parametrize("name", ["client", "platform", "ingestion"])
def test_the_variable_offers_every_client_by_name(name: str, ids: dict[str, UUID], reader: Reader) -> None:
    [variable] = [each for each in BOARDS[name]["templating"]["list"] if each["name"] == "client"]

    rows = ask(reader, variable["query"])

    assert [(row["__text"], row["__value"]) for row in rows] == [
        (client, str(ids[client])) for client in ("Acme", "Birch", "Closed")
    ]


@pytest.mark.parametrize("interval", ["1h", "6h", "1d", "7d", "90m"])
def test_every_width_that_grafana_may_choose_is_a_bucket(interval: str, ids: dict[str, UUID], reader: Reader) -> None:
    sql = expand(panel_sql("fleet: Success rate (timeseries)"), since=ago(24 * 7), until=NOW, interval=interval)

    assert reader.execute(sql.encode()).fetchall()


@pytest.mark.parametrize(
    ("title", "value"), [("Pipelines fail", 2), ("Pipelines are late", 1), ("Nothing comes in", 1)]
)
def test_an_alert_rule_judges_one_number_with_a_time(
    title: str, value: int, ids: dict[str, UUID], reader: Reader
) -> None:
    asked = RULES[title]["data"][0]["model"]

    assert asked["format"] == "time_series"
    assert ask(reader, asked["rawSql"], since=1) == [{"time": NOW, "value": value}]


def test_an_alert_rule_of_silence_fires_below_one_run(ids: dict[str, UUID], reader: Reader) -> None:
    query, _, judged = RULES["Nothing comes in"]["data"]
    sql = expand(query["model"]["rawSql"], since=ago(-4), until=ago(-5))

    [(_, value)] = reader.execute(sql.encode()).fetchall()

    [condition] = judged["model"]["conditions"]
    assert (value, condition["evaluator"]) == (0, {"type": "lt", "params": [1]})
