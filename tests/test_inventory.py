"""``chm export`` and ``chm import``: files as somebody writes them, and what becomes of the inventory."""

from __future__ import annotations

import logging
import stat
from pathlib import Path
from textwrap import dedent

import pytest
import sqlalchemy as sa
from click.testing import Result
from flask import Flask

from chm_web.commands.actor import command_line_actor
from chm_web.commands.inventory import export_inventory, import_inventory
from chm_web.extensions import db
from chm_web.models import AlertRule, Channel, Client, Pipeline, Platform, RuleType
from tests.factories import make_alert_rule, make_client, make_pipeline

WHOLE = """\
clients:
- name: Acme Ölmühle
  is_active: true
  alert_rules:
  - rule_type: failures_in_window
    threshold: 3
    window_minutes: 60
    channel: email
    destination: ops@example.com
    is_enabled: true
  pipelines:
  - name: '007'
    platform: airflow
    external_id: orders.load
    pipeline_type: ingestion
    environment: staging
    expected_every_minutes: 60
    is_active: true
    description: 'Two lines:

      # no comment'
    alert_rules:
    - rule_type: on_failure
      threshold: null
      window_minutes: null
      channel: webhook
      destination: https://hooks.example/secret-path
      is_enabled: false
  - name: nightly
    platform: cron
    external_id: null
    pipeline_type: export
    environment: prod
    expected_every_minutes: null
    is_active: false
    description: null
    alert_rules: []
- name: beta
  is_active: false
  alert_rules: []
  pipelines: []
"""


def export(app: Flask, *arguments: str) -> str:
    """What ``chm export`` writes."""
    result = app.test_cli_runner().invoke(export_inventory, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the inventory is written."""
    return tmp_path / "inventory.yaml"


def take(app: Flask, file: Path, text: str, *options: str) -> Result:
    """Import this text."""
    file.write_text(dedent(text), encoding="utf-8")
    return app.test_cli_runner().invoke(import_inventory, [str(file), *options])


def taken(app: Flask, file: Path, text: str, *options: str) -> list[str]:
    """Import this text, and give the changes that were said."""
    result = take(app, file, text, *options)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def refused(app: Flask, file: Path, text: str) -> list[str]:
    """Import this text, which is refused, and give why, without the file's name; nothing has changed."""
    before = export(app)
    result = take(app, file, text)
    assert result.exit_code == 1, result.output
    assert export(app) == before
    lines = result.stderr.removeprefix("Error: ").splitlines()
    return [line.removeprefix(f"{file}:") for line in lines if line != "Nothing was changed."]


# -- there and back -----------------------------------------------------------------------------------------------


def test_an_empty_inventory_takes_a_whole_one_and_gives_it_back(app: Flask, file: Path) -> None:
    assert taken(app, file, WHOLE) == [
        "create   client Acme Ölmühle",
        f"create   alert rule failures_in_window by email of client Acme Ölmühle ({file}:5)",
        "create   pipeline Acme Ölmühle / 007",
        f"create   alert rule on_failure by webhook of pipeline Acme Ölmühle / 007 ({file}:23)",
        "create   pipeline Acme Ölmühle / nightly",
        "create   client beta",
    ]
    assert export(app) == WHOLE


def test_the_same_file_again_changes_nothing(app: Flask, file: Path) -> None:
    taken(app, file, WHOLE)
    assert taken(app, file, WHOLE) == []


def test_the_order_does_not_depend_on_that_of_making(app: Flask) -> None:
    for name in ("b", "C", "a"):
        client = make_client(name=name)
        for pipeline in ("z", "Y", "x"):
            make_pipeline(client, name=pipeline)

    names = [line.strip("- ") for line in export(app).splitlines() if "- name:" in line]

    pipelines = ["name: x", "name: Y", "name: z"]
    assert names == ["name: a", *pipelines, "name: b", *pipelines, "name: C", *pipelines]


def test_without_alert_rules_no_address_is_written_and_an_import_leaves_them(app: Flask, file: Path) -> None:
    taken(app, file, WHOLE)
    text = export(app, "--without-alert-rules")
    assert "alert_rules" not in text
    assert "secret-path" not in text
    assert taken(app, file, text, "--disable-missing") == []


def test_a_written_file_is_its_owners_alone(app: Flask, tmp_path: Path) -> None:
    path = tmp_path / "out.yaml"
    export(app, "--output", str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == export(app)


def test_of_rules_with_one_key_the_enabled_one_is_written(app: Flask) -> None:
    client = make_client()
    values = {"client_id": client.id, "rule_type": RuleType.FAILURES_IN_WINDOW, "window_minutes": 5}
    make_alert_rule(**values, threshold=11)
    make_alert_rule(**values, threshold=22, is_enabled=False)
    text = export(app)
    assert "threshold: 11" in text
    assert "threshold: 22" not in text


# -- what changes -------------------------------------------------------------------------------------------------


def test_what_the_file_does_not_name_stays(app: Flask, file: Path) -> None:
    taken(app, file, WHOLE)
    text = """\
    clients:
    - name: ACME ölmühle
      pipelines:
      - name: nightly
        expected_every_minutes: 1440
    """
    assert taken(app, file, text) == [
        "update   client ACME ölmühle: name",
        "update   pipeline ACME ölmühle / nightly: expected_every_minutes",
    ]
    expected = WHOLE.replace("Acme Ölmühle", "ACME ölmühle").replace(
        "es: null\n    is_active: false", "es: 1440\n    is_active: false"
    )
    assert export(app) == expected


def test_a_rule_is_known_by_type_channel_and_destination(app: Flask, file: Path) -> None:
    taken(app, file, WHOLE)
    text = """\
    clients:
    - name: Acme Ölmühle
      alert_rules:
      - {rule_type: failures_in_window, channel: email, destination: ops@example.com, threshold: 5}
      - {rule_type: on_failure, channel: email, destination: ops@example.com}
    """
    rule = "by email of client Acme Ölmühle"
    assert taken(app, file, text) == [
        f"update   alert rule failures_in_window {rule} ({file}:4): threshold",
        f"create   alert rule on_failure {rule} ({file}:5)",
    ]
    window = db.session.scalars(sa.select(AlertRule).filter_by(rule_type=RuleType.FAILURES_IN_WINDOW)).one()
    assert (window.threshold, window.window_minutes) == (5, 60)


def test_a_dry_run_says_the_same_and_changes_nothing(app: Flask, file: Path) -> None:
    said = taken(app, file, WHOLE, "--dry-run")
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Client)) == 0
    assert said == taken(app, file, WHOLE)


