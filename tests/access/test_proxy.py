"""Signing in by the headers of a proxy: from the proxy alone, with its secret, at every request anew."""

from __future__ import annotations

import dataclasses
import logging
import re
from ipaddress import ip_network
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from chm_web import create_app
from chm_web.access.permissions import Role
from chm_web.config import Config, ConfigError, ProxySignInSettings
from tests.http import PREFIX, client_of

SECRET = "shared-with-the-proxy-and-nobody-else"
PROXY, OTHER = "10.0.0.5", "10.0.0.6"
BY_GROUPS = {"role_header": "X-Forwarded-Groups", "roles": "admin=chm-admins, operator=chm-ops"}


def app_behind_proxy(config: Config, **settings: Any) -> Flask:
    """The app, which believes the proxy."""
    proxy = ProxySignInSettings(user_header="X-Forwarded-User", secret=SECRET, **settings)
    return create_app(dataclasses.replace(config, trusted_proxies=(ip_network(PROXY),), proxy_sign_in=proxy))


def through(app: Flask, *, peer: str = PROXY, secret: str | None = SECRET, **headers: str) -> FlaskClient:
    """A browser whose requests come from ``peer`` with these headers."""
    client = app.test_client()
    client.environ_base["REMOTE_ADDR"] = peer
    if secret is not None:
        headers["X_CHM_Proxy_Secret"] = secret
    client.environ_base.update({f"HTTP_{name.upper()}": value for name, value in headers.items()})
    return client


@pytest.fixture
def proxied(app: Flask, config: Config) -> Flask:
    """The app behind a proxy whose people are all viewers."""
    return app_behind_proxy(config)


def token_of(page: TestResponse) -> str:
    """The CSRF token of a page."""
    found = re.search(r'name="csrf-token" content="([^"]+)"', page.text)
    assert found, page.text
    return found[1]


def is_known(client: FlaskClient) -> bool:
    """Whether the requests of ``client`` are somebody's."""
    return client.get("/profile").status_code == 200


def test_person_whom_the_proxy_names_sees_the_pages_without_signing_in(proxied: Flask) -> None:
    page = through(proxied, X_Forwarded_User="mira").get("/profile")

    assert page.status_code == 200
    assert "<dd>mira</dd>" in page.text
    assert "<dd>viewer</dd>" in page.text
    assert "by the proxy before CHM" in page.text


SPOOFED: dict[str, dict[str, Any]] = {
    "another peer": {"peer": OTHER},
    "no secret": {"secret": None},
    "an empty secret": {"secret": ""},
    "a wrong secret": {"secret": "x" * len(SECRET)},
    "half the secret": {"secret": SECRET[:20]},
    "a secret that is no plain text": {"secret": "ü" * 40},
}


@pytest.mark.parametrize("how", SPOOFED)
def test_header_that_is_not_the_proxys_is_as_if_it_were_not_there(proxied: Flask, how: str) -> None:
    client = through(proxied, X_Forwarded_User="mira", **SPOOFED[how])

    assert client.get("/profile").location == "/sign-in?next=/profile"
    assert client.get(f"{PREFIX}/clients").status_code == 401


@pytest.mark.parametrize("forwarded", [PROXY, f"1.2.3.4, {PROXY}"])
def test_forwarded_address_of_the_proxy_makes_nobody_the_proxy(proxied: Flask, forwarded: str) -> None:
    assert not is_known(through(proxied, peer=OTHER, X_Forwarded_User="mira", X_Forwarded_For=forwarded))


@pytest.mark.parametrize("name", ["", " ", "mira,admin", "mira, mira", "x" * 101])
def test_name_that_cannot_be_one_is_nobody(proxied: Flask, name: str) -> None:
    assert not is_known(through(proxied, X_Forwarded_User=name))


def test_name_of_other_letters_is_read_as_the_proxy_sends_it(proxied: Flask) -> None:
    client = through(proxied, X_Forwarded_User="Zoë".encode().decode("latin-1"))

    assert "<dd>Zoë</dd>" in client.get("/profile").text


def test_headers_mean_nothing_where_no_proxy_signs_people_in(app: Flask, config: Config) -> None:
    trusting = create_app(dataclasses.replace(config, trusted_proxies=(ip_network(PROXY),)))

    assert not is_known(through(trusting, X_Forwarded_User="mira"))


