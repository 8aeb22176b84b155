"""The pages of alert rules."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from chm_web.access.permissions import Role
from chm_web.models import AlertRule, Channel, Client, Pipeline, RuleType
from chm_web.services.alert_rules import list_alert_rules
from chm_web.services.versions import version_of
from tests.factories import make_alert_rule, make_client, make_pipeline
from tests.http import client_of
from tests.web.scenes import make_failing

SECRET = "https://hooks.example.com/services/T000/planted-secret"


@pytest.fixture
def owner(app: Flask) -> Client:
    """A client with two pipelines."""
    owner = make_client(name="Acme Retail")
    make_pipeline(owner, name="orders_daily")
    make_pipeline(owner, name="stock_hourly")
    return owner


@pytest.fixture
def viewer(app: Flask) -> FlaskClient:
    """A browser in which somebody is signed in who may look."""
    return client_of(app, role=Role.VIEWER)


@pytest.fixture
def form(csrf_token: str, owner: Client) -> dict[str, str]:
    """What a browser sends of a rule of the client's."""
    return {
        "csrf_token": csrf_token,
        "client_id": str(owner.id),
        "pipeline_id": "",
        "rule_type": "on_failure",
        "threshold": "",
        "window_minutes": "",
        "channel": "slack",
        "destination": "#data-alerts",
        "is_enabled": "true",
    }


def rules() -> list[AlertRule]:
    """All rules there are."""
    return list_alert_rules().items


def changed_form(form: dict[str, str], rule: AlertRule, **values: str) -> dict[str, str]:
    """What a browser sends of a rule that it has shown."""
    return {**form, "version": version_of(rule), **values}


# -- the list -----------------------------------------------------------------------------------------------------


def test_index_says_what_each_rule_does(client: FlaskClient, owner: Client) -> None:
    own = make_pipeline(owner, name="own_rule")
    make_alert_rule(client_id=owner.id, updated_by="jo")
    make_alert_rule(pipeline_id=own.id, rule_type=RuleType.FAILURES_IN_WINDOW, threshold=3, window_minutes=90)

    page = client.get("/alert-rules").text

    assert "A pipeline starts failing" in page
    assert "3 failures within 1 h 30 min" in page
    assert "2 pipelines" in page and "overridden on 1" in page
    assert "by jo" in page
    assert page.index("All its pipelines") < page.index("own_rule")


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("enabled=yes", {"#a", "ops@b.example"}),
        ("enabled=no", {"#c"}),
        ("channel=email", {"ops@b.example"}),
        ("type=failures_in_window", {"#c"}),
        ("q=OPS", {"ops@b.example"}),
        ("q=%23", {"#a", "#c"}),
    ],
)
def test_index_filters(client: FlaskClient, owner: Client, query: str, shown: set[str]) -> None:
    make_alert_rule(client_id=owner.id, destination="#a")
    make_alert_rule(client_id=owner.id, channel=Channel.EMAIL, destination="ops@b.example")
    make_alert_rule(
        client_id=owner.id,
        destination="#c",
        is_enabled=False,
        rule_type=RuleType.FAILURES_IN_WINDOW,
        threshold=2,
        window_minutes=60,
    )

    page = client.get(f"/alert-rules?{query}").text

    assert {destination for destination in ("#a", "ops@b.example", "#c") if f">{destination}<" in page} == shown


def test_rules_of_a_client_are_its_own_and_its_pipelines(client: FlaskClient, owner: Client) -> None:
    make_alert_rule(client_id=owner.id, destination="#a")
    make_alert_rule(pipeline_id=make_pipeline(owner).id, destination="#b")
    make_alert_rule(client_id=make_client().id, destination="#c")

    page = client.get(f"/alert-rules?client_id={owner.id}").text

    assert ">#a<" in page and ">#b<" in page and ">#c<" not in page


def test_index_shows_fifty_rules_a_page(client: FlaskClient, owner: Client) -> None:
    for number in range(51):
        make_alert_rule(client_id=owner.id, destination=f"#n{number}")

    first = client.get("/alert-rules").text
    following = re.search(r'href="(/alert-rules\?cursor=[^"]+)"', first)
    assert following
    second = client.get(following.group(1)).text

    assert first.count("All its pipelines") == 50
    assert second.count("All its pipelines") == 1


