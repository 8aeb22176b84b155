"""The forms of a client: created, renamed, enabled and disabled."""

from __future__ import annotations

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from chm_web.access.permissions import Role
from chm_web.extensions import db
from chm_web.services.clients import get_client, list_clients, update_client
from tests.factories import make_client
from tests.http import client_of
from tests.web.conftest import Send, version


def test_new_client_is_created(client: FlaskClient, send: Send) -> None:
    response = send("/clients/new", name=" Acme Retail ")

    [made] = list_clients().items
    assert (made.name, made.is_active, made.updated_by) == ("Acme Retail", True, "oidc:somebody")
    assert (response.status_code, response.location) == (303, f"/clients/{made.id}")
    assert "Acme Retail is created." in client.get(response.location).text


@pytest.mark.parametrize(("name", "said"), [(" ", "This is needed."), ("ACME", "exists already"), ("x" * 201, "200")])
def test_name_that_cannot_be_is_told_beside_it_and_kept(send: Send, name: str, said: str) -> None:
    make_client(name="Acme")

    response = send("/clients/new", name=name)

    assert response.status_code == 422
    problem = re.search(r'id="name-problem">([^<]+)<', response.text)
    assert problem and said in problem[1]
    assert f'value="{name}"' in response.text
    assert len(list_clients().items) == 1


def test_client_is_renamed(client: FlaskClient, send: Send) -> None:
    owner = make_client(name="Acme")
    seen = version(client.get(f"/clients/{owner.id}/edit").text)

    response = send(f"/clients/{owner.id}/edit", name="Acme Retail", version=seen)

    assert (response.status_code, response.location) == (303, f"/clients/{owner.id}")
    assert get_client(client_id=owner.id).name == "Acme Retail"
    assert get_client(client_id=owner.id).is_active


def test_change_by_somebody_else_meanwhile_is_told_and_the_input_is_kept(committed_app: Flask) -> None:
    owner_id = make_client(name="Acme").id  # with real commits, since a version is the time of a transaction
    client = client_of(committed_app)
    form = client.get(f"/clients/{owner_id}/edit").text
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form))
    update_client(client_id=owner_id, changes={"name": "Theirs"})

    refused = client.post(f"/clients/{owner_id}/edit", data=hidden | {"name": "Mine"})

    assert refused.status_code == 422
    assert "Somebody else has changed this meanwhile." in refused.text
    assert 'value="Mine"' in refused.text
    assert '<p class="field-theirs" id="name-theirs"><span>Theirs: <strong>Theirs</strong>' in refused.text
    db.session.expire_all()
    assert get_client(client_id=owner_id).name == "Theirs"


def test_client_is_disabled_once_it_is_confirmed_and_enabled_again(client: FlaskClient, send: Send) -> None:
    owner = make_client(name="Acme")

    page = send(f"/clients/{owner.id}/disable")
    assert (page.status_code, "Disable Acme?" in page.text) == (200, True)
    assert get_client(client_id=owner.id).is_active

    assert send(f"/clients/{owner.id}/disable", confirmed="yes").status_code == 303
    assert not get_client(client_id=owner.id).is_active
    assert f'action="/clients/{owner.id}/enable"' in client.get(f"/clients/{owner.id}").text

    send(f"/clients/{owner.id}/enable")
    assert get_client(client_id=owner.id).is_active


@pytest.mark.parametrize(
    ("role", "shown"),
    [(Role.VIEWER, []), (Role.OPERATOR, ["New pipeline"]), (Role.ADMIN, ["New pipeline", "Edit", "Disable"])],
)
def test_page_of_a_client_offers_what_one_may_do(app: Flask, role: Role, shown: list[str]) -> None:
    owner = make_client()

    page = client_of(app, role=role).get(f"/clients/{owner.id}").text

    assert [word for word in ("New pipeline", "Edit", "Disable") if f"</svg>{word}<" in page] == shown
