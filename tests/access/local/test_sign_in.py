"""Signing in by password or link, and out, on the pages."""

from __future__ import annotations

import logging

import pytest
from flask import Flask
from flask.testing import FlaskClient

from chm_web.access.permissions import Role
from chm_web.access.sign_in import own_page
from chm_web.access.users import UserFile
from tests.access.local.steps import NAME, PASSWORD, is_signed_in, post, sign_in, token_of
from tests.http import client_of


@pytest.mark.parametrize(
    ("path", "target"),
    [("/", "/sign-in"), ("/clients", "/sign-in?next=/clients"), ("/?health=late", "/sign-in?next=/?health%3Dlate")],
)
def test_page_leads_to_sign_in_and_knows_the_way_back(browser: FlaskClient, path: str, target: str) -> None:
    response = browser.get(path)

    assert (response.status_code, response.location) == (303, target)


def test_right_password_leads_to_the_page_asked_for(browser: FlaskClient) -> None:
    response = sign_in(browser, next="/clients?x=1")

    assert (response.status_code, response.location) == (303, "/clients?x=1")
    assert is_signed_in(browser)


@pytest.mark.parametrize(("name", "password"), [(NAME, "wrong"), ("nobody", PASSWORD), ("", ""), (NAME, "")])
def test_wrong_name_and_wrong_password_are_told_alike(browser: FlaskClient, name: str, password: str) -> None:
    response = sign_in(browser, password, name)

    assert response.status_code == 422
    assert "The name or the password is wrong." in response.text
    assert f'value="{name}"' in response.text
    assert not password or f'"{password}"' not in response.text
    assert not is_signed_in(browser)


def test_form_without_its_token_signs_nobody_in(browser: FlaskClient) -> None:
    response = browser.post("/sign-in", data={"name": NAME, "password": PASSWORD})

    assert response.status_code == 400
    assert not is_signed_in(browser)


def test_sign_out_ends_the_session(browser: FlaskClient) -> None:
    sign_in(browser)

    assert post(browser, "/sign-out").location == "/sign-in"
    assert not is_signed_in(browser)


def test_whoever_is_signed_in_does_not_sign_in_again(browser: FlaskClient) -> None:
    sign_in(browser)

    assert browser.get("/sign-in?next=/clients").location == "/clients"


def test_part_of_a_page_sends_the_whole_page_to_sign_in(browser: FlaskClient) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": "http://localhost/clients?window=7d"}

    response = browser.get("/overview/health", headers=headers)

    assert response.status_code == 401
    assert response.headers["HX-Redirect"] == "/sign-in?next=/clients?window%3D7d"


@pytest.mark.parametrize("address", ["http://[", "", "nonsense", "http://localhost/\x00"])
def test_address_that_is_none_is_simply_not_come_back_to(browser: FlaskClient, address: str) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": address.replace("\x00", "%00")}

    assert browser.get("/", headers=headers).status_code == 401


OWN = ["/", "/clients", "/clients?x=1#y", "/pipelines/a%2Fb", "/api/v1/docs"]
FOREIGN = [
    None,
    "",
    "clients",
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "https://evil.example/",
    "javascript:alert(1)",
    "/\t/evil.example",
    "/\n",
    "/sign-out",
    "/api/v1/clients",
    "\\\\evil.example",
]


@pytest.mark.parametrize("target", OWN)
def test_page_of_our_own_may_follow(target: str) -> None:
    assert own_page(target) == target


@pytest.mark.parametrize("target", FOREIGN)
def test_nothing_else_may_follow(browser: FlaskClient, target: str | None) -> None:
    assert own_page(target) is None
    assert sign_in(browser, next=target or "").location == "/"


# -- links --------------------------------------------------------------------------------------------------------


def test_link_asks_first_and_signs_in_once(browser: FlaskClient, users: UserFile) -> None:
    path = f"/sign-in/link/{users.make_link(name=NAME)}"
    page = browser.get(path)
    assert page.status_code == 200
    assert not is_signed_in(browser)

    assert browser.post(path, data={"csrf_token": token_of(page)}).location == "/"

    assert is_signed_in(browser)
    assert browser.get(path).status_code == 404


# -- how often ----------------------------------------------------------------------------------------------------


def test_guessing_is_stopped_by_name_and_the_right_password_too(browser: FlaskClient) -> None:
    for _ in range(10):
        assert sign_in(browser, "wrong").status_code == 422

    response = sign_in(browser)

    assert response.status_code == 429
    assert "Too many attempts" in response.text
    assert int(response.headers["Retry-After"]) > 0


def test_guessing_names_is_stopped_by_address(browser: FlaskClient) -> None:
    answers = [sign_in(browser, "wrong", f"name{number}").status_code for number in range(51)]

    assert answers == [422] * 50 + [429]


# -- what the log says --------------------------------------------------------------------------------------------


def test_log_names_who_and_never_a_password(browser: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        sign_in(browser, "hunter2 hunter2")
        sign_in(browser)

    said = [(record.getMessage(), getattr(record, "user", None)) for record in caplog.records]
    assert ("password refused", NAME) in said
    assert ("signed in", NAME) in said
    assert "hunter2" not in str([vars(record) for record in caplog.records])
    assert PASSWORD not in str([vars(record) for record in caplog.records])


def test_log_tells_what_somebody_does_to_their_own_sessions(
    browser: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    new = "a new and long one"
    with caplog.at_level(logging.INFO):
        sign_in(browser)
        post(browser, "/profile/password", current=PASSWORD, new=new, again=new)
        post(browser, "/profile/sign-out-everywhere")
        sign_in(browser, new)
        post(browser, "/sign-out")

    said = [record.getMessage() for record in caplog.records if record.name == "chm.sign_in"]
    assert said == ["signed in", "signed in", "signed out"]
    changed = [vars(record) for record in caplog.records if record.name == "chm.audit"]
    assert [(each["called"], each["by"], *each["changes"]) for each in changed] == [
        (NAME, NAME, "password_hash"),
        (NAME, NAME, "sessions_from"),
    ]
    assert new not in str([vars(record) for record in caplog.records])


# -- what one may not ---------------------------------------------------------------------------------------------


def test_whoever_may_not_do_something_is_told_what_it_takes_and_who_they_are(app: Flask) -> None:
    browser = client_of(app, "vera", Role.VIEWER)

    page = browser.post("/ingestion/sync", data={"csrf_token": token_of(browser.get("/profile"))})

    assert page.status_code == 403
    assert "This takes the role operator or admin." in page.text
    assert "You are signed in as <strong>vera</strong> (viewer)." in page.text
