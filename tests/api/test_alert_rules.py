"""``/alert_rules``."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from chm_web.models import Channel, Pipeline
from tests.api.envelope import CONFLICT, INVALID, NOT_FOUND, issues, refusal
from tests.factories import make_alert_rule, make_client, make_pipeline
from tests.http import ApiClient

RULES = "/alert_rules"
SLACK = {"rule_type": "on_failure", "channel": "slack", "destination": "#data-alerts"}
WINDOW = {"rule_type": "failures_in_window", "threshold": 3, "window_minutes": 60}


@pytest.fixture
def pipeline(api: ApiClient) -> Pipeline:
    """A pipeline to watch."""
    return make_pipeline()


@pytest.fixture
def scope(pipeline: Pipeline) -> dict[str, str]:
    """The scope of a client."""
    return {"client_id": str(pipeline.client_id)}


@pytest.fixture
def rule(api: ApiClient, scope: dict[str, str]) -> str:
    """An enabled rule of a client."""
    return f"{RULES}/{made(api, **scope)['id']}"


def made(api: ApiClient, **values: Any) -> dict[str, Any]:
    """A rule that was created."""
    response = api.post(RULES, {**SLACK, **values})
    assert response.status_code == 201, response.text
    body: dict[str, Any] = response.get_json()
    return body


def listed(api: ApiClient, **query: Any) -> list[str]:
    """The ids on the first page."""
    response = api.get(RULES, **query)
    assert response.status_code == 200, response.text
    return [item["id"] for item in response.get_json()["items"]]


# -- create -------------------------------------------------------------------------------------------------------


def test_create_gives_the_rule_with_every_field(api: ApiClient, pipeline: Pipeline) -> None:
    full = {
        **SLACK,
        **WINDOW,
        "client_id": str(pipeline.client_id),
        "pipeline_id": str(pipeline.id),
        "is_enabled": False,
    }

    body = made(api, **full)

    assert {name: body[name] for name in full} == full
    assert set(body) == {*full, "id", "created_at", "updated_at", "updated_by"}
    assert api.get(f"{RULES}/{body['id']}").get_json() == body


def test_create_fills_defaults_in(api: ApiClient, pipeline: Pipeline) -> None:
    body = made(api, pipeline_id=str(pipeline.id))

    assert (body["client_id"], body["threshold"], body["window_minutes"]) == (None, None, None)
    assert body["is_enabled"] is True


DESTINATIONS: dict[str, tuple[list[str], list[str]]] = {
    "slack": (
        ["#data-alerts", "@jane.doe", "https://hooks.slack.com/services/T0/B0/x", " #padded "],
        [
            "data-alerts",
            "#",
            "@",
            "#two words",
            "http://hooks.slack.com/x",
            "https://hooks.slack.com:22/x",
            "https://hooks.slack.com",
            "jane@example.com",
        ],
    ),
    "email": (
        ["jane@example.com", "data+alerts@ops.example.co.uk", "jürgen@müller.example"],
        ["jane", "jane@", "@example.com", "jane@example", "a b@example.com", "a@b@example.com", "a@b..com", "#channel"],
    ),
    "webhook": (
        [
            "https://example.com",
            "http://93.184.216.34:80/hook?x=1#y",
            "HTTPS://Example.com/",
            "http://[2606:4700::1]:443/x",
        ],
        [
            "example.com/hook",
            "ftp://example.com",
            "https://",
            "https:///x",
            "https://a b.com",
            "https://u:p@example.com",
            "http://10.0.0.1/hook",
            "http://[::1]/x",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://localhost/",
            "https://example.com:6379/",
        ],
    ),
}


@pytest.mark.parametrize("channel", DESTINATIONS)
def test_destination_must_suit_the_channel(api: ApiClient, scope: dict[str, str], channel: str) -> None:
    good, bad = DESTINATIONS[channel]

    for destination in good:
        body = made(api, **scope, channel=channel, destination=destination)
        assert body["destination"] == destination.strip()
    for destination in bad:
        response = api.post(RULES, {**SLACK, **scope, "channel": channel, "destination": destination})
        assert refusal(response) == INVALID, destination
        assert list(issues(response)) == ["destination"]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no threshold": ({**WINDOW, "threshold": None}, "threshold"),
    "no window": ({**WINDOW, "window_minutes": None}, "window_minutes"),
    "threshold of nothing": ({**WINDOW, "threshold": 0}, "threshold"),
    "window out of range": ({**WINDOW, "window_minutes": 2**31}, "window_minutes"),
    "fraction": ({**WINDOW, "threshold": 1.5}, "threshold"),
    "type of nobody": ({"rule_type": "on_monday"}, "rule_type"),
    "null type": ({"rule_type": None}, "rule_type"),
    "channel of nobody": ({"channel": "pager"}, "channel"),
    "blank destination": ({"destination": "  "}, "destination"),
    "long destination": ({"destination": "#" + "x" * 500}, "destination"),
    "null is_enabled": ({"is_enabled": None}, "is_enabled"),
    "no scope": ({"client_id": None}, "client_id"),
    "unknown client": ({"client_id": str(uuid4())}, "client_id"),
    "unknown pipeline": ({"pipeline_id": str(uuid4())}, "pipeline_id"),
    "client that is no UUID": ({"client_id": "7"}, "client_id"),
    "unknown field": ({"muted": True}, "muted"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_rules_are_refused_new_or_changed(api: ApiClient, scope: dict[str, str], case: str) -> None:
    values, field = REFUSED[case]
    rule = f"{RULES}/{made(api, **scope, destination='#first')['id']}"
    before = api.get(rule).get_json()

    for response in (api.post(RULES, {**SLACK, **scope, **values}), api.patch(rule, values)):
        assert refusal(response) == INVALID
        assert list(issues(response)) == [field]

    assert api.get(RULES).get_json()["items"] == [before]


def test_longest_destination_is_taken(api: ApiClient, scope: dict[str, str]) -> None:
    assert made(api, **scope, destination="#" + "🚚" * 499)["destination"].endswith("🚚")


def test_pipeline_of_another_client_is_refused(api: ApiClient, pipeline: Pipeline) -> None:
    body = {**SLACK, "client_id": str(make_client().id), "pipeline_id": str(pipeline.id)}

    assert issues(api.post(RULES, body)) == {"pipeline_id": "This pipeline belongs to another client."}


def test_all_that_is_wrong_is_said_at_once(api: ApiClient) -> None:
    response = api.post(RULES, {**SLACK, "rule_type": "failures_in_window", "destination": "x"})

    assert set(issues(response)) == {"client_id", "threshold", "window_minutes", "destination"}


def test_second_enabled_rule_alike_is_a_conflict(api: ApiClient, scope: dict[str, str], rule: str) -> None:
    assert refusal(api.post(RULES, {**SLACK, **scope, **WINDOW, "rule_type": "on_failure"})) == CONFLICT
    assert made(api, **scope, is_enabled=False)["is_enabled"] is False
    assert made(api, **scope, destination="#other")["destination"] == "#other"


def test_naming_the_client_makes_no_other_scope_of_a_pipeline(
    api: ApiClient, pipeline: Pipeline, scope: dict[str, str]
) -> None:
    made(api, pipeline_id=str(pipeline.id))

    assert refusal(api.post(RULES, {**SLACK, **scope, "pipeline_id": str(pipeline.id)})) == CONFLICT
    made(api, **scope)


# -- change -------------------------------------------------------------------------------------------------------

CHANGES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "destination": {"destination": "#other"},
    "channel with its destination": {"channel": "email", "destination": "jane@example.com"},
    "type with its window": WINDOW,
    "state": {"is_enabled": False},
    "window of a rule without one": {"threshold": 3},
}


@pytest.mark.parametrize("case", CHANGES)
def test_change_touches_what_is_sent_alone(api: ApiClient, rule: str, case: str) -> None:
    before = api.get(rule).get_json()

    response = api.patch(rule, CHANGES[case])

    assert response.status_code == 200
    assert response.get_json() == {**before, **CHANGES[case]}
    assert api.get(rule).get_json() == response.get_json()


def test_change_does_not_enable_a_disabled_rule(api: ApiClient, scope: dict[str, str]) -> None:
    disabled = made(api, **scope, is_enabled=False)

    assert api.patch(f"{RULES}/{disabled['id']}", {"destination": "#new"}).get_json()["is_enabled"] is False


def test_scope_moves_to_a_pipeline_and_back(api: ApiClient, pipeline: Pipeline, rule: str) -> None:
    to_pipeline = {"client_id": None, "pipeline_id": str(pipeline.id)}
    back = {"client_id": str(pipeline.client_id), "pipeline_id": None}

    assert to_pipeline.items() <= api.patch(rule, to_pipeline).get_json().items()
    assert back.items() <= api.patch(rule, back).get_json().items()


def test_pipeline_of_another_client_cannot_be_moved_to(api: ApiClient, rule: str) -> None:
    response = api.patch(rule, {"pipeline_id": str(make_pipeline().id)})

    assert issues(response) == {"pipeline_id": "This pipeline belongs to another client."}


def test_channel_alone_cannot_change_when_the_destination_does_not_suit(api: ApiClient, rule: str) -> None:
    assert list(issues(api.patch(rule, {"channel": "email"}))) == ["destination"]


def test_a_destination_inside_is_refused_with_the_reason(api: ApiClient, rule: str) -> None:
    change = {"channel": "webhook", "destination": "https://192.168.0.9/hook"}

    told = issues(api.patch(rule, change))["destination"]
    assert told.startswith("Nothing is sent to addresses that are not public: 192.168.0.0/16 is ")


def test_a_rule_from_before_with_a_destination_inside_can_still_be_disabled(
    api: ApiClient, scope: dict[str, str]
) -> None:
    rule = make_alert_rule(client_id=UUID(scope["client_id"]), channel=Channel.WEBHOOK, destination="http://10.0.0.1/")

    assert api.patch(f"{RULES}/{rule.id}", {"is_enabled": False}).status_code == 200


def test_window_cannot_be_cleared_while_the_type_needs_it(api: ApiClient, scope: dict[str, str]) -> None:
    rule = f"{RULES}/{made(api, **scope, **WINDOW)['id']}"

    assert list(issues(api.patch(rule, {"threshold": None}))) == ["threshold"]
    cleared = {"rule_type": "on_failure", "threshold": None, "window_minutes": None}
    assert api.patch(rule, cleared).status_code == 200


def test_enabling_a_rule_that_clashes_is_a_conflict(api: ApiClient, scope: dict[str, str], rule: str) -> None:
    twin = f"{RULES}/{made(api, **scope, is_enabled=False)['id']}"

    assert refusal(api.patch(twin, {"is_enabled": True})) == CONFLICT
    assert api.get(twin).get_json()["is_enabled"] is False
    api.patch(rule, {"is_enabled": False})
    assert api.patch(twin, {"is_enabled": True}).status_code == 200


def test_change_to_another_rules_values_is_a_conflict(api: ApiClient, scope: dict[str, str], rule: str) -> None:
    other = f"{RULES}/{made(api, **scope, destination='#other')['id']}"

    assert refusal(api.patch(other, {"destination": "#data-alerts"})) == CONFLICT


# -- delete -------------------------------------------------------------------------------------------------------


def test_delete_removes_the_rule(api: ApiClient, rule: str) -> None:
    response = api.delete(rule)

    assert (response.status_code, response.data) == (204, b"")
    assert listed(api) == []
    for again in (api.get(rule), api.patch(rule, {}), api.delete(rule)):
        assert refusal(again) == NOT_FOUND


# -- list ---------------------------------------------------------------------------------------------------------


def test_list_by_scope_and_state(api: ApiClient, pipeline: Pipeline, scope: dict[str, str]) -> None:
    of_client = made(api, **scope)["id"]
    disabled = made(api, **scope, is_enabled=False)["id"]
    of_pipeline = made(api, **scope, pipeline_id=str(pipeline.id))["id"]
    elsewhere = made(api, client_id=str(make_client().id))["id"]

    assert listed(api) == [of_client, disabled, of_pipeline, elsewhere]
    assert listed(api, **scope) == [of_client, disabled]
    assert listed(api, **scope, is_enabled="true") == [of_client]
    assert listed(api, pipeline_id=str(pipeline.id)) == [of_pipeline]
    assert listed(api, is_enabled="false") == [disabled]
    assert listed(api, client_id=str(uuid4())) == []


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_pages_add_up(api: ApiClient, scope: dict[str, str], limit: int) -> None:
    expected = [made(api, **scope, destination=f"#{number}")["id"] for number in range(3)]
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = api.get(RULES, limit=limit, **cursor).get_json()
        found += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}

    assert found == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [("client_id", "x"), ("pipeline_id", "1"), ("is_enabled", "perhaps"), ("cursor", "W10"), ("q", "a")],
)
def test_list_refuses_bad_parameters(api: ApiClient, name: str, value: str) -> None:
    response = api.get(RULES, **{name: value})

    assert refusal(response) == INVALID
    assert list(issues(response)) == [name]
