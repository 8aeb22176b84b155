"""How a session begins, by what cookie it travels, and when it ends."""

from __future__ import annotations

import dataclasses
import time
from ipaddress import ip_network

import pytest
from flask import Flask
from flask.testing import FlaskClient

from chm_web import create_app
from chm_web.access import sessions
from chm_web.access.permissions import Role
from chm_web.access.users import UserFile
from chm_web.config import Config
from tests.access.local.steps import NAME, PASSWORD, is_signed_in, post, sign_in, token_of
from tests.http import PREFIX, client_of


def cookie(browser: FlaskClient, app: Flask) -> str:
    """The session's cookie."""
    found = browser.get_cookie(app.config["SESSION_COOKIE_NAME"])
    assert found is not None
    return found.value


def test_session_begins_anew_with_signing_in(browser: FlaskClient, app: Flask) -> None:
    with browser.session_transaction() as planted:
        planted["planted"] = "by somebody else"
    token = token_of(browser.get("/sign-in"))

    sign_in(browser)

    with browser.session_transaction() as session:
        assert "planted" not in session
    assert token_of(browser.get("/profile")) != token


def test_cookie_is_for_our_pages_alone(browser: FlaskClient) -> None:
    [header] = [value for value in sign_in(browser).headers.getlist("Set-Cookie") if value.startswith("chm_session")]

    assert "HttpOnly" in header
    assert "SameSite=Lax" in header
    assert "Secure" not in header


@pytest.mark.parametrize("how", ["behind TLS by configuration", "TLS", "told by a trusted proxy"])
def test_cookie_travels_by_tls_alone_where_there_is_tls(config: Config, how: str) -> None:
    proxies = (ip_network("127.0.0.1"),) if "proxy" in how else ()
    app = create_app(dataclasses.replace(config, behind_tls=how.startswith("behind"), trusted_proxies=proxies))
    base_url = "https://localhost" if how == "TLS" else None
    headers = {"X-Forwarded-Proto": "https"} if proxies else {}

    response = app.test_client().get("/sign-in", base_url=base_url, headers=headers)

    assert "Secure" in response.headers["Set-Cookie"]


def test_forwarded_scheme_of_anybody_else_is_not_believed(browser: FlaskClient) -> None:
    assert "Secure" not in browser.get("/sign-in", headers={"X-Forwarded-Proto": "https"}).headers["Set-Cookie"]


def test_damaged_cookie_is_no_session(browser: FlaskClient, app: Flask) -> None:
    sign_in(browser)
    browser.set_cookie(app.config["SESSION_COOKIE_NAME"], cookie(browser, app)[:-3] + "abc")

    assert not is_signed_in(browser)


def later(monkeypatch: pytest.MonkeyPatch, hours: float) -> None:
    """Let the clock of sessions go ahead."""
    monkeypatch.setattr(sessions, "now", lambda: time.time() + hours * 3600)


def test_session_ends_when_it_is_not_used(browser: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    sign_in(browser)
    later(monkeypatch, 7.9)
    assert is_signed_in(browser)
    later(monkeypatch, 15.8)
    assert is_signed_in(browser)
    later(monkeypatch, 23.9)

    assert not is_signed_in(browser)


def test_session_ends_a_day_after_it_began_however_much_it_is_used(
    browser: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(browser)
    for hours in (6, 12, 18, 23.9):
        later(monkeypatch, hours)
        assert is_signed_in(browser)
    later(monkeypatch, 24.1)

    assert not is_signed_in(browser)


def test_page_that_is_merely_open_does_not_keep_its_session(
    browser: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(browser)
    for hours in (4, 7):
        later(monkeypatch, hours)
        assert browser.get("/overview/health", headers={"X-CHM-Poll": "1"}).status_code == 200
    later(monkeypatch, 8.1)

    assert not is_signed_in(browser)


@pytest.mark.parametrize("what", ["password", "role", "removed", "signed out everywhere"])
def test_session_ends_when_its_user_changes(browser: FlaskClient, app: Flask, users: UserFile, what: str) -> None:
    sign_in(browser)
    if what == "password":
        users.set_password(name=NAME, password=PASSWORD + "!")
    elif what == "role":
        users.set_role(name=NAME, role=Role.ADMIN)
    elif what == "removed":
        users.remove(name=NAME)
    else:
        users.end_sessions(name=NAME)

    assert not is_signed_in(browser)
    assert browser.get(f"{PREFIX}/clients").status_code == 401


def test_signing_out_everywhere_ends_the_other_sessions_too(app: Flask, browser: FlaskClient) -> None:
    other = app.test_client()
    sign_in(browser)
    sign_in(other)

    post(browser, "/profile/sign-out-everywhere")

    assert not is_signed_in(browser)
    assert not is_signed_in(other)
    sign_in(browser)
    assert is_signed_in(browser)


def test_those_of_an_identity_provider_sign_out_everywhere_too(app: Flask, users: UserFile) -> None:
    one, other = client_of(app, "Mira"), client_of(app, "Mira")
    sign_in(app.test_client())

    post(one, "/profile/sign-out-everywhere")

    assert not is_signed_in(other)


def test_damaged_users_file_lets_nobody_in_and_says_so(browser: FlaskClient, users: UserFile) -> None:
    sign_in(browser)
    users.path.write_text("{")

    response = browser.get("/profile")

    assert response.status_code == 503
    assert str(users.path) not in response.text
