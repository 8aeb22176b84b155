"""What goes wrong with every platform alike: clocks, pauses, tokens, and sources that go away. Against real servers."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from flask import Flask
from pytest_httpserver import HTTPServer
from redis import Redis
from werkzeug import Request, Response
from werkzeug.serving import WSGIRequestHandler

from chm_web import create_app
from chm_web.config import Config
from chm_web.ingestion.account import FEED
from chm_web.ingestion.client import SourceRefused
from chm_web.ingestion.job import OVERLAP
from chm_web.ingestion.progress import IngestionJob, JobState, SyncScope
from chm_web.ingestion.queue import get_job, latest_jobs, request_sync
from chm_web.ingestion.queue.connection import QUEUE_NAME
from chm_web.models import Pipeline, Platform, RunStatus
from tests.factories import find_run, make_pipeline
from tests.ingestion.airflows import DAG, AccountAccount, Airflow, airflow_source, dag_run, read_account
from tests.ingestion.conftest import WorkerProcess, wait_for, wait_until, workers_of
from tests.ingestion.dbt_clouds import JOB, DbtCloud, dbt_run, dbt_source
from tests.ingestion.partners import Account, answers, base_url, ingest, page, run, stored

StartWorker = Callable[[], WorkerProcess]

AHEAD = timedelta(hours=1)


# -- a platform's clock that is an hour ahead -----------------------------------------------------------------------


@pytest.fixture
def an_hour_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let servers say that it is an hour later than it is."""

    def tell(handler: object, timestamp: float | None = None) -> str:
        return format_datetime(datetime.now(UTC) + AHEAD, usegmt=True)

    monkeypatch.setattr(WSGIRequestHandler, "date_time_string", tell)


@pytest.mark.usefixtures("an_hour_ahead")
def test_an_airflow_whose_clock_is_ahead_is_asked_by_its_own_clock(app: Flask, httpserver: HTTPServer) -> None:
    pipeline = make_pipeline(external_id=DAG, platform=Platform.AIRFLOW)
    airflow = Airflow(httpserver, ahead=AHEAD, runs=[dag_run(1, state="success")])
    source, account = airflow_source(httpserver), AccountAccount()
    began = datetime.now(UTC).replace(microsecond=0)
    read_account(source, account)
    mark = account.marks[FEED]
    ended_at = datetime.now(UTC) + AHEAD
    late = {"start_date": (ended_at - timedelta(seconds=9)).isoformat(), "end_date": ended_at.isoformat()}
    airflow.runs.append(dag_run(2, state="success", **late))
    # What changed half an hour ago by Airflow's clock changes in half an hour by ours.
    airflow.changed = {"scheduled__1": ended_at - timedelta(minutes=30)}

    read_account(source, account)

    assert began + AHEAD <= mark + OVERLAP <= ended_at
    assert (account.counts.created, account.counts.unchanged) == (2, 0)
    assert find_run(pipeline.id, "scheduled__2").finished_at == ended_at


@pytest.mark.usefixtures("an_hour_ahead")
def test_a_dbt_cloud_whose_clock_is_ahead_is_asked_by_its_own_clock(app: Flask, httpserver: HTTPServer) -> None:
    pipeline = make_pipeline(external_id=str(JOB), platform=Platform.DBT)
    dbt = DbtCloud(httpserver, runs=[dbt_run(1)])
    source, account = dbt_source(httpserver), AccountAccount()
    read_account(source, account)
    at = datetime.now(UTC) + AHEAD
    half = at - timedelta(minutes=30)
    times = {name: str(at) for name in ("created_at", "started_at", "finished_at")}
    dbt.runs = [dbt_run(1, created_at=str(half), finished_at=str(half)), dbt_run(2, **times)]

    read_account(source, account)

    # By both parts of the feed: it was made and has ended since.
    assert (account.counts.created, account.counts.unchanged) == (2, 1)
    assert find_run(pipeline.id, str(dbt_run(2)["id"])).finished_at == at


# -- a token that runs out ------------------------------------------------------------------------------------------


def test_a_partners_token_that_runs_out_in_the_middle_keeps_the_place_until_there_is_another(
    pipeline: Pipeline, httpserver: HTTPServer
) -> None:
    seen = answers(httpserver, page(run(1), cursor="c1"), (401, {}), page(run(2)))
    account = Account()
    with pytest.raises(SourceRefused):
        ingest(base_url(httpserver), pipeline, account=account)
    before = (stored(), dict(account.marks))

    ingest(base_url(httpserver), pipeline, account=account)

    assert before == (1, {})
    assert [request.args.get("cursor") for request in seen] == [None, "c1", "c1"]
    assert stored() == 2
    assert pipeline.id in account.marks


