"""Versions: ETag, If-None-Match and If-Match. With real commits, since a version is the time of a transaction."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from chm_web.access.permissions import Scope
from tests.api.envelope import INVALID, STALE, issues, refusal
from tests.factories import make_alert_rule, make_client, make_pipeline, make_run
from tests.http import ApiClient, client_with_token

CHANGES: dict[str, dict[str, Any]] = {
    "clients": {"name": "new"},
    "pipelines": {"name": "new"},
    "alert_rules": {"destination": "#new"},
}


@pytest.fixture
def api(committed_app: Flask, tokens: dict[Scope, str]) -> ApiClient:
    """A service whose changes are committed."""
    return ApiClient(client_with_token(committed_app, tokens[Scope.WRITE]))


@pytest.fixture(params=CHANGES)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of thing that can be changed."""
    kind: str = request.param
    return kind


@pytest.fixture
def path(api: ApiClient, kind: str) -> str:
    """One thing of this kind."""
    if kind == "clients":
        return f"/clients/{make_client().id}"
    if kind == "pipelines":
        return f"/pipelines/{make_pipeline().id}"
    return f"/alert_rules/{make_alert_rule(client_id=make_client().id).id}"


def test_version_changes_with_the_thing_and_only_then(api: ApiClient, kind: str, path: str) -> None:
    first = api.get(path).headers["ETag"]

    untouched = api.patch(path, {}).headers["ETag"]
    changed = api.patch(path, CHANGES[kind]).headers["ETag"]

    assert first == untouched == f'"{first[1:-1]}"'
    assert changed != first
    assert api.get(path).headers["ETag"] == changed


def test_new_things_come_with_their_version(api: ApiClient) -> None:
    pipeline = make_pipeline()
    posts: dict[str, tuple[str, dict[str, Any]]] = {
        "/clients": ("/clients", {"name": "a"}),
        f"/clients/{pipeline.client_id}/pipelines": (
            "/pipelines",
            {"name": "a", "platform": "dbt", "pipeline_type": "export"},
        ),
        "/alert_rules": (
            "/alert_rules",
            {
                "client_id": str(pipeline.client_id),
                "rule_type": "on_failure",
                "channel": "slack",
                "destination": "#a",
            },
        ),
    }

    for collection, (kind, body) in posts.items():
        response = api.post(collection, body)
        assert response.status_code == 201, response.text
        assert response.headers["ETag"] == api.get(f"{kind}/{response.get_json()['id']}").headers["ETag"]


@pytest.mark.parametrize("form", ["{}", "W/{}", '"x", {}', "*"])
def test_known_version_is_not_sent_again(api: ApiClient, path: str, form: str) -> None:
    etag = api.get(path).headers["ETag"]

    response = api.get(path, headers={"If-None-Match": form.format(etag)})

    assert (response.status_code, response.data) == (304, b"")
    assert response.headers["ETag"] == etag
    assert "X-Request-ID" in response.headers


def test_changed_thing_is_sent_again(api: ApiClient, kind: str, path: str) -> None:
    etag = api.get(path).headers["ETag"]
    api.patch(path, CHANGES[kind])

    response = api.get(path, headers={"If-None-Match": etag})

    assert response.status_code == 200
    assert CHANGES[kind].items() <= response.get_json().items()


def test_latest_run_has_a_version(api: ApiClient) -> None:
    run = make_run()
    path = f"/pipelines/{run.pipeline_id}/runs/latest"

    etag = api.get(path).headers["ETag"]

    assert api.get(path, headers={"If-None-Match": etag}).status_code == 304


def test_change_of_the_version_seen_is_made(api: ApiClient, kind: str, path: str) -> None:
    etag = api.get(path).headers["ETag"]

    response = api.patch(path, CHANGES[kind], headers={"If-Match": etag})

    assert response.status_code == 200
    assert CHANGES[kind].items() <= response.get_json().items()


def test_change_of_a_version_that_is_past_is_refused(api: ApiClient, kind: str, path: str) -> None:
    etag = api.get(path).headers["ETag"]
    changed = api.patch(path, CHANGES[kind]).get_json()

    response = api.patch(path, CHANGES[kind], headers={"If-Match": etag})

    assert refusal(response) == STALE
    assert api.get(path).get_json() == changed


@pytest.mark.parametrize("form", ['"0"', '""', "W/{}", "W/*", "", '"*"'])
def test_what_is_no_version_matches_nothing(api: ApiClient, kind: str, path: str, form: str) -> None:
    etag = api.get(path).headers["ETag"]

    assert refusal(api.patch(path, CHANGES[kind], headers={"If-Match": form.format(etag)})) == STALE


def test_star_is_any_version(api: ApiClient, kind: str, path: str) -> None:
    assert api.patch(path, CHANGES[kind], headers={"If-Match": "*"}).status_code == 200


def test_several_versions_are_refused(api: ApiClient, path: str) -> None:
    response = api.patch(path, {}, headers={"If-Match": '"a", "b"'})

    assert refusal(response) == INVALID
    assert list(issues(response)) == ["If-Match"]
