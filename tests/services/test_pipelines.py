"""Pipelines."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session, scoped_session

from chm_web.models import Environment, Pipeline, PipelineType, Platform
from chm_web.services.exceptions import Conflict, Invalid, NotFound, Stale
from chm_web.services.pipeline_lists import list_client_pipelines
from chm_web.services.pipelines import (
    create_pipeline,
    disable_pipeline,
    find_by_external_ids,
    get_pipeline,
    list_ingest_targets,
    set_pipelines_active,
    update_pipeline,
)
from chm_web.services.versions import version_of
from tests.factories import NOW, make_client, make_pipeline

KIND: dict[str, Any] = {"platform": Platform.AIRFLOW, "pipeline_type": PipelineType.EXPORT}


def test_create_keeps_every_value(app: Flask) -> None:
    client = make_client()
    values = {
        **KIND,
        "name": "orders",
        "external_id": "dag/1",
        "description": "Orders",
        "environment": Environment.DEV,
        "is_active": False,
        "expected_every_minutes": 15,
    }

    found = get_pipeline(pipeline_id=create_pipeline(client_id=client.id, **values).id)

    assert {name: getattr(found, name) for name in values} == values
    assert found.client_id == client.id


def test_create_needs_a_client(app: Flask) -> None:
    with pytest.raises(NotFound):
        create_pipeline(client_id=uuid4(), name="orders", **KIND)


TAKEN: dict[str, tuple[dict[str, Any], str]] = {
    "name": ({"name": "orders", "external_id": "y"}, "name"),
    "name in another case": ({"name": "ORDERS", "external_id": "y"}, "name"),
    "name on another platform": ({"name": "orders", "platform": Platform.DBT}, "name"),
    "external id": ({"name": "stock", "external_id": "x"}, "external_id"),
}


@pytest.mark.parametrize("case", TAKEN)
def test_create_names_what_is_taken(app: Flask, case: str) -> None:
    client = make_client()
    create_pipeline(client_id=client.id, name="orders", external_id="x", **KIND)
    values, field = TAKEN[case]

    with pytest.raises(Conflict) as refused:
        create_pipeline(client_id=client.id, **{**KIND, **values})

    assert [detail.field for detail in refused.value.details] == [field]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "empty name": ({"name": " "}, "name"),
    "empty external id": ({"external_id": ""}, "external_id"),
    "long external id": ({"external_id": "x" * 513}, "external_id"),
    "expected every 0 minutes": ({"expected_every_minutes": 0}, "expected_every_minutes"),
    "expected every -1 minutes": ({"expected_every_minutes": -1}, "expected_every_minutes"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_create_refuses_what_breaks_a_rule_of_the_data_model(app: Flask, case: str) -> None:
    values, field = REFUSED[case]

    with pytest.raises(Invalid) as refused:
        create_pipeline(client_id=make_client().id, **{"name": "orders", **KIND, **values})

    assert [detail.field for detail in refused.value.details] == [field]


def test_get_of_an_unknown_pipeline_is_not_found(app: Flask) -> None:
    with pytest.raises(NotFound):
        get_pipeline(pipeline_id=uuid4())


def test_list_needs_a_client(app: Flask) -> None:
    with pytest.raises(NotFound):
        list_client_pipelines(client_id=uuid4(), now=NOW)


def test_list_filters_combine(app: Flask) -> None:
    client = make_client()
    make_pipeline(client, name="orders", platform=Platform.DBT)
    make_pipeline(client, name="orders off", platform=Platform.DBT, is_active=False)
    make_pipeline(client, name="orders elsewhere", platform=Platform.CRON)
    make_pipeline(client, name="stock", platform=Platform.DBT)
    make_pipeline(name="orders of another client", platform=Platform.DBT)

    found = list_client_pipelines(client_id=client.id, now=NOW, platform=Platform.DBT, is_active=True, q="order").items

    assert [listed.pipeline.name for listed in found] == ["orders"]


def test_targets_are_the_active_pipelines_that_a_platform_knows(app: Flask) -> None:
    client = make_client()
    wanted = [make_pipeline(client, external_id=f"x{number}") for number in range(3)]
    make_pipeline(client, external_id=None)
    make_pipeline(client, is_active=False)
    make_pipeline(client, platform=Platform.CRON)
    make_pipeline(make_client(is_active=False))

    found = list_ingest_targets(platforms=[Platform.VENDOR_API])

    expected = sorted((pipeline.id, f"x{number}") for number, pipeline in enumerate(wanted))
    assert [(target.pipeline_id, target.external_id) for target in found] == expected


def test_targets_are_narrowed_by_client_and_pipeline(app: Flask) -> None:
    client = make_client()
    one, two = make_pipeline(client), make_pipeline(client)
    make_pipeline()

    def targets(**scope: Any) -> set[Any]:
        return {target.pipeline_id for target in list_ingest_targets(platforms=[Platform.VENDOR_API], **scope)}

    assert targets(client_id=client.id) == {one.id, two.id}
    assert targets(pipeline_id=one.id) == {one.id}
    assert targets(client_id=make_client().id, pipeline_id=one.id) == set()


def test_no_platform_has_no_targets(app: Flask) -> None:
    make_pipeline()

    assert list_ingest_targets(platforms=[]) == []


def test_change_is_committed(session: scoped_session[Session]) -> None:
    pipeline_id = make_pipeline(name="before").id
    update_pipeline(pipeline_id=pipeline_id, changes={"name": "after"})
    session.rollback()

    assert session.scalars(sa.select(Pipeline)).one().name == "after"


def test_change_of_another_version_is_stale(app: Flask) -> None:
    pipeline = make_pipeline(name="before")

    with pytest.raises(Stale):
        update_pipeline(pipeline_id=pipeline.id, changes={"name": "after"}, if_version="another")

    assert get_pipeline(pipeline_id=pipeline.id).name == "before"
    changed = update_pipeline(pipeline_id=pipeline.id, changes={"name": "after"}, if_version=version_of(pipeline))
    assert changed.name == "after"


def test_several_are_disabled_at_once_and_those_that_were_are_left_as_they_are(app: Flask) -> None:
    on, off, other = make_pipeline(), make_pipeline(is_active=False, updated_by="earlier"), make_pipeline()
    marked = [on.id, off.id, uuid4()]

    assert set_pipelines_active(pipeline_ids=marked, is_active=False, updated_by="mira") == 1

    assert (on.is_active, on.updated_by) == (False, "mira")
    assert (off.is_active, off.updated_by) == (False, "earlier")
    assert other.is_active


def test_several_are_enabled_for_good(session: scoped_session[Session]) -> None:
    pipeline_id = make_pipeline(is_active=False).id
    set_pipelines_active(pipeline_ids=[pipeline_id], is_active=True)
    session.rollback()

    assert session.scalars(sa.select(Pipeline)).one().is_active


def test_refused_change_is_undone(app: Flask) -> None:
    pipeline = make_pipeline(name="before")

    with pytest.raises(Invalid):
        update_pipeline(pipeline_id=pipeline.id, changes={"name": " "})

    assert get_pipeline(pipeline_id=pipeline.id).name == "before"


def test_disabling_twice_is_fine(app: Flask) -> None:
    pipeline = make_pipeline()

    for _ in range(2):
        disable_pipeline(pipeline_id=pipeline.id)
        assert get_pipeline(pipeline_id=pipeline.id).is_active is False


def test_changing_what_is_unknown_is_not_found(app: Flask) -> None:
    with pytest.raises(NotFound):
        update_pipeline(pipeline_id=uuid4(), changes={})
    with pytest.raises(NotFound):
        disable_pipeline(pipeline_id=uuid4())


# -- finding pipelines whose runs are reported --------------------------------------------------------------------


def test_pipelines_are_found_by_external_id_across_clients_and_platforms(app: Flask) -> None:
    first = make_pipeline(external_id="orders", platform=Platform.AIRFLOW)
    second = make_pipeline(external_id="orders", platform=Platform.DBT)
    other = make_pipeline(external_id="stock")

    found = find_by_external_ids(external_ids={"orders", "stock", "nobodys"})

    assert {name: [(each.id, each.platform) for each in of_name] for name, of_name in found.items()} == {
        "orders": [(first.id, Platform.AIRFLOW), (second.id, Platform.DBT)],
        "stock": [(other.id, other.platform)],
    }


def test_disabled_pipelines_and_those_of_disabled_clients_are_not_found(app: Flask) -> None:
    make_pipeline(external_id="orders", is_active=False)
    make_pipeline(make_client(is_active=False), external_id="orders")

    assert find_by_external_ids(external_ids={"orders"}) == {}


@pytest.mark.parametrize("external_id", ["", "\0", "\ud800", "x" * 100_000])
def test_id_that_no_pipeline_can_have_is_not_found(app: Flask, external_id: str) -> None:
    pipeline = make_pipeline(external_id="orders")

    found = find_by_external_ids(external_ids={external_id, "orders"})

    assert [each.id for each in found.pop("orders")] == [pipeline.id]
    assert found == {}


def test_any_number_of_pipelines_is_found_by_one_query(app: Flask, session: scoped_session[Session]) -> None:
    client = make_client()
    names = {make_pipeline(client).external_id for _ in range(20)}
    asked: list[str] = []
    sa.event.listen(session.get_bind(), "before_cursor_execute", lambda *args: asked.append(args[2]))

    found = find_by_external_ids(external_ids={name for name in names if name})

    assert set(found) == names
    assert len([statement for statement in asked if statement.startswith("SELECT")]) == 1