def test_index_asks_the_database_as_often_for_many_rules(
    client: FlaskClient, owner: Client, count_queries: Callable[[Callable[[], Any]], int]
) -> None:
    make_alert_rule(client_id=owner.id)
    few = count_queries(lambda: client.get("/alert-rules"))
    for _ in range(12):
        other = make_pipeline()
        make_alert_rule(pipeline_id=other.id)
        make_alert_rule(client_id=other.client_id)

    assert count_queries(lambda: client.get("/alert-rules")) == few


def test_index_without_rules_says_what_to_do(client: FlaskClient) -> None:
    assert "There are no alert rules yet" in client.get("/alert-rules").text


def test_filters_can_be_cleared_where_there_are_any(client: FlaskClient, owner: Client) -> None:
    make_alert_rule(client_id=owner.id)

    assert "Clear filters" not in client.get("/alert-rules").text
    assert 'href="/alert-rules">Clear filters</a>' in client.get("/alert-rules?enabled=yes").text


def test_filters_that_leave_nothing_say_so(client: FlaskClient, owner: Client) -> None:
    make_alert_rule(client_id=owner.id)

    assert "No alert rule matches these filters" in client.get("/alert-rules?channel=email").text


@pytest.mark.parametrize("query", ["enabled=maybe", "channel=pigeon", "client_id=acme", "type=x"])
def test_filter_that_cannot_be_had_is_a_bad_request(client: FlaskClient, query: str) -> None:
    assert client.get(f"/alert-rules?{query}").status_code == 400


def test_foreign_cursor_is_a_bad_request(client: FlaskClient) -> None:
    assert client.get("/alert-rules?cursor=abc").status_code == 400


def test_viewers_are_shown_no_controls(viewer: FlaskClient, owner: Client) -> None:
    make_alert_rule(client_id=owner.id)

    page = viewer.get("/alert-rules").text

    assert "New rule" not in page
    assert ">Disable<" not in page and ">Edit<" not in page


# -- addresses that hold secrets ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/alert-rules", "/alert-rules/export.csv", "/api/v1/alert_rules"])
def test_address_of_a_webhook_is_not_told_to_viewers(viewer: FlaskClient, owner: Client, path: str) -> None:
    make_alert_rule(client_id=owner.id, channel=Channel.WEBHOOK, destination=SECRET)

    page = viewer.get(path).text

    assert "planted-secret" not in page
    assert "https://hooks.example.com/[redacted]" in page


def test_address_of_a_webhook_cannot_be_found_out_by_searching(viewer: FlaskClient, owner: Client) -> None:
    make_alert_rule(client_id=owner.id, channel=Channel.WEBHOOK, destination=SECRET)

    assert "hooks.example.com" in viewer.get("/alert-rules?q=hooks.example").text
    assert "hooks.example.com" not in viewer.get("/alert-rules?q=planted").text


def test_operators_see_the_address_that_they_change(client: FlaskClient, owner: Client) -> None:
    rule = make_alert_rule(client_id=owner.id, channel=Channel.WEBHOOK, destination=SECRET)

    assert SECRET in client.get(f"/alert-rules/{rule.id}/edit").text
    assert client.get(f"/api/v1/alert_rules/{rule.id}").get_json()["destination"] == SECRET


# -- the file -----------------------------------------------------------------------------------------------------


def test_csv_holds_the_filtered_rules(client: FlaskClient, owner: Client) -> None:
    make_alert_rule(client_id=owner.id, destination="#a")
    make_alert_rule(client_id=owner.id, destination="#b", is_enabled=False)

    response = client.get("/alert-rules/export.csv?enabled=yes")

    [row] = list(csv.DictReader(io.StringIO(response.text.removeprefix("\ufeff"))))
    assert row["client"] == "Acme Retail"
    assert (row["destination"], row["type"], row["enabled"], row["covers"]) == ("#a", "on_failure", "yes", "2")


# -- making and changing ------------------------------------------------------------------------------------------


def test_form_begins_with_the_scope_asked_for(client: FlaskClient, owner: Client) -> None:
    pipeline = make_pipeline(owner, name="wanted")

    page = client.get(f"/alert-rules/new?pipeline_id={pipeline.id}").text

    assert f'<option value="{owner.id}" selected>' in page
    assert f'<option value="{pipeline.id}" selected>wanted' in page
    assert "Covers 1 pipeline<" in page