def test_changes_are_recorded_once_they_are_made(app: Flask, file: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "chm.audit"):
        taken(app, file, WHOLE, "--dry-run")
        assert not caplog.records
        taken(app, file, WHOLE)
    assert [record.__dict__["table"] for record in caplog.records].count("pipelines") == 2
    assert {record.__dict__["by"] for record in caplog.records} == {command_line_actor()}
    assert "secret-path" not in str([record.__dict__ for record in caplog.records])


# -- what is missing ----------------------------------------------------------------------------------------------

LESS = """\
clients:
- name: Acme Ölmühle
  alert_rules: []
  pipelines:
  - name: nightly
"""


def test_what_is_missing_stays_unless_asked_for(app: Flask, file: Path) -> None:
    taken(app, file, WHOLE)
    assert taken(app, file, LESS) == []


def test_what_is_missing_is_disabled_when_asked_for_and_never_deleted(app: Flask, file: Path) -> None:
    taken(app, file, WHOLE)
    kept = make_client(name="gamma")

    assert taken(app, file, LESS, "--disable-missing") == [
        "disable  alert rule failures_in_window by email of client Acme Ölmühle",
        "disable  pipeline Acme Ölmühle / 007",
        "disable  client gamma",
    ]
    assert db.session.get(Client, kept.id) is not None
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Pipeline)) == 2
    assert taken(app, file, LESS, "--disable-missing") == []


# -- what is refused ----------------------------------------------------------------------------------------------


def test_all_that_is_wrong_is_said_with_its_lines(app: Flask, file: Path) -> None:
    text = """\
    clients:
    - name: " "
      colour: blue
    - name: Acme
      pipelines:
      - name: orders
        platform: abacus
        pipeline_type: ingestion
        expected_every_minutes: "60"
      - platform: airflow
        pipeline_type: ingestion
      - just text
      alert_rules:
      - rule_type: failures_in_window
        channel: email
        destination: nobody
    - name: acme
    """
    assert sorted(refused(app, file, text)) == sorted(
        [
            "2: name: Length must be between 1 and 200.",
            "3: colour: Unknown field.",
            "7: platform: Must be one of: airflow, dbt, cron, vendor_api, custom.",
            "9: expected_every_minutes: Not a valid integer.",
            "10: name: Missing data for required field.",
            "5: pipelines: Number 3 must have fields, such as name.",
            "14: threshold: Required for failures_in_window.",
            "14: window_minutes: Required for failures_in_window.",
            "16: destination: For email, give an address such as ops@example.com.",
            f"17: This stands in the file already, at {file}:4.",
        ]
    )


