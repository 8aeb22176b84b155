"""Pings: how cron jobs report their runs."""

from __future__ import annotations

import dataclasses
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from chm_web.access.ping_keys import ping_key, pipeline_of
from chm_web.extensions import db
from chm_web.models import Pipeline, Run, RunStatus
from chm_web.services.pings import SUPERSEDED
from tests.factories import make_pipeline


@pytest.fixture
def anyone(app: Flask) -> FlaskClient:
    """A program that has nothing but a key."""
    return app.test_client()


@pytest.fixture
def pipeline(app: Flask) -> Pipeline:
    return make_pipeline()


@pytest.fixture
def address(app: Flask, pipeline: Pipeline) -> str:
    return f"/ping/{ping_key(pipeline.id)}"


def runs_of(pipeline: Pipeline) -> list[Run]:
    query = select(Run).where(Run.pipeline_id == pipeline.id).order_by(Run.id)
    return list(db.session.scalars(query.execution_options(populate_existing=True)))


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_ping_alone_is_a_success(anyone: FlaskClient, pipeline: Pipeline, address: str, method: str) -> None:
    answer = anyone.open(address, method=method)

    assert answer.status_code == 200
    (run,) = runs_of(pipeline)
    assert run.status is RunStatus.SUCCESS
    assert run.finished_at is not None
    assert run.updated_by == "ping"


def test_disabled_pipeline_takes_pings(anyone: FlaskClient) -> None:
    pipeline = make_pipeline(is_active=False)

    assert anyone.get(f"/ping/{ping_key(pipeline.id)}").status_code == 200
    assert len(runs_of(pipeline)) == 1


def test_start_and_end_are_one_run_with_its_duration(anyone: FlaskClient, pipeline: Pipeline, address: str) -> None:
    anyone.get(f"{address}/start")
    (run,) = runs_of(pipeline)
    assert run.status is RunStatus.RUNNING

    anyone.get(address)

    (run,) = runs_of(pipeline)
    assert run.status is RunStatus.SUCCESS
    assert run.started_at is not None and run.finished_at is not None
    assert run.duration_seconds == pytest.approx((run.finished_at - run.started_at).total_seconds())


def test_fail_keeps_what_the_job_has_printed(anyone: FlaskClient, pipeline: Pipeline, address: str) -> None:
    anyone.post(f"{address}/fail", data="disk full\n")

    (run,) = runs_of(pipeline)
    assert (run.status, run.error_message) == (RunStatus.FAILED, "disk full")


def test_output_of_a_success_is_its_payload(anyone: FlaskClient, pipeline: Pipeline, address: str) -> None:
    anyone.post(address, data="copied 7 files")

    assert runs_of(pipeline)[0].payload == {"log": "copied 7 files"}


def test_exit_status_of_0_is_a_success(anyone: FlaskClient, pipeline: Pipeline, address: str) -> None:
    anyone.get(f"{address}/0")

    assert runs_of(pipeline)[0].status is RunStatus.SUCCESS


def test_any_other_exit_status_is_a_failure_and_its_reason(
    anyone: FlaskClient, pipeline: Pipeline, address: str
) -> None:
    anyone.get(f"{address}/3")

    (run,) = runs_of(pipeline)
    assert (run.status, run.status_reason) == (RunStatus.FAILED, "exit status 3")


@pytest.mark.parametrize("status", ["256", "-1", "x"])
def test_what_is_no_exit_status_is_refused(anyone: FlaskClient, pipeline: Pipeline, address: str, status: str) -> None:
    assert anyone.get(f"{address}/{status}").status_code in (400, 404)
    assert runs_of(pipeline) == []


def test_named_runs_may_overlap(anyone: FlaskClient, pipeline: Pipeline, address: str) -> None:
    anyone.get(f"{address}/start?rid=a")
    anyone.get(f"{address}/start?rid=b")
    anyone.get(f"{address}?rid=a")

    states = {run.external_run_id: run.status for run in runs_of(pipeline)}
    assert states == {"a": RunStatus.SUCCESS, "b": RunStatus.RUNNING}


