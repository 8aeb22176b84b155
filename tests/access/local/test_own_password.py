"""Changing one's own password on the profile page."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from chm_web.access.users import UserFile
from tests.access.local.steps import PASSWORD, is_signed_in, post, sign_in


def test_own_password_is_changed_and_other_sessions_end(app: Flask, browser: FlaskClient) -> None:
    other = app.test_client()
    sign_in(browser)
    sign_in(other)
    new = "a new and long one"

    response = post(browser, "/profile/password", current=PASSWORD, new=new, again=new)

    assert response.status_code == 303
    assert is_signed_in(browser)
    assert not is_signed_in(other)
    assert sign_in(app.test_client(), new).status_code == 303


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (
            {"current": "wrong", "new": "a new and long one", "again": "a new and long one"},
            "This is not your password.",
        ),
        ({"current": PASSWORD, "new": "a new and long one", "again": "another"}, "The two are not the same."),
        ({"current": PASSWORD, "new": "short", "again": "short"}, "Use at least 12 characters"),
    ],
)
def test_bad_change_of_password_is_told_beside_its_field(
    app: Flask, browser: FlaskClient, form: dict[str, str], said: str
) -> None:
    sign_in(browser)

    response = post(browser, "/profile/password", **form)

    assert response.status_code == 422
    assert said in response.text
    assert 'aria-invalid="true"' in response.text
    assert sign_in(app.test_client()).status_code == 303


def test_profile_says_how_short_a_password_may_be(browser: FlaskClient, users: UserFile) -> None:
    sign_in(browser)
    shortest = users.min_password_length

    assert f"New password, at least {shortest} characters" in browser.get("/profile").text
    changed = {"current": PASSWORD, "new": "x" * shortest, "again": "x" * shortest}
    assert post(browser, "/profile/password", **changed).status_code == 303
