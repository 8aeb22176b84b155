"""Clients."""

from __future__ import annotations

from uuid import uuid4

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session, scoped_session

from chm_web.models import Client
from chm_web.services.clients import create_client, disable_client, get_client, list_clients, update_client
from chm_web.services.exceptions import Conflict, Invalid, NotFound, Stale
from chm_web.services.versions import version_of
from tests.factories import make_client


def names(**query: object) -> list[str]:
    """The names on the first page."""
    return [client.name for client in list_clients(**query).items]  # type: ignore[arg-type]


def test_create_strips_the_name(app: Flask) -> None:
    assert create_client(name="  Northwind ").name == "Northwind"


def test_create_is_committed(session: scoped_session[Session]) -> None:
    client_id = create_client(name="Northwind", is_active=False).id
    session.rollback()

    found = session.scalars(sa.select(Client)).one()
    assert (found.id, found.name, found.is_active) == (client_id, "Northwind", False)


@pytest.mark.parametrize("name", ["Northwind", "northWIND", " Northwind "])
def test_create_rejects_duplicate_name(app: Flask, name: str) -> None:
    make_client(name="Northwind")

    with pytest.raises(Conflict) as refused:
        create_client(name=name)

    assert [detail.field for detail in refused.value.details] == ["name"]


def test_name_of_a_disabled_client_stays_taken(app: Flask) -> None:
    make_client(name="Northwind", is_active=False)

    with pytest.raises(Conflict):
        create_client(name="Northwind")


@pytest.mark.parametrize("name", ["", "   ", "\t\n"])
def test_create_refuses_an_empty_name(app: Flask, name: str) -> None:
    with pytest.raises(Invalid) as refused:
        create_client(name=name)

    assert [detail.field for detail in refused.value.details] == ["name"]


def test_session_works_on_after_a_conflict(app: Flask) -> None:
    make_client(name="Northwind")
    with pytest.raises(Conflict):
        create_client(name="Northwind")

    create_client(name="Southwind")

    assert names() == ["Northwind", "Southwind"]


def test_get_gives_the_client(app: Flask) -> None:
    client = make_client()

    assert get_client(client_id=client.id).name == client.name


def test_get_of_an_unknown_client_is_not_found(app: Flask) -> None:
    with pytest.raises(NotFound):
        get_client(client_id=uuid4())


def test_list_filters_combine(app: Flask) -> None:
    make_client(name="north on")
    make_client(name="north off", is_active=False)
    make_client(name="south on")

    assert names(q="NORTH") == ["north off", "north on"]
    assert names(q="north", is_active=False) == ["north off"]
    assert names(q=None, is_active=True) == ["north on", "south on"]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_pages_add_up_while_clients_are_added(app: Flask, limit: int) -> None:
    for name in "bdfh":
        make_client(name=name)
    found: list[str] = []
    cursor = None
    while True:
        page = list_clients(limit=limit, cursor=cursor)
        found += [client.name for client in page.items]
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
        # Always before what was read: it must neither be shown nor push anything out or in.
        make_client(name=f"a{len(found)}")

    assert found == list("bdfh")


def test_cursor_of_another_kind_is_invalid(app: Flask) -> None:
    with pytest.raises(Invalid) as refused:
        list_clients(cursor="W10")

    assert [detail.field for detail in refused.value.details] == ["cursor"]


def test_change_is_committed(session: scoped_session[Session]) -> None:
    client_id = make_client(name="before").id
    update_client(client_id=client_id, changes={"name": "after"})
    session.rollback()

    assert session.scalars(sa.select(Client)).one().name == "after"


def test_change_of_another_version_is_stale(app: Flask) -> None:
    client = make_client(name="before")

    with pytest.raises(Stale):
        update_client(client_id=client.id, changes={"name": "after"}, if_version="another")

    assert get_client(client_id=client.id).name == "before"
    changed = update_client(client_id=client.id, changes={"name": "after"}, if_version=version_of(client))
    assert changed.name == "after"


def test_refused_change_is_undone(app: Flask) -> None:
    client = make_client(name="before")

    with pytest.raises(Invalid):
        update_client(client_id=client.id, changes={"name": " "})

    assert get_client(client_id=client.id).name == "before"


def test_disabling_twice_is_fine(app: Flask) -> None:
    client = make_client()

    for _ in range(2):
        disable_client(client_id=client.id)
        assert get_client(client_id=client.id).is_active is False


def test_changing_what_is_unknown_is_not_found(app: Flask) -> None:
    with pytest.raises(NotFound):
        update_client(client_id=uuid4(), changes={})
    with pytest.raises(NotFound):
        disable_client(client_id=uuid4())