def test_spoofing_is_logged_once_in_a_while_without_what_was_sent(
    proxied: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    client = through(proxied, secret="guessed-by-somebody", X_Forwarded_User="mira")
    with caplog.at_level(logging.INFO):
        for _ in range(5):
            client.get("/profile")

    said = [record.getMessage() for record in caplog.records if record.name == "chm.sign_in"]
    assert said == ["headers of proxy sign-in ignored: X-CHM-Proxy-Secret is missing or wrong"]
    assert "guessed-by-somebody" not in str([vars(record) for record in caplog.records])


# -- roles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", Role)
def test_fixed_role_is_everybodys(app: Flask, config: Config, role: Role) -> None:
    client = through(app_behind_proxy(config, role=role.value), X_Forwarded_User="mira")

    assert f"<dd>{role}</dd>" in client.get("/profile").text


@pytest.mark.parametrize(
    ("groups", "role"), [("chm-ops", "operator"), ("others, chm-ops,chm-admins", "admin"), ("chm-ops ", "operator")]
)
def test_groups_give_the_greatest_role(app: Flask, config: Config, groups: str, role: str) -> None:
    client = through(app_behind_proxy(config, **BY_GROUPS), X_Forwarded_User="mira", X_Forwarded_Groups=groups)

    assert f"<dd>{role}</dd>" in client.get("/profile").text


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        ("cn=staff,ou=it; cn=ops,ou=it", "admin"),
        ("cn=staff,ou=it", "viewer"),
        # Two headers, which servers join by a comma: what stands on either side of it is no name.
        ("cn=staff,ou=it,cn=ops,ou=it", "viewer"),
    ],
)
def test_names_that_hold_commas_are_separated_by_semicolons(app: Flask, config: Config, groups: str, role: str) -> None:
    by_names = {**BY_GROUPS, "role_separator": ";", "roles": "admin=cn=ops,ou=it; viewer=*"}
    client = through(app_behind_proxy(config, **by_names), X_Forwarded_User="mira", X_Forwarded_Groups=groups)

    assert f"<dd>{role}</dd>" in client.get("/profile").text


@pytest.mark.parametrize("headers", [{}, {"X_Forwarded_Groups": "others"}, {"X_Forwarded_Groups": "*"}])
def test_person_without_a_role_is_told_so(app: Flask, config: Config, headers: dict[str, str]) -> None:
    client = through(app_behind_proxy(config, **BY_GROUPS), X_Forwarded_User="mira", **headers)

    response = client.get("/profile")

    assert response.status_code == 403
    assert "nothing that is said of you gives you a role in CHM" in response.text
    assert client.get(f"{PREFIX}/clients").status_code == 401


def test_role_counts_from_the_next_request(app: Flask, config: Config) -> None:
    client = through(app_behind_proxy(config, **BY_GROUPS), X_Forwarded_User="mira", X_Forwarded_Groups="chm-admins")
    assert client.post("/ingestion/sync").status_code == 400  # let in, but without a CSRF token
    client.environ_base["HTTP_X_FORWARDED_GROUPS"] = "others"

    assert client.get("/profile").status_code == 403


def test_cookie_of_a_person_is_worth_nothing_without_the_proxy(proxied: Flask) -> None:
    client = through(proxied, X_Forwarded_User="mira")
    assert is_known(client)
    del client.environ_base["HTTP_X_FORWARDED_USER"]

    assert not is_known(client)


def test_whom_the_proxy_names_counts_before_a_session(proxied: Flask) -> None:
    client = client_of(proxied, "somebody", Role.ADMIN)
    client.environ_base.update(through(proxied, X_Forwarded_User="mira").environ_base)

    assert "<dd>mira</dd>" in client.get("/profile").text


def test_person_whom_the_proxy_names_reads_the_documents_of_the_api(proxied: Flask) -> None:
    client = through(proxied, X_Forwarded_User="mira")

    assert [client.get(f"{PREFIX}/{path}").status_code for path in ("docs", "openapi.json")] == [200, 200]


# -- forms and the API --------------------------------------------------------------------------------------------


def test_form_takes_the_csrf_token(app: Flask, config: Config) -> None:
    client = through(app_behind_proxy(config, role="operator"), X_Forwarded_User="mira")
    token = token_of(client.get("/"))

    assert client.post("/ingestion/sync").status_code == 400
    assert client.post("/ingestion/sync", data={"csrf_token": token}).status_code != 400


@pytest.mark.parametrize("name", ["mira", "token:write", "cli:root"])
def test_api_takes_the_csrf_token_and_signs_with_the_name(committed_app: Flask, config: Config, name: str) -> None:
    client = through(app_behind_proxy(config, role="admin"), X_Forwarded_User=name)
    token = token_of(client.get("/"))
    assert client.post(f"{PREFIX}/clients", json={"name": "a"}).status_code == 400

    response = client.post(f"{PREFIX}/clients", json={"name": "a"}, headers={"X-CSRFToken": token})

    assert (response.status_code, response.get_json()["updated_by"]) == (201, f"proxy:{name}")


def test_profile_offers_nothing_that_the_proxy_alone_can_do(proxied: Flask) -> None:
    page = through(proxied, X_Forwarded_User="mira").get("/profile").text

    assert "sign out there" in page
    assert "/sign-out" not in page
    assert "/profile/password" not in page


@pytest.mark.parametrize("path", ["/sign-out", "/profile/sign-out-everywhere"])
def test_session_that_is_not_ours_cannot_be_ended_here(proxied: Flask, path: str) -> None:
    client = through(proxied, X_Forwarded_User="mira")

    response = client.post(path, data={"csrf_token": token_of(client.get("/profile"))})

    assert response.status_code == 409
    assert "Sign out there." in response.text


def test_sign_in_page_leads_on_whom_the_proxy_names(proxied: Flask) -> None:
    assert through(proxied, X_Forwarded_User="mira").get("/sign-in?next=/clients").location == "/clients"


def test_role_that_there_is_not_is_refused_by_the_app(app: Flask, config: Config) -> None:
    with pytest.raises(ConfigError, match=r"CHM_PROXY_AUTH_ROLE must be one of viewer, operator, admin"):
        app_behind_proxy(config, role="owner")
