"""The forms of a pipeline: created, changed, enabled and disabled."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from chm_web.access.permissions import Role
from chm_web.extensions import db
from chm_web.models import Environment, PipelineType, Platform
from chm_web.services.pipeline_lists import list_client_pipelines
from chm_web.services.pipelines import get_pipeline, update_pipeline
from tests.factories import NOW, make_client, make_pipeline
from tests.http import client_of
from tests.web.conftest import Send, version

COMPLETE = {
    "name": " orders_daily ",
    "platform": "airflow",
    "external_id": "shop.orders",
    "pipeline_type": "transform",
    "environment": "staging",
    "expected_every_minutes": "1,440",
    "description": "one\r\ntwo",
}


def test_new_pipeline_is_created_with_all_that_was_typed(client: FlaskClient, send: Send) -> None:
    owner = make_client()

    response = send(f"/pipelines/new?client_id={owner.id}", client_id=str(owner.id), **COMPLETE)

    [listed] = list_client_pipelines(client_id=owner.id, now=NOW).items
    made = listed.pipeline
    assert (response.status_code, response.location) == (303, f"/pipelines/{made.id}")
    assert (made.name, made.external_id, made.description) == ("orders_daily", "shop.orders", "one\ntwo")
    assert (made.platform, made.pipeline_type) == (Platform.AIRFLOW, PipelineType.TRANSFORM)
    assert (made.environment, made.expected_every_minutes) == (Environment.STAGING, 1440)
    assert (made.is_active, made.updated_by) == (True, "oidc:somebody")
    assert "orders_daily is created." in client.get(response.location).text


def test_form_of_a_client_names_it_and_the_form_of_any_offers_the_enabled_ones(client: FlaskClient) -> None:
    owner, gone = make_client(name="Acme Retail"), make_client(name="Gone", is_active=False)

    assert "New pipeline of Acme Retail" in client.get(f"/pipelines/new?client_id={owner.id}").text
    form = client.get("/pipelines/new").text
    assert f'<option value="{owner.id}">Acme Retail</option>' in form
    assert str(gone.id) not in form


@pytest.mark.parametrize("address", ["/pipelines/new", "/alert-rules/new"])
@pytest.mark.parametrize(("role", "may_add"), [(Role.ADMIN, True), (Role.OPERATOR, False)])
def test_form_without_any_client_to_choose_leads_to_adding_one(
    app: Flask, address: str, role: Role, may_add: bool
) -> None:
    page = client_of(app, role=role).get(address).text

    assert "There is no client to choose" in page
    assert 'name="client_id"' not in page
    assert ('href="/clients/new"' in page) is may_add


def test_new_pipeline_of_a_client_that_there_is_not_is_not_found(client: FlaskClient) -> None:
    assert client.get(f"/pipelines/new?client_id={uuid4()}").status_code == 404


@pytest.mark.parametrize("client_id", ["", "x", "c0ffee00-0000-4000-8000-000000000000"])
def test_without_a_client_the_form_says_so_beside_it(send: Send, client_id: str) -> None:
    response = send("/pipelines/new", client_id=client_id, **COMPLETE)

    assert response.status_code == 422
    assert 'id="client_id-problem"' in response.text
    assert 'value="shop.orders"' in response.text


def test_first_of_what_is_wrong_has_the_focus(send: Send) -> None:
    page = send("/pipelines/new", client_id="", name="", platform="", pipeline_type="", environment="prod").text

    assert "4 fields need your attention." in page
    assert re.findall(r'<(?:input|select)[^>]* id="(\w+)"[^>]* autofocus', page) == ["client_id"]


def test_name_that_is_taken_is_told_beside_it_and_the_input_is_kept(send: Send) -> None:
    owner = make_client()
    make_pipeline(owner, name="ORDERS_DAILY")

    response = send("/pipelines/new", client_id=str(owner.id), **COMPLETE)

    assert response.status_code == 422
    assert "This client has a pipeline with this name already." in response.text
    assert re.search(r'id="name"[^>]* aria-invalid="true"[^>]* autofocus', response.text)
    assert '<option value="transform" selected>' in response.text
    assert len(list_client_pipelines(client_id=owner.id, now=NOW).items) == 1


def test_id_that_another_clients_pipeline_has_is_asked_about(client: FlaskClient, send: Send) -> None:
    owner, other = make_client(), make_client(name="Acme Retail")
    make_pipeline(other, name="their_orders", platform=Platform.AIRFLOW, external_id="shop.orders")
    values = COMPLETE | {"client_id": str(owner.id)}

    asked = send("/pipelines/new", **values)

    assert asked.status_code == 422
    assert "On Airflow this is the id of their_orders of Acme Retail, too." in asked.text
    assert list_client_pipelines(client_id=owner.id, now=NOW).items == []
    assert re.search(r'name="same_id" type="checkbox" value="airflow shop.orders" aria-invalid', asked.text)

    # A yes to one id is none to another.
    make_pipeline(other, name="their_invoices", platform=Platform.AIRFLOW, external_id="shop.invoices")
    elsewhere = values | {"external_id": "shop.invoices", "same_id": "airflow shop.orders"}
    assert "their_invoices of Acme Retail" in send("/pipelines/new", **elsewhere).text

    made = send("/pipelines/new", **values | {"same_id": "airflow shop.orders"})
    assert made.status_code == 303
    page = client.get(made.location).text
    assert "The same id on Airflow belongs to" in page
    assert ">their_orders</a> of Acme Retail, too." in page


@pytest.mark.parametrize(
    "values", [{"platform": Platform.DBT}, {"is_active": False}, {"external_id": "shop.others"}, {"client": "gone"}]
)
def test_id_that_stands_in_nobodys_way_is_not_asked_about(send: Send, values: dict[str, Any]) -> None:
    owner, other = make_client(), make_client(is_active="client" not in values)
    same = {"platform": Platform.AIRFLOW, "external_id": "shop.orders"}
    make_pipeline(other, **same | {name: value for name, value in values.items() if name != "client"})

    assert send("/pipelines/new", client_id=str(owner.id), **COMPLETE).status_code == 303


def test_id_that_was_taken_all_the_same_is_not_asked_about_with_every_change(client: FlaskClient, send: Send) -> None:
    mine = make_pipeline(platform=Platform.AIRFLOW, external_id="shop.orders")
    theirs = make_pipeline(platform=Platform.AIRFLOW, external_id="shop.orders")
    free = make_pipeline(platform=Platform.AIRFLOW, external_id="shop.free")

    assert send(f"/pipelines/{mine.id}/edit", **COMPLETE | {"description": "new"}).status_code == 303

    refused = send(f"/pipelines/{free.id}/edit", **COMPLETE)
    assert refused.status_code == 422
    assert mine.name in refused.text and theirs.name in refused.text


def test_form_of_a_pipeline_shows_it_as_it_is(client: FlaskClient) -> None:
    pipeline = make_pipeline(name="orders", platform=Platform.DBT, expected_every_minutes=90, description="a < b")

    page = client.get(f"/pipelines/{pipeline.id}/edit").text

    assert 'value="orders"' in page
    assert '<option value="dbt" selected>' in page
    assert 'value="90"' in page
    assert "a &lt; b</textarea>" in page


def test_pipeline_is_changed_and_what_was_emptied_is_gone(client: FlaskClient, send: Send) -> None:
    pipeline = make_pipeline(name="orders", expected_every_minutes=90, description="old")
    seen = version(client.get(f"/pipelines/{pipeline.id}/edit").text)
    values = COMPLETE | {"expected_every_minutes": "", "description": "", "version": seen}

    response = send(f"/pipelines/{pipeline.id}/edit", **values)

    changed = get_pipeline(pipeline_id=pipeline.id)
    assert (response.status_code, response.location) == (303, f"/pipelines/{pipeline.id}")
    assert (changed.name, changed.expected_every_minutes, changed.description) == ("orders_daily", None, None)
    assert changed.is_active


def test_changing_a_disabled_pipeline_does_not_enable_it(client: FlaskClient, send: Send) -> None:
    pipeline = make_pipeline(is_active=False)
    seen = version(client.get(f"/pipelines/{pipeline.id}/edit").text)

    send(f"/pipelines/{pipeline.id}/edit", version=seen, **COMPLETE)

    assert get_pipeline(pipeline_id=pipeline.id).name == "orders_daily"
    assert not get_pipeline(pipeline_id=pipeline.id).is_active


def test_all_that_is_wrong_is_told_at_once(send: Send) -> None:
    pipeline = make_pipeline(name="orders")

    response = send(f"/pipelines/{pipeline.id}/edit", **COMPLETE | {"name": " ", "expected_every_minutes": "often"})

    assert response.status_code == 422
    assert "2 fields need your attention. Nothing was saved." in response.text
    assert "Give a whole number." in response.text
    assert 'value="often"' in response.text


@pytest.mark.parametrize(
    ("typed", "said"), [("-5", "Must be 1 or more."), ("3,000,000,000", "Must be 2,147,483,647 or less.")]
)
def test_number_beyond_a_bound_is_told_that_bound_alone(send: Send, typed: str, said: str) -> None:
    pipeline = make_pipeline()

    response = send(f"/pipelines/{pipeline.id}/edit", **COMPLETE | {"expected_every_minutes": typed})

    assert response.status_code == 422
    assert f'id="expected_every_minutes-problem">{said}</p>' in response.text


def test_change_by_somebody_else_meanwhile_is_told_and_the_input_is_kept(committed_app: Flask) -> None:
    pipeline_id = make_pipeline(
        name="orders", external_id=None
    ).id  # with real commits, since a version is the time of a transaction
    client = client_of(committed_app)
    address = f"/pipelines/{pipeline_id}/edit"
    form = client.get(address).text
    theirs = {"name": "theirs", "platform": Platform.CRON, "expected_every_minutes": 2880}
    update_pipeline(pipeline_id=pipeline_id, changes=theirs, updated_by="anna")

    refused = client.post(address, data=COMPLETE | hidden(form) | {"description": ""})

    assert refused.status_code == 422
    assert "Somebody else has changed this meanwhile." in refused.text
    assert 'value=" orders_daily "' in refused.text
    assert name_of(pipeline_id) == "theirs"
    # What differs stands beside its field, what is the same does not.
    differing = re.findall(r'id="(\w+)-theirs"><span>Theirs: <strong>([^<]*)</strong>', refused.text)
    assert differing == [
        ("name", "theirs"),
        ("platform", "cron"),
        ("external_id", "empty"),
        ("pipeline_type", "Ingestion"),
        ("environment", "prod"),
        ("expected_every_minutes", "2,880"),
    ]
    assert 'aria-describedby="name-hint name-theirs"' in refused.text
    assert "by anna" in refused.text
    assert f'<a href="{address}">Start again from theirs</a>' in refused.text

    # Whoever has read that may save over it.
    assert client.post(address, data=COMPLETE | hidden(refused.text)).status_code == 303
    assert name_of(pipeline_id) == "orders_daily"


def hidden(page: str) -> dict[str, str]:
    """The hidden fields of a form."""
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))


def name_of(pipeline_id: UUID) -> str:
    db.session.expire_all()
    return get_pipeline(pipeline_id=pipeline_id).name


def test_pipeline_is_disabled_once_it_is_confirmed_and_enabled_again(client: FlaskClient, send: Send) -> None:
    pipeline = make_pipeline()

    response = send(f"/pipelines/{pipeline.id}/disable", confirmed="yes")
    assert (response.status_code, response.location) == (303, f"/pipelines/{pipeline.id}")
    assert not get_pipeline(pipeline_id=pipeline.id).is_active
    assert f'action="/pipelines/{pipeline.id}/enable"' in client.get(f"/pipelines/{pipeline.id}").text

    send(f"/pipelines/{pipeline.id}/enable")
    assert get_pipeline(pipeline_id=pipeline.id).is_active


def test_without_a_script_disabling_is_explained_first(send: Send) -> None:
    pipeline = make_pipeline(name="orders")

    page = send(f"/pipelines/{pipeline.id}/disable")

    assert page.status_code == 200
    assert "Disable orders?" in page.text
    assert "All runs recorded so far stay readable." in page.text
    assert get_pipeline(pipeline_id=pipeline.id).is_active


@pytest.mark.parametrize(("role", "is_shown"), [(Role.VIEWER, False), (Role.OPERATOR, True)])
def test_page_of_a_pipeline_offers_changes_to_those_who_may(app: Flask, role: Role, is_shown: bool) -> None:
    pipeline = make_pipeline()

    page = client_of(app, role=role).get(f"/pipelines/{pipeline.id}").text

    assert (f"/pipelines/{pipeline.id}/edit" in page) is is_shown
    assert (f"/pipelines/{pipeline.id}/disable" in page) is is_shown