def test_rule_is_created_and_signed(client: FlaskClient, form: dict[str, str], owner: Client) -> None:
    response = client.post("/alert-rules/new", data=form)

    assert response.status_code == 303
    assert response.location == f"/alert-rules?client_id={owner.id}"
    [rule] = rules()
    assert (rule.client_id, rule.pipeline_id, rule.destination, rule.is_enabled) == (
        owner.id,
        None,
        "#data-alerts",
        True,
    )
    assert rule.updated_by
    assert "The alert rule is created." in client.get(response.location).text


def test_numbers_of_a_window_are_left_out_of_a_rule_without_one(client: FlaskClient, form: dict[str, str]) -> None:
    client.post("/alert-rules/new", data={**form, "threshold": "many", "window_minutes": "5"})

    assert [(rule.threshold, rule.window_minutes) for rule in rules()] == [(None, None)]


@pytest.mark.parametrize(
    ("values", "field", "issue"),
    [
        ({"client_id": ""}, "client_id", "Choose a client"),
        ({"destination": ""}, "destination", "needed"),
        ({"destination": "nobody"}, "destination", "#channel"),
        ({"channel": "email"}, "destination", "give an address"),
        ({"channel": "webhook", "destination": "http://169.254.169.254/x"}, "destination", "not public"),
        ({"rule_type": "failures_in_window"}, "threshold", "Required"),
        ({"rule_type": "failures_in_window", "threshold": "0", "window_minutes": "5"}, "threshold", "1 or more"),
        ({"rule_type": "failures_in_window", "threshold": "two", "window_minutes": "5"}, "threshold", "whole number"),
    ],
)
def test_refused_rule_says_what_is_wrong_beside_the_field(
    client: FlaskClient, form: dict[str, str], values: dict[str, str], field: str, issue: str
) -> None:
    response = client.post("/alert-rules/new", data={**form, **values})

    assert response.status_code == 422
    problem = re.search(rf'id="{field}-problem">([^<]+)<', response.text)
    assert problem and issue in problem.group(1)
    assert rules() == []


def test_all_that_an_empty_rule_lacks_is_told_at_once_and_the_first_has_the_focus(
    client: FlaskClient, form: dict[str, str]
) -> None:
    page = client.post("/alert-rules/new", data={**form, "client_id": "", "destination": ""}).text

    assert "2 fields need your attention." in page
    assert re.findall(r'id="(\w+)-problem"', page) == ["client_id", "destination"]
    assert re.findall(r'<(?:input|select)[^>]* id="(\w+)"[^>]* autofocus', page) == ["client_id"]


def test_refused_rule_keeps_what_was_typed(client: FlaskClient, form: dict[str, str]) -> None:
    page = client.post("/alert-rules/new", data={**form, "channel": "email", "destination": "not-an-address"}).text

    assert 'value="not-an-address"' in page
    assert '<option value="email" selected>' in page


def test_second_rule_of_the_kind_is_refused(client: FlaskClient, form: dict[str, str]) -> None:
    client.post("/alert-rules/new", data=form)

    response = client.post("/alert-rules/new", data=form)

    assert response.status_code == 422
    assert "exists already" in response.text


def test_pipeline_of_another_client_is_refused(client: FlaskClient, form: dict[str, str]) -> None:
    response = client.post("/alert-rules/new", data={**form, "pipeline_id": str(make_pipeline().id)})

    assert response.status_code == 422
    assert "This pipeline belongs to another client." in response.text


def test_looking_shows_the_form_again_and_saves_nothing(client: FlaskClient, form: dict[str, str]) -> None:
    response = client.post("/alert-rules/new", data={**form, "look": "scope", "destination": ""})

    assert response.status_code == 200
    assert "orders_daily" in response.text
    assert "Covers 2 pipelines" in response.text
    assert rules() == []


def test_rule_is_changed(client: FlaskClient, form: dict[str, str], owner: Client) -> None:
    rule = make_alert_rule(client_id=owner.id)
    sent = changed_form(form, rule, rule_type="failures_in_window", threshold="2", window_minutes="60")
    del sent["is_enabled"]

    response = client.post(f"/alert-rules/{rule.id}/edit", data=sent)

    assert response.status_code == 303
    [changed] = rules()
    assert (changed.threshold, changed.window_minutes, changed.is_enabled) == (2, 60, False)


def test_change_of_what_somebody_else_has_changed_is_refused(
    client: FlaskClient, form: dict[str, str], owner: Client
) -> None:
    rule = make_alert_rule(client_id=owner.id)
    # As the form was shown before somebody else's change; a test's one transaction knows only one time.
    mine = changed_form(form, rule, version="0" * 32, destination="#mine")

    response = client.post(f"/alert-rules/{rule.id}/edit", data=mine)

    assert response.status_code == 422
    assert "Somebody else has changed this meanwhile" in response.text
    assert 'id="destination-theirs"><span>Theirs: <strong>#data-alerts</strong>' in response.text
    assert 'id="client_id-theirs"' not in response.text
    assert 'value="#mine"' in response.text
    assert [one.destination for one in rules()] == ["#data-alerts"]


