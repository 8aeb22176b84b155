"""The addresses of what was made."""

from __future__ import annotations

import pytest

from tests.factories import make_client, make_pipeline
from tests.http import PREFIX, ApiClient


def address(location: str) -> str:
    """What follows the API's prefix."""
    assert location.startswith(f"{PREFIX}/")
    return location.removeprefix(PREFIX)


def test_new_things_are_found_at_their_location(api: ApiClient) -> None:
    client, pipeline = make_client(), make_pipeline()
    made = [
        api.post("/clients", {"name": "a"}),
        api.post(f"/clients/{client.id}/pipelines", {"name": "a", "platform": "dbt", "pipeline_type": "export"}),
        api.post(f"/pipelines/{pipeline.id}/runs", {"status": "success"}),
        api.post(
            "/alert_rules",
            {
                "client_id": str(client.id),
                "rule_type": "on_failure",
                "channel": "slack",
                "destination": "#data-alerts",
            },
        ),
    ]

    for response in made:
        assert response.status_code == 201
        assert api.get(address(response.headers["Location"])).get_json() == response.get_json()


@pytest.mark.usefixtures("with_partner")
def test_job_is_watched_at_its_location(api: ApiClient) -> None:
    make_pipeline()

    response = api.post("/ingestion/runs/sync")

    assert response.status_code == 202
    assert api.get(address(response.headers["Location"])).get_json()["id"] == response.get_json()["id"]
