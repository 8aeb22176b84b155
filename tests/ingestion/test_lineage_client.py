"""The official client against a running server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import (
    DatasetEvent,
    Job,
    JobEvent,
    OutputDataset,
    Run,
    RunEvent,
    RunState,
    StaticDataset,
)
from openlineage.client.facet_v2 import error_message_run, job_type_job, output_statistics_output_dataset
from werkzeug.serving import make_server

from chm_web.access.permissions import Scope
from chm_web.models import Pipeline, RunStatus
from tests.factories import find_run, make_pipeline
from tests.http import serving
from tests.ingestion.lineage import RUN_ID

PRODUCER = "https://vendor.example/loader"


@pytest.fixture
def address(committed_app: Flask) -> Iterator[str]:
    """The address of a server of the app."""
    server = make_server("127.0.0.1", 0, committed_app, threaded=True)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def pipeline(committed_app: Flask) -> Pipeline:
    """The pipeline whose runs the client reports."""
    return make_pipeline(external_id="vendor/nightly_orders")


@pytest.fixture(params=[None, "gzip"], ids=["plain", "gzip"])
def client(request: pytest.FixtureRequest, address: str, tokens: dict[Scope, str]) -> OpenLineageClient:
    """The client, configured as its manual says; one try, so that an error is seen as such."""
    transport: dict[str, Any] = {
        "type": "http",
        "url": address,
        "auth": {"type": "api_key", "apiKey": tokens[Scope.INGEST]},
        "retry": {"total": 0},
    }
    if request.param:
        transport["compression"] = request.param
    return OpenLineageClient(config={"transport": transport})


def event(state: RunState | None, *, minute: int, run_facets: Any = None, outputs: Any = None) -> RunEvent:
    """An event of the run ``RUN_ID``."""
    kind = job_type_job.JobTypeJobFacet(processingType="BATCH", integration="CUSTOM", jobType="JOB")
    return RunEvent(
        eventType=state,
        eventTime=datetime(2026, 11, 1, 12, minute, tzinfo=UTC).isoformat(),
        run=Run(runId=RUN_ID, facets=run_facets or {}),
        job=Job(namespace="vendor", name="nightly_orders", facets={"jobType": kind}),
        producer=PRODUCER,
        outputs=outputs or [],
    )


def test_clients_events_become_a_run(client: OpenLineageClient, pipeline: Pipeline) -> None:
    rows = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=1234)
    output = OutputDataset(namespace="postgres://db", name="orders", outputFacets={"outputStatistics": rows})

    client.emit(event(RunState.START, minute=0))
    client.emit(event(RunState.RUNNING, minute=1))
    client.emit(event(RunState.COMPLETE, minute=2, outputs=[output]))

    run = find_run(pipeline.id, RUN_ID)
    assert (run.status, run.duration_seconds, run.rows_processed) == (RunStatus.SUCCESS, 120, 1234)


def test_clients_failure_is_kept_with_its_message(client: OpenLineageClient, pipeline: Pipeline) -> None:
    facet = error_message_run.ErrorMessageRunFacet(message="file missing", programmingLanguage="python")

    client.emit(event(RunState.FAIL, minute=0, run_facets={"errorMessage": facet}))

    run = find_run(pipeline.id, RUN_ID)
    assert (run.status, run.error_message) == (RunStatus.FAILED, "file missing")


@pytest.mark.parametrize("state", list(RunState))
def test_every_type_of_the_client_is_taken(client: OpenLineageClient, pipeline: Pipeline, state: RunState) -> None:
    client.emit(event(state, minute=0))

    assert find_run(pipeline.id, RUN_ID).external_run_id == RUN_ID


def test_clients_events_of_jobs_and_datasets_are_accepted(client: OpenLineageClient, pipeline: Pipeline) -> None:
    at = datetime(2026, 11, 1, 12, tzinfo=UTC).isoformat()

    client.emit(JobEvent(eventTime=at, job=Job(namespace="vendor", name="nightly_orders"), producer=PRODUCER))
    client.emit(
        DatasetEvent(eventTime=at, dataset=StaticDataset(namespace="postgres://db", name="orders"), producer=PRODUCER)
    )


@pytest.mark.usefixtures("committed_app")
def test_client_is_content_though_no_pipeline_is_there(client: OpenLineageClient) -> None:
    client.emit(event(RunState.COMPLETE, minute=0))
