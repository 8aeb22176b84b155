"""The files that Grafana reads: as the code makes them, and whole as far as can be told without Grafana."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from chm_web.config import ROOT
from dashboards.grafana.files import FOLDER, outdated, write
from dashboards.grafana.look import BAD, GOOD, LATE, RUNNING

BOARDS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (FOLDER / "dashboards").glob("*.json")}
RULES = yaml.safe_load((FOLDER / "provisioning/alerting/chm.yaml").read_text(encoding="utf-8"))


def panels_of(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def hides(override: dict[str, Any]) -> bool:
    return any(each["id"] == "custom.hideFrom.viz" and each["value"] for each in override["properties"])


def provisioned(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / f"provisioning/{kind}/chm.yaml").read_text(encoding="utf-8"))
    return found


def test_the_files_are_as_the_code_makes_them() -> None:
    assert outdated() == [], "run: .venv/bin/python -m dashboards"


def test_files_are_written_where_one_wants_them_with_ones_own_address(tmp_path: Path) -> None:
    written = write(tmp_path, "https://chm.example/")

    assert len(written) == 5
    assert 'https://chm.example"' in (tmp_path / "dashboards/fleet.json").read_text(encoding="utf-8")
    assert outdated(tmp_path, "https://chm.example/") == []
    assert outdated(tmp_path) == [name for name in written if name.endswith(".json")]


def test_there_are_the_four_dashboards_each_with_an_id_of_its_own() -> None:
    assert {name: board["uid"] for name, board in BOARDS.items()} == {
        name: f"chm-{name}" for name in ("fleet", "client", "platform", "ingestion")
    }
    assert len({board["title"] for board in BOARDS.values()}) == 4


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_says_nothing_that_grafanas_schema_does_not_know(name: str) -> None:
    register_default_plugins()

    known = json.loads(JSONEncoder().encode(Dashboard.from_json(BOARDS[name])))

    assert known == BOARDS[name]


@pytest.mark.parametrize("name", BOARDS)
def test_every_panel_has_a_title_a_number_of_its_own_and_the_one_data_source(name: str) -> None:
    [source] = provisioned("datasources")["datasources"]
    panels = panels_of(BOARDS[name])

    assert all(panel["title"] for panel in panels)
    assert len({panel["id"] for panel in BOARDS[name]["panels"]}) == len(BOARDS[name]["panels"])
    for holder in [*panels, *(target for panel in panels for target in panel["targets"])]:
        assert holder["datasource"] == {"type": source["type"], "uid": source["uid"]}


@pytest.mark.parametrize("name", BOARDS)
def test_every_panel_says_what_its_numbers_are_measured_in(name: str) -> None:
    for panel in panels_of(BOARDS[name]):
        config = panel["fieldConfig"]
        of_columns = [
            each["value"] for rule in config["overrides"] for each in rule["properties"] if each["id"] == "unit"
        ]
        assert config["defaults"].get("unit") or of_columns, panel["title"]


@pytest.mark.parametrize("name", BOARDS)
def test_panels_lie_within_the_grid_and_none_upon_another(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARDS[name]["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("name", BOARDS)
def test_names_and_numbers_lead_to_pages_of_chm(name: str) -> None:
    text = json.dumps(BOARDS[name])
    variables = {each["name"]: each for each in BOARDS[name]["templating"]["list"]}

    assert variables["chm_url"]["type"] == "constant"
    assert '"url": "${chm_url}/' in text
    for panel in panels_of(BOARDS[name]):
        shown = [each["matcher"]["options"] for each in panel["fieldConfig"]["overrides"] if not hides(each)]
        for kind in ("client", "pipeline"):
            if panel["type"] == "table" and f"{kind}_name" in shown:
                assert f"${{chm_url}}/{kind}s/${{__data.fields.{kind}_id}}" in json.dumps(panel), panel["title"]
                assert f"{kind}_id" in panel["targets"][0]["rawSql"], panel["title"]


def test_states_have_the_colours_of_chms_pages() -> None:
    css = (ROOT / "static/css/chm.css").read_text(encoding="utf-8").lower()

    assert all(colour in css for colour in (GOOD, BAD, LATE, RUNNING))


def test_alert_rules_have_ids_of_their_own_and_a_condition_among_their_steps() -> None:
    [group] = RULES["groups"]

    assert len({rule["uid"] for rule in group["rules"]}) == len(group["rules"]) == 3
    for rule in group["rules"]:
        steps = {step["refId"]: step for step in rule["data"]}
        assert rule["condition"] in steps
        assert {step["datasourceUid"] for step in steps.values()} == {"chm", "__expr__"}
        assert all(step["model"]["refId"] == ref for ref, step in steps.items())
        assert len(rule["uid"]) <= 40


def test_the_data_source_reads_as_the_reader_and_holds_no_password() -> None:
    [source] = provisioned("datasources")["datasources"]

    assert source["user"] == "chm_reader"
    assert source["secureJsonData"] == {"password": "$CHM_READER_PASSWORD"}
