"""``/clients``."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest

from tests.api.envelope import CONFLICT, INVALID, NOT_FOUND, issues, refusal
from tests.factories import make_client
from tests.http import ApiClient

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")


def names(api: ApiClient, **query: Any) -> list[str]:
    """The names on the first page."""
    response = api.get("/clients", **query)
    assert response.status_code == 200, response.text
    return [item["name"] for item in response.get_json()["items"]]


# -- create -------------------------------------------------------------------------------------------------------


def test_create_gives_the_client_with_every_field(api: ApiClient) -> None:
    response = api.post("/clients", {"name": "Northwind Foods"})

    body = response.get_json()
    assert response.status_code == 201
    assert set(body) == {"id", "name", "is_active", "created_at", "updated_at", "updated_by"}
    assert (body["name"], body["is_active"], body["updated_by"]) == ("Northwind Foods", True, "token:write")
    assert TIME.fullmatch(body["created_at"])
    assert TIME.fullmatch(body["updated_at"])


def test_created_client_can_be_read_again(api: ApiClient) -> None:
    created = api.post("/clients", {"name": "Northwind", "is_active": False}).get_json()

    assert api.get(f"/clients/{created['id']}").get_json() == created


def test_create_strips_the_name(api: ApiClient) -> None:
    assert api.post("/clients", {"name": "  Northwind \n"}).get_json()["name"] == "Northwind"


def test_create_keeps_letters_of_every_script(api: ApiClient) -> None:
    name = 'Łódź 北京 Ωmega 🚚 "quoted" <b>\''

    assert api.post("/clients", {"name": name}).get_json()["name"] == name


@pytest.mark.parametrize("name", ["Northwind", "NORTHWIND", " northwind "])
def test_create_rejects_duplicate_name(api: ApiClient, name: str) -> None:
    make_client(name="Northwind")

    response = api.post("/clients", {"name": name})

    assert refusal(response) == CONFLICT
    assert issues(response) == {"name": "A client with this name exists already."}


def test_client_can_be_created_after_a_conflict(api: ApiClient) -> None:
    make_client(name="Northwind")
    api.post("/clients", {"name": "Northwind"})

    assert api.post("/clients", {"name": "Southwind"}).status_code == 201


REFUSED: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "no name": ({}, {"name": "Missing data for required field."}),
    "null name": ({"name": None}, {"name": "Field may not be null."}),
    "empty name": ({"name": ""}, {"name": "Length must be between 1 and 200."}),
    "blank name": ({"name": " \t\n "}, {"name": "Length must be between 1 and 200."}),
    "long name": ({"name": "x" * 201}, {"name": "Length must be between 1 and 200."}),
    "number as name": ({"name": 7}, {"name": "Not a valid string."}),
    "object as name": ({"name": {"a": 1}}, {"name": "Not a valid string."}),
    "NUL in the name": ({"name": "a\0b"}, {"name": "Must not hold NUL or half of a surrogate pair."}),
    "lone surrogate": ({"name": "a\ud800b"}, {"name": "Must not hold NUL or half of a surrogate pair."}),
    "is_active of nobody": ({"name": "a", "is_active": "perhaps"}, {"is_active": "Not a valid boolean."}),
    "list as is_active": ({"name": "a", "is_active": []}, {"is_active": "Not a valid boolean."}),
    "unknown field": ({"name": "a", "nmae": "b"}, {"nmae": "Unknown field."}),
    "id cannot be chosen": ({"name": "a", "id": str(uuid4())}, {"id": "Unknown field."}),
    "several at once": ({"is_active": 7, "x": 1}, {"name": "Missing", "is_active": "Not a valid", "x": "Unknown"}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_create_refuses_what_breaks_a_rule(api: ApiClient, case: str) -> None:
    body, expected = REFUSED[case]

    response = api.post("/clients", body)

    assert refusal(response) == INVALID
    found = issues(response)
    assert set(found) == set(expected)
    assert all(found[field].startswith(issue) for field, issue in expected.items())
    assert names(api) == []


def test_longest_name_is_taken(api: ApiClient) -> None:
    assert api.post("/clients", {"name": "ü" * 200}).status_code == 201


# -- read one -----------------------------------------------------------------------------------------------------


def test_unknown_client_is_not_found(api: ApiClient) -> None:
    assert refusal(api.get(f"/clients/{uuid4()}")) == NOT_FOUND


@pytest.mark.parametrize("path", ["not-a-uuid", "1", "%00", "%FF", "00000000-0000-0000-0000-00000000000g"])
def test_client_id_that_is_no_uuid_is_not_found(api: ApiClient, path: str) -> None:
    assert refusal(api.get(f"/clients/{path}")) == NOT_FOUND


# -- list ---------------------------------------------------------------------------------------------------------


def test_list_is_empty_without_clients(api: ApiClient) -> None:
    assert api.get("/clients").get_json() == {"items": [], "next_cursor": None}


def test_list_is_by_name_ignoring_case(api: ApiClient) -> None:
    for name in ("b", "C", "a", "A2"):
        make_client(name=name)

    assert names(api) == ["a", "A2", "b", "C"]


def test_list_shows_clients_as_they_are_read_alone(api: ApiClient) -> None:
    client = make_client()

    assert api.get("/clients").get_json()["items"] == [api.get(f"/clients/{client.id}").get_json()]


def test_list_holds_inactive_clients_unless_asked(api: ApiClient) -> None:
    make_client(name="on")
    make_client(name="off", is_active=False)

    assert names(api) == ["off", "on"]
    assert names(api, is_active="true") == ["on"]
    assert names(api, is_active="false") == ["off"]


SEARCHES = {
    "any case": ("NORTH", ["Northwind"]),
    "in the middle": ("thwi", ["Northwind"]),
    "percent": ("%", ["100% Fresh"]),
    "underscore": ("_", ["data_co"]),
    "backslash": ("\\", ["back\\slash"]),
    "backslash before a wildcard": ("\\%", []),
    "percent in the middle": ("N%d", []),
    "quote": ("'", ["O'Neill"]),
    "nothing found": ("zzz", []),
    "empty finds all": ("", ["100% Fresh", "Northwind", "O'Neill", "back\\slash", "data_co"]),
}


@pytest.mark.parametrize("case", SEARCHES)
def test_search_takes_every_character_literally(api: ApiClient, case: str) -> None:
    for name in ("Northwind", "100% Fresh", "data_co", "back\\slash", "O'Neill"):
        make_client(name=name)
    q, expected = SEARCHES[case]

    assert sorted(names(api, q=q)) == expected


def test_search_and_state_combine(api: ApiClient) -> None:
    make_client(name="north on")
    make_client(name="north off", is_active=False)
    make_client(name="south on")

    assert names(api, q="north", is_active="true") == ["north on"]


BAD_QUERIES: dict[str, tuple[dict[str, str], str]] = {
    "limit 0": ({"limit": "0"}, "limit"),
    "limit above the bound": ({"limit": "1001"}, "limit"),
    "negative limit": ({"limit": "-1"}, "limit"),
    "limit that is no number": ({"limit": "ten"}, "limit"),
    "fraction as limit": ({"limit": "1.5"}, "limit"),
    "empty limit": ({"limit": ""}, "limit"),
    "limit of 5,000 digits": ({"limit": "9" * 5000}, "limit"),
    "is_active of nobody": ({"is_active": "perhaps"}, "is_active"),
    "NUL in q": ({"q": "a\0"}, "q"),
    "unknown parameter": ({"active": "true"}, "active"),
    "offset": ({"offset": "10"}, "offset"),
    "cursor of nothing": ({"cursor": ""}, "cursor"),
}


@pytest.mark.parametrize("case", BAD_QUERIES)
def test_list_refuses_bad_parameters(api: ApiClient, case: str) -> None:
    query, field = BAD_QUERIES[case]

    response = api.get("/clients", **query)

    assert refusal(response) == INVALID
    assert list(issues(response)) == [field]


@pytest.mark.parametrize("limit", [1, 1000])
def test_list_takes_the_bounds_of_limit(api: ApiClient, limit: int) -> None:
    assert api.get("/clients", limit=limit).status_code == 200


def test_reading_one_client_takes_no_parameters(api: ApiClient) -> None:
    assert issues(api.get(f"/clients/{make_client().id}", verbose="1")) == {"verbose": "Unknown field."}


def test_creating_takes_no_parameters(api: ApiClient) -> None:
    response = api.post("/clients?dry_run=1", {"name": "a"})

    assert issues(response) == {"dry_run": "Unknown field."}
    assert names(api) == []


# -- change -------------------------------------------------------------------------------------------------------


@pytest.fixture
def path(api: ApiClient) -> str:
    """One client."""
    return f"/clients/{make_client(name='Northwind').id}"


CHANGES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "name": {"name": "Southwind"},
    "case of its own name": {"name": "NORTHWIND"},
    "its own name": {"name": "Northwind"},
    "state": {"is_active": False},
    "both": {"name": "Southwind", "is_active": False},
}


@pytest.mark.parametrize("case", CHANGES)
def test_change_touches_what_is_sent_alone(api: ApiClient, path: str, case: str) -> None:
    before = api.get(path).get_json()

    response = api.patch(path, CHANGES[case])

    assert response.status_code == 200
    changed = any(before[name] != value for name, value in CHANGES[case].items())
    assert response.get_json() == {**before, **CHANGES[case], "updated_by": "token:write" if changed else None}
    assert api.get(path).get_json() == response.get_json()


def test_change_does_not_enable_a_disabled_client(api: ApiClient) -> None:
    client = make_client(is_active=False)

    assert api.patch(f"/clients/{client.id}", {"name": "new"}).get_json()["is_active"] is False


def test_change_strips_the_name(api: ApiClient, path: str) -> None:
    assert api.patch(path, {"name": " Southwind "}).get_json()["name"] == "Southwind"


REFUSED_CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "null name": ({"name": None}, "name"),
    "blank name": ({"name": "  "}, "name"),
    "null state": ({"is_active": None}, "is_active"),
    "id": ({"id": str(uuid4())}, "id"),
    "created_at": ({"created_at": "2026-01-01T00:00:00Z"}, "created_at"),
    "unknown field": ({"nmae": "a"}, "nmae"),
    "good and bad": ({"name": "Southwind", "is_active": 7}, "is_active"),
}


@pytest.mark.parametrize("case", REFUSED_CHANGES)
def test_change_refuses_what_breaks_a_rule(api: ApiClient, path: str, case: str) -> None:
    body, field = REFUSED_CHANGES[case]

    response = api.patch(path, body)

    assert refusal(response) == INVALID
    assert list(issues(response)) == [field]
    assert names(api) == ["Northwind"]


@pytest.mark.parametrize("body", [[], "a", [{"name": "a"}]])
def test_change_must_be_an_object(api: ApiClient, path: str, body: Any) -> None:
    assert refusal(api.patch(path, body)) == INVALID


def test_renaming_to_a_taken_name_is_a_conflict(api: ApiClient, path: str) -> None:
    make_client(name="Southwind")

    response = api.patch(path, {"name": "SOUTHWIND"})

    assert refusal(response) == CONFLICT
    assert issues(response) == {"name": "A client with this name exists already."}
    assert names(api) == ["Northwind", "Southwind"]


def test_changing_an_unknown_client_is_not_found(api: ApiClient) -> None:
    assert refusal(api.patch(f"/clients/{uuid4()}", {})) == NOT_FOUND


# -- disable ------------------------------------------------------------------------------------------------------


def test_disabling_keeps_the_client(api: ApiClient, path: str) -> None:
    for _ in range(2):
        response = api.delete(path)
        assert (response.status_code, response.data) == (204, b"")

    assert api.get(path).get_json()["is_active"] is False


def test_disabling_an_unknown_client_is_not_found(api: ApiClient) -> None:
    assert refusal(api.delete(f"/clients/{uuid4()}")) == NOT_FOUND


@pytest.mark.parametrize("method", ["patch", "delete"])
def test_changes_take_no_parameters_and_come_from_no_other_site(api: ApiClient, path: str, method: str) -> None:
    send = getattr(api, method)

    assert list(issues(send(f"{path}?force=1"))) == ["force"]
    assert send(path, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert api.get(path).get_json()["is_active"] is True
