"""dbt Core's ``run_results.json``: its mapper, the command and the API."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import Result
from flask import Flask

from chm_web.commands.ingest import ingest as command
from chm_web.ingestion.mapper import Unmappable
from chm_web.ingestion.platforms.dbt_artifact import MAX_FAILED_NODES, map_run_results
from chm_web.models import RunStatus
from chm_web.services.runs import RunRecord
from tests.factories import make_pipeline
from tests.http import ApiClient
from tests.ingestion.lineage import make_event

CAPTURES = Path(__file__).with_name("captures") / "dbt_core"
GOOD = json.loads((CAPTURES / "run_results_success.json").read_text(encoding="utf-8"))
BAD = json.loads((CAPTURES / "run_results_error.json").read_text(encoding="utf-8"))


def mapped(raw: Any) -> RunRecord:
    return map_run_results(uuid4(), raw)


def with_statuses(*statuses: Any) -> dict[str, Any]:
    raw: dict[str, Any] = deepcopy(GOOD)
    raw["results"] = [{"unique_id": f"model.x.{place}", "status": status} for place, status in enumerate(statuses)]
    return raw


def test_genuine_good_run() -> None:
    record = mapped(GOOD)

    assert record.status is RunStatus.SUCCESS
    assert record.external_run_id == "1366bc5a-aace-44bd-87a1-55bd82e02fa0"
    assert record.started_at == datetime(2026, 11, 23, 1, 57, 44, 846446, UTC)
    assert record.finished_at == datetime(2026, 11, 23, 1, 57, 50, 203853, UTC)
    assert record.error_message is None
    assert record.payload is not None
    assert record.payload["nodes"] == {"success": 1, "warn": 1, "pass": 2}


def test_genuine_bad_run_says_which_node_failed_and_why() -> None:
    record = mapped(BAD)

    assert record.status is RunStatus.FAILED
    assert record.error_message is not None
    assert record.error_message.startswith("model.chm_demo.orders_bad: Runtime Error in model orders_bad")
    assert 'Referenced column "no_such_column" not found' in record.error_message


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("error", RunStatus.FAILED),
        ("fail", RunStatus.FAILED),
        ("runtime error", RunStatus.FAILED),
        ("partial success", RunStatus.FAILED),
        ("Error", RunStatus.FAILED),
        ("success", RunStatus.SUCCESS),
        ("pass", RunStatus.SUCCESS),
        ("warn", RunStatus.SUCCESS),
        ("no-op", RunStatus.SUCCESS),
        ("skipped", RunStatus.SKIPPED),
        ("reused", RunStatus.SUCCESS),
        (None, RunStatus.SUCCESS),
    ],
)
def test_status_of_the_only_node_is_that_of_the_run(word: Any, expected: RunStatus) -> None:
    assert mapped(with_statuses(word)).status is expected


def test_one_failed_node_fails_the_run() -> None:
    assert mapped(with_statuses("success", "skipped", "error")).status is RunStatus.FAILED


def test_run_in_which_something_was_done_was_not_skipped() -> None:
    assert mapped(with_statuses("success", "skipped")).status is RunStatus.SUCCESS


def test_run_without_nodes_is_a_success() -> None:
    assert mapped(with_statuses()).status is RunStatus.SUCCESS


def test_start_is_reckoned_where_older_versions_do_not_tell_it() -> None:
    raw = deepcopy(GOOD)
    del raw["metadata"]["invocation_started_at"]
    raw["elapsed_time"] = 10.203853

    assert mapped(raw).started_at == datetime(2026, 11, 23, 1, 57, 40, tzinfo=UTC)


@pytest.mark.parametrize("elapsed", [None, "soon", -1, 1e300, float("nan"), [], True])
def test_elapsed_time_that_cannot_be_one_tells_no_start(elapsed: Any) -> None:
    raw = deepcopy(GOOD)
    del raw["metadata"]["invocation_started_at"]
    raw["elapsed_time"] = elapsed

    assert mapped(raw).started_at is None


@pytest.mark.parametrize(
    "value", [None, "", "yesterday", False, 0, 1e300, {}, "9999-01-01T00:00:00Z", "0001-01-01T00:00:00Z"]
)
def test_time_that_cannot_be_one_is_not_known(value: Any) -> None:
    raw = deepcopy(GOOD)
    raw["metadata"]["generated_at"] = value

    assert mapped(raw).finished_at is None


def test_rows_are_added_up_where_the_adapter_tells_them() -> None:
    raw = with_statuses("success", "success", "success", "success")
    for node, rows in zip(raw["results"], (5, -1, "7", None), strict=True):
        node["adapter_response"] = {"rows_affected": rows}

    assert mapped(raw).rows_processed == 12


def test_many_failed_nodes_are_cut_and_counted() -> None:
    message = mapped(with_statuses(*["error"] * (MAX_FAILED_NODES + 5))).error_message

    assert message is not None
    assert message.endswith("... and 5 more")


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [],
        {},
        {"metadata": {}, "results": {}},
        {"metadata": {}, "results": []},
        {"metadata": {"invocation_id": ""}, "results": []},
        {"metadata": {"invocation_id": "a"}, "results": [None]},
        {"metadata": {"invocation_id": "a", "dbt_schema_version": "https://x/dbt/manifest/v12.json"}, "results": []},
    ],
)
def test_what_is_no_such_file_is_refused_in_words(raw: Any) -> None:
    with pytest.raises(Unmappable):
        mapped(raw)


# -- the command --------------------------------------------------------------------------------------------------


def ingest(app: Flask, *arguments: str) -> Result:
    return app.test_cli_runner().invoke(command, ["dbt-artifact", *arguments])


def test_command_records_the_run_once(app: Flask) -> None:
    pipeline = make_pipeline()
    file = str(CAPTURES / "run_results_error.json")

    first = ingest(app, file, "--pipeline", str(pipeline.id))
    second = ingest(app, file, "--pipeline", str(pipeline.id))

    assert first.output == "3a74fefd-32a4-4b7a-83f1-a14a89a1898a: failed\n"
    assert second.output == "3a74fefd-32a4-4b7a-83f1-a14a89a1898a: failed (known already)\n"


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "{}", '{"metadata": {}, "results": []}'])
def test_command_says_what_is_wrong_with_a_file(app: Flask, tmp_path: Path, text: str) -> None:
    file = tmp_path / "run_results.json"
    file.write_text(text)

    result = ingest(app, str(file), "--pipeline", str(make_pipeline().id))

    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert "Traceback" not in result.output


def test_command_needs_a_pipeline_that_exists(app: Flask) -> None:
    result = ingest(app, str(CAPTURES / "run_results_error.json"), "--pipeline", str(uuid4()))

    assert result.exit_code == 1
    assert "There is no pipeline" in result.output


# -- the API ------------------------------------------------------------------------------------------------------


def test_api_takes_the_file_as_it_is(api: ApiClient) -> None:
    path = f"/pipelines/{make_pipeline().id}/dbt-run-results"

    first = api.post(path, json=BAD)
    second = api.post(path, json=BAD)

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json is not None
    assert first.json["status"] == "failed"
    assert first.json["duration_seconds"] == pytest.approx(4.833619)


def test_file_and_what_dbt_has_pushed_are_one_run(api: ApiClient) -> None:
    pipeline = make_pipeline(external_id="dbt-run-orders")
    api.post(f"/pipelines/{pipeline.id}/dbt-run-results", json=BAD)

    facets = {"dbt_run": {"invocation_id": BAD["metadata"]["invocation_id"]}}
    pushed = api.post("/lineage", make_event(name="dbt-run-orders", eventType="FAIL", integration="DBT", facets=facets))

    assert pushed.json is not None
    assert (pushed.json["created"], pushed.json["updated"]) == (0, 1)


@pytest.mark.parametrize("body", [{}, {"metadata": {}, "results": []}, {"metadata": [], "results": []}])
def test_api_refuses_what_is_no_such_file(api: ApiClient, body: Any) -> None:
    answer = api.post(f"/pipelines/{make_pipeline().id}/dbt-run-results", json=body)

    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["error"]["details"]


def test_api_tells_a_pipeline_that_does_not_exist(api: ApiClient) -> None:
    assert api.post(f"/pipelines/{uuid4()}/dbt-run-results", json=GOOD).status_code == 404