def test_clone_begins_as_the_rule_that_it_copies(client: FlaskClient, owner: Client) -> None:
    rule = make_alert_rule(
        client_id=owner.id,
        rule_type=RuleType.FAILURES_IN_WINDOW,
        threshold=7,
        window_minutes=45,
        destination="#copied",
    )

    page = client.get(f"/alert-rules/new?clone={rule.id}").text

    assert "New alert rule" in page
    assert 'value="#copied"' in page and 'value="7"' in page and 'value="45"' in page


def test_rule_is_disabled_and_enabled_from_the_list(client: FlaskClient, owner: Client, csrf_token: str) -> None:
    rule = make_alert_rule(client_id=owner.id)

    response = client.post(f"/alert-rules/{rule.id}/disable?channel=slack", data={"csrf_token": csrf_token})
    assert response.location == "/alert-rules?channel=slack"
    assert [one.is_enabled for one in rules()] == [False]

    client.post(f"/alert-rules/{rule.id}/enable", data={"csrf_token": csrf_token})
    assert [one.is_enabled for one in rules()] == [True]


def test_enabling_a_second_rule_of_the_kind_is_refused(client: FlaskClient, owner: Client, csrf_token: str) -> None:
    make_alert_rule(client_id=owner.id)
    other = make_alert_rule(client_id=owner.id, is_enabled=False)

    response = client.post(f"/alert-rules/{other.id}/enable", data={"csrf_token": csrf_token})

    assert response.status_code == 422
    assert "exists already" in response.text


def test_rule_is_deleted(client: FlaskClient, owner: Client, csrf_token: str) -> None:
    rule = make_alert_rule(client_id=owner.id)

    response = client.post(f"/alert-rules/{rule.id}/delete", data={"csrf_token": csrf_token, "confirmed": "yes"})

    assert response.status_code == 303
    assert rules() == []


def test_without_a_script_a_page_asks_before_a_rule_is_deleted(
    client: FlaskClient, owner: Client, csrf_token: str
) -> None:
    rule = make_alert_rule(client_id=owner.id, destination="#oncall")

    page = client.post(f"/alert-rules/{rule.id}/delete?client_id={owner.id}", data={"csrf_token": csrf_token})

    assert page.status_code == 200
    assert "Delete this alert rule?" in page.text
    assert "#oncall" in page.text
    assert f'action="/alert-rules/{rule.id}/delete?client_id={owner.id}"' in page.text
    assert 'name="confirmed" value="yes"' in page.text
    assert len(rules()) == 1


@pytest.mark.parametrize("path", ["edit", "delete", "enable"])
def test_rule_that_is_gone_is_not_found(client: FlaskClient, csrf_token: str, path: str) -> None:
    assert client.post(f"/alert-rules/{uuid4()}/{path}", data={"csrf_token": csrf_token}).status_code == 404


# -- beside the form ----------------------------------------------------------------------------------------------


def test_preview_counts_what_would_have_fired(client: FlaskClient, owner: Client) -> None:
    make_failing(client=owner, name="very_broken")

    page = client.get(f"/alert-rules/preview?client_id={owner.id}&rule_type=on_failure").text

    assert "Covers 3 pipelines" in page
    assert "<strong>1 time</strong>" in page
    assert "very_broken" in page


def test_preview_without_a_client_asks_for_one(client: FlaskClient) -> None:
    assert "Choose a client" in client.get("/alert-rules/preview?client_id=&rule_type=on_failure").text


def test_preview_of_a_window_asks_for_its_numbers(client: FlaskClient, owner: Client) -> None:
    query = f"client_id={owner.id}&rule_type=failures_in_window&threshold=x&window_minutes="

    assert "Give a threshold and a window" in client.get(f"/alert-rules/preview?{query}").text


def test_choice_of_pipelines_follows_the_client(client: FlaskClient, owner: Client) -> None:
    pipeline: Pipeline = make_pipeline(name="of_somebody_else")

    page = client.get(f"/alert-rules/scope?client_id={owner.id}").text

    assert "orders_daily" in page
    assert pipeline.name not in page
