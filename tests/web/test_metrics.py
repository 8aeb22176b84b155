"""``/metrics``: what monitoring reads."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.statements import count_statements
from chm_web import create_app
from chm_web.access.permissions import Permission, Role, Scope
from chm_web.config import ROOT, Config
from chm_web.extensions import db
from chm_web.ingestion.progress import SyncScope
from chm_web.ingestion.queue import request_sync
from chm_web.ingestion.queue.figures import BOUNDS, note_duration
from chm_web.ingestion.queue.signs import note_asked
from chm_web.metrics_directory import VARIABLE, share_figures
from chm_web.models import RunStatus
from chm_web.web import metrics
from tests.factories import make_client, make_pipeline, make_run
from tests.http import client_of, client_with_token

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(client: FlaskClient) -> Samples:
    """All figures, by name and labels."""
    response = client.get("/metrics")
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"].startswith("text/plain")
    return parse(response.text)


def parse(text: str) -> Samples:
    """All figures of a text, as Prometheus understands it."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    """One figure; None where it is not told."""
    return samples.get((name, tuple(sorted(labels.items()))))


@pytest.fixture
def monitor(app: Flask, tokens: dict[Scope, str]) -> FlaskClient:
    """Prometheus with a token that may read."""
    return client_with_token(app, tokens[Scope.READ])


# -- who may --------------------------------------------------------------------------------------------------------


def test_figures_take_a_token_or_somebody_who_is_signed_in(app: Flask, monitor: FlaskClient) -> None:
    refused = app.test_client().get("/metrics")

    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer realm=CHM")
    assert monitor.get("/metrics").status_code == 200
    assert client_of(app, role=Role.VIEWER).get("/metrics").status_code == 200


def test_figures_are_open_by_configuration(config: Config, app: Flask) -> None:
    public = create_app(dataclasses.replace(config, metrics_public=True))

    assert public.test_client().get("/metrics").status_code == 200
    assert public.test_client().get("/clients").status_code == 303


def test_figures_do_not_count_against_the_limit_of_requests(
    config: Config, app: Flask, tokens: dict[Scope, str]
) -> None:
    limited = create_app(dataclasses.replace(config, api_rate_limit_per_minute=2))
    client = client_with_token(limited, tokens[Scope.READ])

    assert [client.get("/metrics").status_code for _ in range(4)] == [200] * 4


# -- what is told ---------------------------------------------------------------------------------------------------


def test_runs_are_counted_by_status_over_an_hour_and_a_day(monitor: FlaskClient) -> None:
    now = datetime.now(UTC)
    pipeline = make_pipeline()
    for status, hours in (
        (RunStatus.SUCCESS, 0.4),
        (RunStatus.FAILED, 0.5),
        (RunStatus.FAILED, 3),
        (RunStatus.FAILED, 30),
    ):
        ended = now - timedelta(hours=hours)
        make_run(pipeline, status=status, started_at=ended - timedelta(minutes=1), finished_at=ended)

    samples = read(monitor)

    counted = {
        (window, status): value(samples, "chm_recent_runs", window=window, status=status)
        for window in ("1h", "24h")
        for status in RunStatus
    }
    zero = dict.fromkeys(counted, 0.0)
    assert counted == zero | {("1h", "success"): 1, ("1h", "failed"): 1, ("24h", "success"): 1, ("24h", "failed"): 2}
    assert value(samples, "chm_pipelines", health="healthy") == 1
    assert value(samples, "chm_up", part="database") == 1


def test_no_name_of_a_client_or_a_pipeline_is_told(app: Flask, monitor: FlaskClient) -> None:
    pipeline = make_pipeline(make_client(name="Secretive Ltd"), name="hush_hush")
    make_run(pipeline, status=RunStatus.FAILED)
    client_of(app).get(f"/pipelines/{pipeline.id}")
    client_of(app).get("/search?q=Secretive")

    text = monitor.get("/metrics").text

    assert "/pipelines/<uuid:pipeline_id>" in text
    assert not any(word in text for word in ("Secretive", "hush_hush", str(pipeline.id), str(pipeline.external_id)))


@pytest.mark.usefixtures("with_partner")
def test_sources_are_told_with_their_lag_and_failures(app: Flask, monitor: FlaskClient) -> None:
    redis = app.extensions["chm_queue"].redis
    note_asked(redis, begins_at={"partner": datetime.now(UTC)})
    unread = read(monitor)
    read_at = datetime.now(UTC) - timedelta(hours=2)
    redis.hset("chm:source:partner", mapping={"failures": 3, "last_success_at": read_at.isoformat()})

    samples = read(monitor)

    assert value(unread, "chm_source_lag_seconds", source="partner") is None
    assert value(unread, "chm_source_behind", source="partner") == 0
    lag = value(samples, "chm_source_lag_seconds", source="partner")
    assert lag is not None and 7200 <= lag < 7260
    assert value(samples, "chm_source_behind", source="partner") == 1
    assert value(samples, "chm_source_failures_in_row", source="partner") == 3


@pytest.mark.usefixtures("with_partner")
def test_the_queue_is_told_with_its_depth_and_its_workers(monitor: FlaskClient) -> None:
    before = read(monitor)
    make_pipeline()
    request_sync(scope=SyncScope())

    samples = read(monitor)

    states = [value(samples, "chm_queue_parts", state=state) for state in ("queued", "started", "scheduled")]
    assert value(before, "chm_queue_parts", state="queued") == 0
    assert (states, value(samples, "chm_workers")) == ([1, 0, 0], 0)


@pytest.mark.usefixtures("with_partner")
def test_readings_are_told_as_a_histogram_of_how_long_they_took(app: Flask, monitor: FlaskClient) -> None:
    with app.extensions["chm_queue"].redis.pipeline() as pipe:
        for seconds in (0.4, 3.0, 3.5, 100_000.0):
            note_duration(pipe, source="partner", outcome="finished", seconds=seconds)
        note_duration(pipe, source="configured-no-longer", outcome="finished", seconds=1.0)
        pipe.execute()

    samples = read(monitor)

    name, labels = "chm_ingestion_duration_seconds", {"source": "partner", "outcome": "finished"}
    within = [value(samples, f"{name}_bucket", le=f"{bound:.1f}", **labels) for bound in BOUNDS]
    assert within == [1, 1] + [3] * (len(BOUNDS) - 2)
    assert value(samples, f"{name}_bucket", le="+Inf", **labels) == value(samples, f"{name}_count", **labels) == 4
    assert value(samples, f"{name}_sum", **labels) == pytest.approx(100_006.9)
    assert not any("configured-no-longer" in str(key) for key in samples)


def count(samples: Samples, **labels: str) -> float:
    """How many requests there were."""
    return value(samples, "chm_http_request_duration_seconds_count", **labels) or 0


def test_requests_are_told_by_route_method_and_class_of_status(app: Flask, monitor: FlaskClient) -> None:
    routes = {
        "found": {"route": "/clients", "method": "GET", "status": "2xx"},
        "gone": {"route": "/clients/<uuid:client_id>", "method": "GET", "status": "4xx"},
        "refused": {"route": "/clients/new", "method": "POST", "status": "3xx"},
        "nowhere": {"route": "(none)", "method": "GET", "status": "4xx"},
        "odd": {"route": "(none)", "method": "(other)", "status": "4xx"},
    }
    before = read(monitor)
    browser = client_of(app)
    browser.get("/clients")
    browser.get("/clients/0190a5b4-7e1c-7c3a-8f7e-1234567890ab")
    app.test_client().post("/clients/new")
    browser.get("/made-up/by-a-stranger")
    browser.open("/made-up/by-a-stranger", method="BREW")

    after = read(monitor)

    assert {name: count(after, **one) - count(before, **one) for name, one in routes.items()} == dict.fromkeys(
        routes, 1
    )
    assert not any("stranger" in str(key) for key in after)


# -- what goes wrong ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("without_redis")
def test_without_redis_the_rest_is_told(monitor: FlaskClient) -> None:
    samples = read(monitor)

    assert value(samples, "chm_up", part="redis") == 0
    assert value(samples, "chm_up", part="database") == 1
    assert value(samples, "chm_recent_runs", window="1h", status="failed") == 0


def test_a_database_that_takes_too_long_is_not_waited_for(
    committed_app: Flask, tokens: dict[Scope, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "STATEMENT_SECONDS", 1)
    monitor = client_with_token(committed_app, tokens[Scope.READ])
    with db.engine.connect() as holder:
        holder.execute(sa.text("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE"))
        held = read(monitor)
    freed = read(monitor)

    assert (value(held, "chm_up", part="database"), value(held, "chm_up", part="redis")) == (0, 1)
    assert value(held, "chm_recent_runs", window="1h", status="failed") is None
    assert value(freed, "chm_up", part="database") == 1
    # The limit was for the figures alone.
    assert db.session.scalar(sa.text("SHOW statement_timeout")) == "0"


def test_the_database_is_asked_once_however_many_look(config: Config, app: Flask, tokens: dict[Scope, str]) -> None:
    shared = create_app(dataclasses.replace(config, shared_look_seconds=3))
    monitor = client_with_token(shared, tokens[Scope.READ])
    statements = []
    with shared.app_context():
        for _ in range(3):
            with count_statements() as seen:
                read(monitor)
            statements.append(sum(seen.values()))
        db.session.remove()
        db.engine.dispose()

    assert statements[0] > 0
    assert statements[1:] == [0, 0]


def test_the_route_says_who_may_use_it(app: Flask) -> None:
    from chm_web.access import guard

    assert guard.access_of(app, "metrics.show") == guard.Access(Permission.READ, is_limited=False, is_page=False)


# -- several processes ----------------------------------------------------------------------------------------------


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where directories are made."""
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.delenv(VARIABLE)
    return tmp_path / f"chm-metrics-{os.getuid()}"


