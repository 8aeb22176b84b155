"""Who changed what: the row says who last, the log says it all."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from typing import Any

import pytest
from flask import Flask

from chm_web import logs
from chm_web.config import ROOT
from chm_web.models import Channel, RuleType
from chm_web.services import alert_rules, clients, pipelines, runs
from chm_web.services.exceptions import Conflict
from tests.api.envelope import refusal
from tests.factories import make_alert_rule, make_client, make_pipeline, make_record
from tests.http import ApiClient


@pytest.fixture
def said(app: Flask, caplog: pytest.LogCaptureFixture) -> Any:
    """Gives what the audit log has said since: action, table, who, changes."""
    caplog.set_level(logging.INFO, logger="chm.audit")

    def read() -> list[tuple[Any, ...]]:
        found = [vars(record) for record in caplog.records if record.name == "chm.audit"]
        caplog.clear()
        told = [each.get("changes", each.get("counts")) for each in found]
        return [(each["action"], each.get("table"), each["by"], what) for each, what in zip(found, told, strict=True)]

    return read


def test_creation_is_told_with_every_field_that_is_set(said: Any) -> None:
    client = clients.create_client(name="Northwind", updated_by="mira")

    assert client.updated_by == "mira"
    assert said() == [("create", "clients", "mira", {"name": [None, "Northwind"], "is_active": [None, True]})]


def test_change_is_told_with_its_fields_before_and_after(said: Any) -> None:
    pipeline = make_pipeline(name="orders")
    said()

    pipelines.update_pipeline(
        pipeline_id=pipeline.id,
        changes={"name": "orders_daily", "expected_every_minutes": 60, "is_active": True},
        updated_by="mira",
    )

    changes = {"name": ["orders", "orders_daily"], "expected_every_minutes": [None, 60]}
    assert said() == [("update", "pipelines", "mira", changes)]
    assert pipeline.updated_by == "mira"


def test_each_of_several_that_are_disabled_at_once_is_told(said: Any) -> None:
    marked = [make_pipeline().id, make_pipeline().id]
    said()

    pipelines.set_pipelines_active(pipeline_ids=marked, is_active=False, updated_by="mira")

    assert said() == [("update", "pipelines", "mira", {"is_active": [True, False]})] * 2


def test_change_that_changes_nothing_is_nobodys(said: Any) -> None:
    pipeline = make_pipeline(name="orders", updated_by="mira")
    before = pipeline.updated_at
    said()

    pipelines.update_pipeline(pipeline_id=pipeline.id, changes={"name": "orders"}, updated_by="jonas")
    pipelines.update_pipeline(pipeline_id=pipeline.id, changes={}, updated_by="jonas")

    assert said() == []
    assert (pipeline.updated_by, pipeline.updated_at) == ("mira", before)


def test_disabling_twice_is_told_once(said: Any) -> None:
    client = make_client()
    said()

    clients.disable_client(client_id=client.id, updated_by="mira")
    clients.disable_client(client_id=client.id, updated_by="jonas")

    assert said() == [("update", "clients", "mira", {"is_active": [True, False]})]


def test_deletion_is_told_with_what_is_gone(said: Any) -> None:
    rule = make_alert_rule(client_id=make_client().id)
    said()

    alert_rules.delete_alert_rule(rule_id=rule.id, updated_by="mira")

    [(action, table, by, changes)] = said()
    assert (action, table, by) == ("delete", "alert_rules", "mira")
    assert changes["destination"] == ["#data-alerts", None]


def test_what_is_refused_is_not_told(said: Any) -> None:
    make_client(name="Northwind")
    said()

    with pytest.raises(Conflict):
        clients.create_client(name="northwind", updated_by="mira")
    assert said() == []


@pytest.mark.parametrize("host", ["https://hooks.slack.example", "https://alerts.example:8443"])
def test_destination_that_is_a_secret_is_not_told(said: Any, host: str) -> None:
    client = make_client()
    said()

    alert_rules.create_alert_rule(
        client_id=client.id,
        rule_type=RuleType.ON_FAILURE,
        channel=Channel.WEBHOOK,
        destination=f"{host}/services/T0/B0/Zx9kQ2vLm4Tt7Rw1",
        updated_by="mira",
    )

    [(_, _, _, changes)] = said()
    assert changes["destination"] == [None, f"{host}/[redacted]"]


def test_run_by_hand_is_told_whole_and_reports_by_their_number(said: Any) -> None:
    pipeline = make_pipeline()
    said()

    runs.create_run(record=make_record(pipeline), updated_by="mira")
    runs.record_runs(records=[make_record(pipeline), make_record(pipeline)], updated_by="token:loader")
    runs.record_runs(records=[make_record(pipeline)])

    by_hand, reported = said()
    assert by_hand[:3] == ("create", "runs", "mira")
    assert reported == ("report runs", None, "token:loader", {"created": 2, "updated": 0})


def test_report_that_changes_nothing_is_not_told(said: Any) -> None:
    record = make_record(make_pipeline())
    runs.record_runs(records=[record])
    said()

    runs.record_runs(records=[record], updated_by="token:loader")

    assert said() == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/clients", {"name": "Northwind"}),
        ("/clients/{client}/pipelines", {"name": "a", "platform": "dbt", "pipeline_type": "export"}),
        ("/alert_rules", {"client_id": "{client}", "rule_type": "on_failure", "channel": "slack", "destination": "#a"}),
    ],
)
def test_what_comes_by_the_api_is_signed_with_its_token(api: ApiClient, path: str, body: dict[str, str]) -> None:
    client = make_client()
    body = {name: value.replace("{client}", str(client.id)) for name, value in body.items()}

    response = api.post(path.replace("{client}", str(client.id)), body)

    assert response.status_code == 201, refusal(response)
    assert response.get_json()["updated_by"] == "token:write"


LOGGING = """
import logging
from chm_web import logs
logs.configure("INFO")
log = logging.getLogger("chm.test")
secrets = {"password": "hunter2", "said": "Authorization: Bearer Zx9kQ2vLm4Tt7Rw1"}
log.info("signed %s", "in", extra={"user": "mira", **secrets})
log.debug("too small")
try:
    raise ValueError("postgresql://etl:hunter2@db/x")
except ValueError:
    log.exception("it broke")
"""


def test_log_is_one_object_a_line_without_secrets() -> None:
    done = subprocess.run([sys.executable, "-c", LOGGING], cwd=ROOT, capture_output=True, text=True, check=True)

    first, second = (json.loads(line) for line in done.stderr.splitlines())
    assert (first["level"], first["logger"], first["message"], first["user"]) == (
        "INFO",
        "chm.test",
        "signed in",
        "mira",
    )
    assert first["time"].endswith("Z")
    assert "ValueError" in second["exc_info"]
    assert "hunter2" not in done.stderr
    assert "Zx9kQ2vLm4Tt7Rw1" not in done.stderr


def test_log_of_a_request_bears_its_id_and_whence_it_came(app: Flask) -> None:
    record = logging.LogRecord("chm", logging.INFO, __file__, 1, "said", None, None)
    with app.test_request_context(headers={"X-Request-ID": "my-request-7"}, environ_base={"REMOTE_ADDR": "192.0.2.7"}):
        app.preprocess_request()
        logs.RequestFilter().filter(record)

    assert (vars(record)["request_id"], vars(record)["address"]) == ("my-request-7", "192.0.2.7")