def test_a_destination_inside_is_refused_with_its_line(app: Flask, file: Path) -> None:
    text = """
    clients:
    - name: Acme
      alert_rules:
      - rule_type: on_failure
        channel: webhook
        destination: http://192.168.0.9/
    """
    [told] = refused(app, file, text)
    assert told.startswith("7: destination: Nothing is sent to addresses that are not public")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", '1: the file must begin with "clients:".'),
        ("- a", '1: the file must begin with "clients:".'),
        ("pipelines: []", "1: pipelines: Unknown field."),
        ("clients: Acme", "1: clients: Must be a list."),
        ("clients:\n- name: a\n  name: b", "3: this is not YAML as it is taken here: name stands twice here."),
        ("clients:\n- {name: a", "2: this is not YAML as it is taken here: "),
        ("clients:\n- &a {name: a}\n- *a", "3: this is not YAML as it is taken here: aliases (*name) are not taken."),
        (
            "clients:\n- name: !!python/object:os.system a",
            "2: this is not YAML as it is taken here: could not determine",
        ),
    ],
)
def test_what_is_no_inventory_is_refused(app: Flask, file: Path, text: str, said: str) -> None:
    assert refused(app, file, text)[0].startswith(said)


def test_what_clashes_in_the_database_is_said_with_its_line_and_undoes_all(app: Flask, file: Path) -> None:
    text = """\
    clients:
    - name: Acme
      pipelines:
      - {name: a, platform: dbt, external_id: same, pipeline_type: quality}
      - {name: b, platform: dbt, external_id: same, pipeline_type: quality}
    """
    [said] = refused(app, file, text)
    assert said == "5: This client has a pipeline with this external id on this platform already."


# -- CSV ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Where pipelines are written as CSV."""
    return tmp_path / "pipelines.csv"


def test_pipelines_go_there_and_back_as_csv(app: Flask, table: Path) -> None:
    client = make_client(name='Acme, "the" client')
    make_pipeline(client, name="=SUM(A1)", description="two\nlines", expected_every_minutes=60, external_id="x")
    make_pipeline(client, name="plain", is_active=False)
    text = export(app, "--format", "csv")

    assert text.splitlines()[1] == ('"Acme, ""the"" client",\'=SUM(A1),vendor_api,x,ingestion,prod,60,yes,"two')
    assert taken(app, table, text) == []
    for thing in (*db.session.scalars(sa.select(Pipeline)), client):
        db.session.delete(thing)
        db.session.flush()
    db.session.commit()
    assert len(taken(app, table, text)) == 3
    assert export(app, "--format", "csv") == text


def test_a_table_of_pipelines_makes_the_clients_it_names(app: Flask, table: Path) -> None:
    text = "client,name,platform,pipeline_type\nAcme,a,dbt,quality\nBeta,b,cron,export\n acme ,c,dbt,quality\n"
    assert len(taken(app, table, text)) == 5
    found = db.session.execute(sa.select(Client.name, Pipeline.name, Pipeline.platform).join_from(Client, Pipeline))
    assert sorted(map(tuple, found)) == [
        ("Acme", "a", Platform.DBT),
        ("Acme", "c", Platform.DBT),
        ("Beta", "b", Platform.CRON),
    ]


def test_all_that_is_wrong_with_a_table_is_said_with_its_lines(app: Flask, table: Path) -> None:
    text = "client,name,platform,pipeline_type,is_active\nAcme, ,dbt,quality,\nAcme,b,abacus,quality,maybe\n"
    assert sorted(refused(app, table, text)) == [
        "2: name: Length must be between 1 and 200.",
        "3: is_active: Not a valid boolean.",
        "3: platform: Must be one of: airflow, dbt, cron, vendor_api, custom.",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,platform\n", "client must be there."),
        ("client,name,colour\n", "colour cannot be one."),
        ("client,name,name\n", "name cannot be one."),
        ("client,name\n,b\n", "2: client must be filled in."),
        ("client,name\na,b,c\n", "2: this row has 3 cells and the first line 2."),
    ],
)
def test_what_is_no_table_of_pipelines_is_refused(app: Flask, table: Path, text: str, said: str) -> None:
    assert refused(app, table, text)[0].endswith(said)


def test_nothing_is_missing_from_a_table(app: Flask, table: Path) -> None:
    assert take(app, table, "client,name\n", "--disable-missing").exit_code == 2


def test_enumerations_are_written_as_words(app: Flask) -> None:
    make_alert_rule(client_id=make_client().id, channel=Channel.SLACK)
    assert "channel: slack" in export(app)