def test_processes_of_one_parent_count_in_one_place_and_what_dead_parents_left_is_removed(place: Path) -> None:
    place.mkdir(mode=0o700)
    for name in ("99999999-1", "1-12345678901"):
        (place / name).mkdir()

    share_figures()

    [left] = place.iterdir()
    assert os.environ[VARIABLE] == str(left)
    assert left.name.startswith(f"{os.getppid()}-")
    assert left.stat().st_mode & 0o777 == 0o700


def test_a_place_that_others_may_write_to_is_not_used(place: Path) -> None:
    place.mkdir(mode=0o777)
    place.chmod(0o777)

    share_figures()

    assert VARIABLE not in os.environ


def test_a_place_that_cannot_be_made_keeps_nobody_from_starting(place: Path) -> None:
    place.write_text("no directory")

    share_figures()

    assert VARIABLE not in os.environ


COUNTING = """
import sys
from wsgi import app
for _ in range(int(sys.argv[1])):
    app.test_client().get("/healthz")
print(app.test_client().get("/metrics").text)
"""


def test_whichever_process_is_asked_tells_the_requests_of_all(config: Config, app: Flask, tmp_path: Path) -> None:
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("CHM_", "PROMETHEUS_"))},
        "CHM_DATABASE_URL": config.database_url,
        "CHM_REDIS_URL": config.redis_url,
        "CHM_SECRET_KEY": config.secret_key,
        "CHM_USERS_FILE": str(config.users_file),
        "CHM_TOKENS_FILE": str(config.tokens_file),
        "CHM_METRICS_PUBLIC": "yes",
        "TMPDIR": str(tmp_path),
    }
    told = [
        subprocess.run(
            [sys.executable, "-c", COUNTING, times], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
        ).stdout
        for times in ("2", "3")
    ]

    counts = [count(parse(text), route="/healthz", method="GET", status="2xx") for text in told]
    assert counts == [2, 5]


# -- the documentation ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("with_partner")
def test_every_figure_is_documented_and_every_documented_figure_is_there(app: Flask, monitor: FlaskClient) -> None:
    redis = app.extensions["chm_queue"].redis
    with redis.pipeline() as pipe:
        note_duration(pipe, source="partner", outcome="finished", seconds=1.0)
        pipe.execute()
    redis.hset("chm:source:partner", "last_success_at", datetime.now(UTC).isoformat())
    monitor.get("/metrics")
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    documented = {line.split("`")[1].partition("{")[0] for line in text.splitlines() if line.startswith("| `chm_")}

    told = {family.name for family in text_string_to_metric_families(monitor.get("/metrics").text)}

    assert told == documented
    rules = yaml.safe_load(text.partition("## Alerts")[2].split("```")[1].removeprefix("yaml"))["groups"][0]["rules"]
    assert len(rules) == 3
    assert all(any(name in rule["expr"] for name in documented) for rule in rules)
