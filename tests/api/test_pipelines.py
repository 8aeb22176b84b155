"""``/clients/{id}/pipelines`` and ``/pipelines/{id}``."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from chm_web.models import Platform
from tests.api.envelope import CONFLICT, INVALID, NOT_FOUND, issues, refusal
from tests.factories import make_client, make_pipeline
from tests.http import ApiClient

MINIMAL = {"name": "orders_daily", "platform": "airflow", "pipeline_type": "ingestion"}
FULL = {
    **MINIMAL,
    "external_id": "dags/orders daily+1",
    "description": "Orders of the day before.",
    "environment": "staging",
    "is_active": False,
    "expected_every_minutes": 1440,
}


@pytest.fixture
def path(api: ApiClient) -> str:
    """The pipelines of a client."""
    return f"/clients/{make_client(name='Northwind').id}/pipelines"


# -- create -------------------------------------------------------------------------------------------------------


def test_create_gives_back_every_field(api: ApiClient, path: str) -> None:
    response = api.post(path, FULL)

    body = response.get_json()
    assert response.status_code == 201
    assert {name: body[name] for name in FULL} == FULL
    assert set(body) == {*FULL, "id", "client_id", "created_at", "updated_at", "updated_by"}
    assert body["client_id"] == path.split("/")[2]
    assert body["created_at"].endswith("Z")


def test_create_fills_defaults_in(api: ApiClient, path: str) -> None:
    body = api.post(path, MINIMAL).get_json()

    assert {name: body[name] for name in FULL} == {
        **MINIMAL,
        "external_id": None,
        "description": None,
        "environment": "prod",
        "is_active": True,
        "expected_every_minutes": None,
    }


def test_created_pipeline_can_be_read_again(api: ApiClient, path: str) -> None:
    created = api.post(path, FULL).get_json()

    assert api.get(f"/pipelines/{created['id']}").get_json() == created


@pytest.mark.parametrize("platform", ["airflow", "dbt", "cron", "vendor_api", "custom"])
def test_create_takes_every_platform(api: ApiClient, path: str, platform: str) -> None:
    assert api.post(path, {**MINIMAL, "platform": platform}).get_json()["platform"] == platform


@pytest.mark.parametrize("kind", ["ingestion", "transform", "quality", "export", "healthcheck"])
def test_create_takes_every_pipeline_type(api: ApiClient, path: str, kind: str) -> None:
    assert api.post(path, {**MINIMAL, "pipeline_type": kind}).get_json()["pipeline_type"] == kind


def test_create_needs_a_client(api: ApiClient) -> None:
    assert refusal(api.post(f"/clients/{uuid4()}/pipelines", MINIMAL)) == NOT_FOUND


def test_create_rejects_duplicate_name_ignoring_case(api: ApiClient, path: str) -> None:
    api.post(path, MINIMAL)

    response = api.post(path, {**MINIMAL, "name": "ORDERS_daily"})

    assert refusal(response) == CONFLICT
    assert issues(response) == {"name": "This client has a pipeline with this name already."}


def test_create_rejects_duplicate_external_id_on_one_platform(api: ApiClient, path: str) -> None:
    api.post(path, {**MINIMAL, "external_id": "x"})

    response = api.post(path, {**MINIMAL, "name": "other", "external_id": "x"})

    assert refusal(response) == CONFLICT
    assert list(issues(response)) == ["external_id"]


ALLOWED_TWICE: dict[str, tuple[dict[str, Any], bool]] = {
    "same external id on another platform": ({"name": "other", "platform": "dbt", "external_id": "x"}, False),
    "external ids differ in case": ({"name": "other", "external_id": "X"}, False),
    "same name and external id of another client": ({"external_id": "x"}, True),
    "no external id": ({"name": "other"}, False),
}


@pytest.mark.parametrize("case", ALLOWED_TWICE)
def test_create_takes_what_only_looks_like_a_duplicate(api: ApiClient, path: str, case: str) -> None:
    values, elsewhere = ALLOWED_TWICE[case]
    api.post(path, {**MINIMAL, "external_id": "x"})
    other = f"/clients/{make_client().id}/pipelines" if elsewhere else path

    assert api.post(other, {**MINIMAL, **values}).status_code == 201


def test_two_pipelines_without_external_id_do_not_clash(api: ApiClient, path: str) -> None:
    api.post(path, {**MINIMAL, "name": "one"})

    assert api.post(path, {**MINIMAL, "name": "two"}).status_code == 201


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no name": ({"name": None}, "name"),
    "blank name": ({"name": "  "}, "name"),
    "long name": ({"name": "x" * 201}, "name"),
    "NUL in the name": ({"name": "\0"}, "name"),
    "platform of nobody": ({"platform": "jenkins"}, "platform"),
    "platform in capitals": ({"platform": "AIRFLOW"}, "platform"),
    "null platform": ({"platform": None}, "platform"),
    "list as platform": ({"platform": ["airflow"]}, "platform"),
    "object as platform": ({"platform": {"a": 1}}, "platform"),
    "type of nobody": ({"pipeline_type": "magic"}, "pipeline_type"),
    "environment of nobody": ({"environment": "production"}, "environment"),
    "null environment": ({"environment": None}, "environment"),
    "empty external id": ({"external_id": ""}, "external_id"),
    "external id of 513 characters": ({"external_id": "x" * 513}, "external_id"),
    "NUL in the external id": ({"external_id": "a\0"}, "external_id"),
    "lone surrogate in the external id": ({"external_id": "\udfff"}, "external_id"),
    "number as external id": ({"external_id": 7}, "external_id"),
    "long description": ({"description": "x" * 10_001}, "description"),
    "NUL in the description": ({"description": "\0"}, "description"),
    "expected every 0 minutes": ({"expected_every_minutes": 0}, "expected_every_minutes"),
    "expected every -5 minutes": ({"expected_every_minutes": -5}, "expected_every_minutes"),
    "expected every 1.5 minutes": ({"expected_every_minutes": 1.5}, "expected_every_minutes"),
    "expected every 2^31 minutes": ({"expected_every_minutes": 2**31}, "expected_every_minutes"),
    "truth as minutes": ({"expected_every_minutes": True}, "expected_every_minutes"),
    "null is_active": ({"is_active": None}, "is_active"),
    "client cannot be chosen": ({"client_id": str(uuid4())}, "client_id"),
    "unknown field": ({"owner": "me"}, "owner"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_create_refuses_what_breaks_a_rule(api: ApiClient, path: str, case: str) -> None:
    values, field = REFUSED[case]

    response = api.post(path, {**MINIMAL, **values})

    assert refusal(response) == INVALID
    assert list(issues(response)) == [field]


@pytest.mark.parametrize("field", MINIMAL)
def test_create_names_what_is_missing(api: ApiClient, path: str, field: str) -> None:
    response = api.post(path, {name: value for name, value in MINIMAL.items() if name != field})

    assert issues(response) == {field: "Missing data for required field."}


def test_largest_values_are_taken(api: ApiClient, path: str) -> None:
    largest = {
        "name": "🚚" * 200,
        "external_id": "🚚" * 512,
        "description": "x" * 10_000,
        "expected_every_minutes": 2**31 - 1,
    }

    body = api.post(path, {**MINIMAL, **largest}).get_json()

    assert {name: body[name] for name in largest} == largest


# -- read one -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pipeline_id", ["c0ffee00-0000-4000-8000-000000000000", "not-a-uuid"])
def test_unknown_pipeline_is_not_found(api: ApiClient, pipeline_id: str) -> None:
    assert refusal(api.get(f"/pipelines/{pipeline_id}")) == NOT_FOUND


def test_reading_one_pipeline_takes_no_parameters(api: ApiClient) -> None:
    assert issues(api.get(f"/pipelines/{make_pipeline().id}", q="x")) == {"q": "Unknown field."}


# -- list ---------------------------------------------------------------------------------------------------------


def test_list_of_an_unknown_client_is_not_found(api: ApiClient) -> None:
    assert refusal(api.get(f"/clients/{uuid4()}/pipelines")) == NOT_FOUND


def test_list_holds_the_pipelines_of_this_client_alone(api: ApiClient, path: str) -> None:
    api.post(path, MINIMAL)
    make_pipeline()

    assert [item["name"] for item in api.get(path).get_json()["items"]] == ["orders_daily"]


def test_list_of_a_disabled_client_is_still_read(api: ApiClient) -> None:
    client = make_client(is_active=False)
    make_pipeline(client, name="kept")

    assert [item["name"] for item in api.get(f"/clients/{client.id}/pipelines").get_json()["items"]] == ["kept"]


FILTERS: dict[str, tuple[dict[str, str], list[str]]] = {
    "none": ({}, ["Orders_1", "orders_2", "orders%3", "stock\\4"]),
    "active": ({"is_active": "true"}, ["Orders_1", "orders%3", "stock\\4"]),
    "disabled": ({"is_active": "false"}, ["orders_2"]),
    "platform": ({"platform": "dbt"}, ["orders_2", "orders%3"]),
    "search": ({"q": "ORDERS"}, ["Orders_1", "orders_2", "orders%3"]),
    "search for an underscore": ({"q": "s_"}, ["Orders_1", "orders_2"]),
    "search for a percent sign": ({"q": "s%"}, ["orders%3"]),
    "search for a backslash": ({"q": "k\\"}, ["stock\\4"]),
    "all three": ({"q": "orders", "platform": "dbt", "is_active": "true"}, ["orders%3"]),
    "all three, none left": ({"q": "orders_1", "platform": "dbt", "is_active": "true"}, []),
}


@pytest.mark.parametrize("case", FILTERS)
def test_filters_combine(api: ApiClient, path: str, case: str) -> None:
    for name, platform, is_active in (
        ("Orders_1", "airflow", True),
        ("orders_2", "dbt", False),
        ("orders%3", "dbt", True),
        ("stock\\4", "cron", True),
    ):
        api.post(path, {**MINIMAL, "name": name, "platform": platform, "is_active": is_active})
    query, expected = FILTERS[case]

    found = [item["name"] for item in api.get(path, **query).get_json()["items"]]

    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize(
    "query",
    [{"platform": "jenkins"}, {"is_active": "2"}, {"q": "\0"}, {"limit": "0"}, {"environment": "prod"}],
    ids=lambda query: next(iter(query)),
)
def test_list_refuses_bad_parameters(api: ApiClient, path: str, query: dict[str, str]) -> None:
    response = api.get(path, **query)

    assert refusal(response) == INVALID
    assert list(issues(response)) == list(query)


def test_pages_keep_to_the_filter(api: ApiClient) -> None:
    client = make_client()
    for number in range(6):
        make_pipeline(client, name=f"p{number}", platform=Platform.DBT if number % 2 else Platform.CRON)
    path = f"/clients/{client.id}/pipelines"

    first = api.get(path, platform="dbt", limit=2).get_json()
    second = api.get(path, platform="dbt", limit=2, cursor=first["next_cursor"]).get_json()

    assert [item["name"] for item in first["items"] + second["items"]] == ["p1", "p3", "p5"]
    assert second["next_cursor"] is None


# -- change -------------------------------------------------------------------------------------------------------


@pytest.fixture
def one(api: ApiClient, path: str) -> str:
    """One pipeline, with no field at its default."""
    return f"/pipelines/{api.post(path, FULL).get_json()['id']}"


CHANGES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "name": {"name": "orders_hourly"},
    "case of its own name": {"name": "ORDERS_daily"},
    "platform": {"platform": "dbt"},
    "type": {"pipeline_type": "export"},
    "environment": {"environment": "dev"},
    "state": {"is_active": True},
    "external id": {"external_id": "y"},
    "no external id": {"external_id": None},
    "no description": {"description": None},
    "no expectation": {"expected_every_minutes": None},
    "several": {"description": "", "expected_every_minutes": 5, "platform": "custom"},
}


@pytest.mark.parametrize("case", CHANGES)
def test_change_touches_what_is_sent_alone(api: ApiClient, one: str, case: str) -> None:
    before = api.get(one).get_json()

    response = api.patch(one, CHANGES[case])

    assert response.status_code == 200
    assert response.get_json() == {**before, **CHANGES[case]}
    assert api.get(one).get_json() == response.get_json()


REFUSED_CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    **{
        f"null {name}": ({name: None}, name)
        for name in ("name", "platform", "pipeline_type", "environment", "is_active")
    },
    "blank name": ({"name": " "}, "name"),
    "empty external id": ({"external_id": ""}, "external_id"),
    "platform of nobody": ({"platform": "excel"}, "platform"),
    "interval of nothing": ({"expected_every_minutes": 0}, "expected_every_minutes"),
    "interval out of range": ({"expected_every_minutes": 2**31}, "expected_every_minutes"),
    "another client": ({"client_id": str(uuid4())}, "client_id"),
    "unknown field": ({"owner": "a"}, "owner"),
}


@pytest.mark.parametrize("case", REFUSED_CHANGES)
def test_change_refuses_what_breaks_a_rule(api: ApiClient, one: str, case: str) -> None:
    body, field = REFUSED_CHANGES[case]
    before = api.get(one).get_json()

    response = api.patch(one, body)

    assert refusal(response) == INVALID
    assert list(issues(response)) == [field]
    assert api.get(one).get_json() == before


@pytest.mark.parametrize(("field", "value"), [("name", "Taken"), ("external_id", "x")])
def test_change_to_what_is_taken_is_a_conflict(api: ApiClient, path: str, one: str, field: str, value: str) -> None:
    api.post(path, {**MINIMAL, "name": "taken", "external_id": "x"})

    response = api.patch(one, {field: value})

    assert refusal(response) == CONFLICT
    assert list(issues(response)) == [field]


def test_moving_to_a_platform_where_the_external_id_is_taken_is_a_conflict(api: ApiClient, path: str, one: str) -> None:
    api.post(path, {**FULL, "name": "other", "platform": "dbt"})

    assert refusal(api.patch(one, {"platform": "dbt"})) == CONFLICT


def test_changing_an_unknown_pipeline_is_not_found(api: ApiClient) -> None:
    assert refusal(api.patch(f"/pipelines/{uuid4()}", {})) == NOT_FOUND


# -- disable ------------------------------------------------------------------------------------------------------


def test_disabling_keeps_the_pipeline(api: ApiClient) -> None:
    one = f"/pipelines/{make_pipeline().id}"

    for _ in range(2):
        response = api.delete(one)
        assert (response.status_code, response.data) == (204, b"")

    assert api.get(one).get_json()["is_active"] is False


def test_disabling_an_unknown_pipeline_is_not_found(api: ApiClient) -> None:
    assert refusal(api.delete(f"/pipelines/{uuid4()}")) == NOT_FOUND
