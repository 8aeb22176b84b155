"""Signing in and out on the pages, and how long a session lasts."""

from __future__ import annotations

import dataclasses
import logging
import re
import time
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from chm_web import create_app
from chm_web.access import sessions
from chm_web.access.permissions import Role
from chm_web.access.sign_in import own_page, prepare_first_start
from chm_web.access.users import UserFile
from chm_web.config import Config, OidcSettings, ProxySignInSettings
from tests.http import PREFIX, client_of

NAME, PASSWORD = "Mira", "correct horse battery"


@pytest.fixture
def users(app: Flask) -> Iterator[UserFile]:
    """The app's users: one operator."""
    file: UserFile = app.extensions["chm_users"]
    file.add(name=NAME, role=Role.OPERATOR, password=PASSWORD)
    yield file
    file.path.unlink()


@pytest.fixture
def browser(app: Flask, users: UserFile) -> FlaskClient:
    """A browser in which nobody is signed in."""
    return app.test_client()


def token_of(page: TestResponse) -> str:
    """The CSRF token of a page's forms."""
    found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert found, page.text
    return found[1]


def sign_in(browser: FlaskClient, password: str = PASSWORD, name: str = NAME, **more: str) -> TestResponse:
    """Fill the form in and send it."""
    form = {"csrf_token": token_of(browser.get("/sign-in")), "name": name, "password": password, **more}
    return browser.post("/sign-in", data=form)


def post(browser: FlaskClient, path: str, **form: str) -> TestResponse:
    """Send a form of the profile page."""
    return browser.post(path, data={"csrf_token": token_of(browser.get("/profile")), **form})


def is_signed_in(browser: FlaskClient) -> bool:
    """Whether the browser may see a page."""
    return browser.get("/profile").status_code == 200


# -- in and out ---------------------------------------------------------------------------------------------------


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


# -- sessions -----------------------------------------------------------------------------------------------------


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


# -- one's own password -------------------------------------------------------------------------------------------


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
    assert said == ["signed in", "password changed", "signed out everywhere", "signed in", "signed out"]
    assert new not in str([vars(record) for record in caplog.records])


BY_PROVIDER = {"oidc": OidcSettings(issuer="https://id.example", client_id="chm", roles="viewer=*")}
BY_PROXY = {"proxy_sign_in": ProxySignInSettings(user_header="X-Forwarded-User", secret="s" * 32)}


@pytest.mark.parametrize("elsewhere", [BY_PROVIDER, BY_PROXY])
def test_where_people_sign_in_elsewhere_the_first_start_makes_nobody(
    tmp_path: Path, config: Config, capsys: pytest.CaptureFixture[str], elsewhere: dict[str, Any]
) -> None:
    fresh = dataclasses.replace(config, users_file=tmp_path / "users.json", **elsewhere)
    prepare_first_start(fresh)

    assert capsys.readouterr().err == ""
    assert UserFile(fresh.users_file).list() == []


def test_without_users_the_first_start_makes_an_admin(
    tmp_path: Path, config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh = dataclasses.replace(config, users_file=tmp_path / "users.json")
    prepare_first_start(fresh)
    prepare_first_start(fresh)

    said = capsys.readouterr().err
    found = re.findall(r"sign in as admin with the password (\S+)", said)
    assert len(found) == 1
    assert UserFile(fresh.users_file).check_password(name="admin", password=found[0]) is not None


def test_profile_says_how_short_a_password_may_be(browser: FlaskClient, users: UserFile) -> None:
    sign_in(browser)
    shortest = users.min_password_length

    assert f"New password, at least {shortest} characters" in browser.get("/profile").text
    changed = {"current": PASSWORD, "new": "x" * shortest, "again": "x" * shortest}
    assert post(browser, "/profile/password", **changed).status_code == 303


def test_whoever_may_not_do_something_is_told_what_it_takes_and_who_they_are(app: Flask) -> None:
    browser = client_of(app, "vera", Role.VIEWER)

    page = browser.post("/ingestion/sync", data={"csrf_token": token_of(browser.get("/profile"))})

    assert page.status_code == 403
    assert "This takes the role operator or admin." in page.text
    assert "You are signed in as <strong>vera</strong> (viewer)." in page.text