def test_a_partners_pages_that_repeat_and_reorder_runs_end_in_the_same_rows(
    pipeline: Pipeline, httpserver: HTTPServer
) -> None:
    running = [run(n, status="running", finished_at=None) for n in range(3)]
    ended = [run(n) for n in range(3)]
    answers(
        httpserver,
        page(ended[1], running[0], running[1], cursor="a"),
        page(running[2], ended[0], ended[1], cursor="b"),
        page(running[1], running[0], ended[2]),
    )

    ingest(base_url(httpserver), pipeline)

    assert [find_run(pipeline.id, f"run-{n}").status for n in range(3)] == [RunStatus.SUCCESS] * 3
    assert stored() == 3


# -- a pause of five minutes, and a source that goes away meanwhile -------------------------------------------------


class Busy:
    """A partner that asks for five minutes' pause in the middle of one pipeline, once, and serves all others."""

    def __init__(self, server: HTTPServer) -> None:
        self.paused = False
        server.expect_request("/pipelines/slow/runs").respond_with_handler(self.handle)
        server.expect_request("/pipelines/other/runs").respond_with_json(page(run(9)))

    def handle(self, request: Request) -> Response:
        """Give a page, or ask for a pause."""
        if request.args.get("cursor") is None:
            return Response(json.dumps(page(run(1), cursor="c1")))
        if not self.paused:
            self.paused = True
            return Response("slow down", 429, {"Retry-After": "300"})
        return Response(json.dumps(page(run(2))))


@pytest.fixture
def waiting(
    partner_app: Flask, httpserver: HTTPServer, start_worker: StartWorker
) -> tuple[IngestionJob, WorkerProcess]:
    """A job of a pipeline whose partner has just asked for the pause, and the worker that was told so."""
    Busy(httpserver)
    slow = make_pipeline(external_id="slow")
    worker = start_worker()
    job, _ = request_sync(scope=SyncScope(pipeline_id=slow.id))
    wait_until(lambda: get_job(job_id=job.id).waiting_for)
    return get_job(job_id=job.id), worker


def let_five_minutes_pass(app: Flask) -> None:
    """Make it time for whatever waits for a time."""
    config: Config = app.config["CHM"]
    redis = Redis.from_url(config.redis_url)
    key = f"rq:scheduled:{QUEUE_NAME}"
    waits: list[tuple[bytes, float]] = redis.zrange(key, 0, -1, withscores=True)  # type: ignore[assignment]
    [(job_id, due)] = waits
    assert 240 < due - datetime.now(UTC).timestamp() <= 300
    redis.zadd(key, {job_id: datetime.now(UTC).timestamp() - 1})


def test_a_pause_of_five_minutes_keeps_no_worker_and_the_job_comes_back_by_itself(
    partner_app: Flask, waiting: tuple[IngestionJob, WorkerProcess]
) -> None:
    job, worker = waiting
    assert (job.state, job.waiting_for) == (JobState.QUEUED, "localhost asks for a pause of 300 s (429).")
    wait_until(lambda: workers_of(partner_app)[worker.process.pid] == "idle")

    other = wait_for(request_sync(scope=SyncScope(pipeline_id=make_pipeline(external_id="other").id))[0])
    meanwhile = get_job(job_id=job.id).state
    let_five_minutes_pass(partner_app)
    job = wait_for(job)

    assert (other.state, meanwhile) == (JobState.FINISHED, JobState.QUEUED)
    assert (job.state, job.counts.created, job.waiting_for) == (JobState.FINISHED, 2, None)


def test_a_source_that_is_removed_while_its_job_goes_on_ends_it_in_words_and_keeps_what_was_read(
    partner_app: Flask,
    config: Config,
    waiting: tuple[IngestionJob, WorkerProcess],
    worker_environ: dict[str, str],
    start_worker: StartWorker,
) -> None:
    job, worker = waiting
    worker.stop()
    for name in ("CHM_PARTNER_API_BASE_URL", "CHM_PARTNER_API_TOKEN"):
        del worker_environ[name]
    start_worker()
    let_five_minutes_pass(partner_app)

    job = wait_for(job)

    why = "The worker has no source 'partner' in its configuration. If there is one, restart the worker."
    assert (job.state, job.error) == (JobState.FAILED, f"partner: {why}")
    assert (job.counts.created, stored()) == (1, 1)
    # Who looks has the new configuration, too.
    with create_app(config).app_context():
        assert [one.id for one in latest_jobs()] == [job.id]