def test_named_end_that_is_sent_twice_is_one_run(anyone: FlaskClient, pipeline: Pipeline, address: str) -> None:
    anyone.get(f"{address}?rid=a")
    anyone.get(f"{address}?rid=a")

    assert len(runs_of(pipeline)) == 1


def test_name_of_a_run_may_hold_anything_that_can_be_printed(
    anyone: FlaskClient, pipeline: Pipeline, address: str
) -> None:
    anyone.get(address, query_string={"rid": "nightly/2026-11-24 08:00+01:00"})

    assert runs_of(pipeline)[0].external_run_id == "nightly/2026-11-24 08:00+01:00"


def test_name_that_cannot_be_stored_is_refused_in_words(anyone: FlaskClient, address: str) -> None:
    answer = anyone.get(address, query_string={"rid": "x" * 600})

    assert answer.status_code == 400
    assert "external_run_id" in answer.text


def test_start_anew_gives_the_run_up_that_never_ended(anyone: FlaskClient, pipeline: Pipeline, address: str) -> None:
    anyone.get(f"{address}/start")
    anyone.get(f"{address}/start")
    anyone.get(address)

    first, second = runs_of(pipeline)
    assert (first.status, first.status_reason) == (RunStatus.CANCELED, SUPERSEDED)
    assert second.status is RunStatus.SUCCESS


def test_unnamed_ping_leaves_other_runs_alone(anyone: FlaskClient, pipeline: Pipeline, address: str) -> None:
    anyone.get(f"{address}/start?rid=named")
    anyone.get(address)

    states = sorted(run.status for run in runs_of(pipeline))
    assert states == [RunStatus.RUNNING, RunStatus.SUCCESS]


def test_of_a_long_log_the_end_is_kept(anyone: FlaskClient, pipeline: Pipeline, address: str, app: Flask) -> None:
    answer = anyone.post(f"{address}/fail", data=b"x" * 20_000_000 + b"the error")

    assert answer.status_code == 200
    message = runs_of(pipeline)[0].error_message
    assert message is not None and message.endswith("the error")
    assert len(message) <= 100_000


def test_secrets_in_a_log_are_not_stored(anyone: FlaskClient, pipeline: Pipeline, address: str) -> None:
    anyone.post(f"{address}/fail", data="login failed: password=hunter2-of-the-cron")

    assert "hunter2" not in (runs_of(pipeline)[0].error_message or "")


def test_bytes_that_are_no_text_are_no_obstacle(anyone: FlaskClient, pipeline: Pipeline, address: str) -> None:
    assert anyone.post(f"{address}/fail", data=b"\xff\x00 bad").status_code == 200
    assert "bad" in (runs_of(pipeline)[0].error_message or "")


@pytest.mark.parametrize("key", ["x", "{key}x", "{cut}", "x.{key}", "é"])
def test_key_that_is_not_ours_opens_nothing(anyone: FlaskClient, address: str, key: str) -> None:
    ours = address.removeprefix("/ping/")
    answer = anyone.get(f"/ping/{key.format(key=ours, cut=ours[:-4])}")

    assert answer.status_code == 404
    assert answer.mimetype == "text/plain"


def test_key_opens_its_own_pipeline_alone(app: Flask, pipeline: Pipeline) -> None:
    assert pipeline_of(ping_key(pipeline.id)) == pipeline.id
    assert ping_key(pipeline.id) != ping_key(make_pipeline().id)


def test_keys_end_with_the_secret(app: Flask, pipeline: Pipeline) -> None:
    key = ping_key(pipeline.id)
    config = app.config["CHM"]
    app.config["CHM"] = dataclasses.replace(config, secret_key="another-secret-of-thirty-two-characters")
    try:
        assert pipeline_of(key) is None
    finally:
        app.config["CHM"] = config


def test_pipeline_that_is_gone_is_not_found(app: Flask, anyone: FlaskClient) -> None:
    assert anyone.get(f"/ping/{ping_key(uuid4())}").status_code == 404


def test_too_many_pings_are_put_off(anyone: FlaskClient, address: str) -> None:
    answers = [anyone.get(f"{address}?rid=a") for _ in range(61)]

    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["Retry-After"]) >= 1
