"""The page of a client."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from flask.testing import FlaskClient

from chm_web.models import RunStatus
from tests.factories import make_client, make_pipeline, make_run
from tests.web.scenes import ago, make_failing, make_healthy


def test_client_page_lists_its_pipelines_worst_first(client: FlaskClient) -> None:
    owner = make_client(name="Acme Retail")
    make_healthy(client=owner, name="all_well")
    make_failing(client=owner, name="very_broken")

    page = client.get(f"/clients/{owner.id}").text

    assert "<h1>Acme Retail</h1>" in page
    assert page.index("very_broken") < page.index("all_well")


def test_client_page_counts_runs_of_the_window_by_status(client: FlaskClient) -> None:
    owner = make_client()
    pipeline = make_pipeline(owner)
    for hours in (1, 2, 50):
        ended = ago(hours=hours)
        make_run(pipeline, started_at=ended - timedelta(minutes=1), finished_at=ended)

    def successes(window: str) -> bool:
        return "Success</dt><dd>3</dd>" in client.get(f"/clients/{owner.id}?window={window}").text

    assert not successes("24h")
    assert successes("7d")


def test_client_page_says_the_success_rate(client: FlaskClient) -> None:
    owner = make_client()
    pipeline = make_pipeline(owner)
    for status in (RunStatus.SUCCESS, RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.SKIPPED):
        make_run(pipeline, status=status, started_at=ago(hours=2), finished_at=ago(hours=1))

    assert "66.7 %" in client.get(f"/clients/{owner.id}").text


def test_client_page_refuses_an_unknown_window(client: FlaskClient) -> None:
    assert client.get(f"/clients/{make_client().id}?window=1y").status_code == 400


def test_unknown_client_is_not_found(client: FlaskClient) -> None:
    assert client.get(f"/clients/{uuid4()}").status_code == 404


def test_client_without_pipelines_says_what_to_do(client: FlaskClient) -> None:
    assert "no active pipelines" in client.get(f"/clients/{make_client().id}").text


def test_refresh_of_a_client_keeps_its_window(client: FlaskClient) -> None:
    owner = make_client()

    fragment = client.get(f"/clients/{owner.id}/health?window=7d", headers={"HX-Request": "true"}).text

    assert f'hx-get="/clients/{owner.id}/health?window=7d"' in fragment
    assert "Runs in the last 7 days" in fragment
