"""What an OIDC provider may answer wrongly, by mistake or on purpose: nobody is signed in, and a page says why."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from joserfc.jwk import OctKey

from chm_web.access import oidc
from tests.access.oidc_steps import CALLBACK, KEY, begin, come_back, go_through, is_signed_in
from tests.access.providers import CLIENT_ID, CLIENT_SECRET, StandIn, new_key
from tests.http import PREFIX, client_of

OTHER_KEY = new_key()


def test_right_answer_signs_in(browser: FlaskClient, provider: StandIn) -> None:
    response = go_through(browser, provider)

    assert (response.status_code, response.location) == (303, "/clients")
    assert is_signed_in(browser)


def test_provider_is_asked_with_pkce_and_sends_back_to_the_public_address(
    browser: FlaskClient, provider: StandIn
) -> None:
    asked = begin(browser, provider)
    come_back(browser, state=asked["state"])

    [changed] = [request.form for request in provider.asked if request.path == "/token"]
    digest = hashlib.sha256(changed["code_verifier"].encode()).digest()
    assert asked["code_challenge_method"] == "S256"
    assert asked["code_challenge"] == urlsafe_b64encode(digest).decode().rstrip("=")
    assert asked["scope"] == "openid profile email"
    assert asked["redirect_uri"] == changed["redirect_uri"] == f"https://localhost{CALLBACK}"


# -- tokens that cannot be believed -------------------------------------------------------------------------------


def signed_by_public_key(provider: StandIn) -> str:
    """A token as those make it who know the public key alone. By hand: no library of ours would sign so."""
    header = urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": KEY.kid}).encode()).decode().rstrip("=")
    signed = f"{header}.{provider.sign(KEY).split('.')[1]}"
    digest = hmac.digest(KEY.as_pem(private=False), signed.encode(), "sha256")
    return f"{signed}.{urlsafe_b64encode(digest).decode().rstrip('=')}"


SOON, LONG_AGO = time.time() + 7200, time.time() - 7200
TAMPERED: dict[str, Callable[[StandIn], Any]] = {
    "another nonce": lambda it: it.claims.update(nonce="another"),
    "no nonce": lambda it: setattr(it, "without", ("nonce",)),
    "another issuer": lambda it: it.claims.update(iss="https://evil.example"),
    "no issuer": lambda it: setattr(it, "without", ("iss",)),
    "for another app": lambda it: it.claims.update(aud="another"),
    "for another app, by way of us": lambda it: it.claims.update(aud=["another"], azp=CLIENT_ID),
    "for us among others, by way of another": lambda it: it.claims.update(aud=[CLIENT_ID, "another"], azp="another"),
    "expired": lambda it: it.claims.update(exp=LONG_AGO, iat=LONG_AGO - 300),
    "without an end": lambda it: setattr(it, "without", ("exp",)),
    "made in the future": lambda it: it.claims.update(iat=SOON),
    "of nobody": lambda it: setattr(it, "without", ("sub",)),
    "another access token": lambda it: it.claims.update(at_hash="AAAAAAAAAAAAAAAAAAAAAA"),
    "another key of the same name": lambda it: setattr(it, "published", [OTHER_KEY]),
    "a key that is not published": lambda it: setattr(it, "published", [new_key("second")]),
    "signed by the shared secret": lambda it: setattr(
        it, "id_token", it.sign(OctKey.import_key(CLIENT_SECRET), alg="HS256")
    ),
    "signed by the public key as a secret": lambda it: setattr(it, "id_token", signed_by_public_key(it)),
    "not signed": lambda it: setattr(it, "id_token", it.sign(KEY, alg="none")),
    "no token": lambda it: setattr(it, "id_token", ""),
    "a word": lambda it: setattr(it, "id_token", "word"),
    "three words": lambda it: setattr(it, "id_token", "a.b.c"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_token_that_cannot_be_believed_signs_nobody_in(browser: FlaskClient, provider: StandIn, what: str) -> None:
    asked = begin(browser, provider)
    TAMPERED[what](provider)

    response = come_back(browser, state=asked["state"])

    assert response.status_code == 400
    assert "What Tallowmere says of you could not be verified" in response.text
    assert not is_signed_in(browser)
    assert browser.get(f"{PREFIX}/clients").status_code == 401


def test_code_that_the_provider_does_not_take_signs_nobody_in(browser: FlaskClient, provider: StandIn) -> None:
    asked = begin(browser, provider)
    provider.faults["/token"] = (400, '{"error": "invalid_grant", "error_description": "hunter2"}')

    response = come_back(browser, state=asked["state"])

    assert response.status_code == 400
    assert "hunter2" not in response.text
    assert not is_signed_in(browser)


def test_user_information_of_somebody_else_gives_no_role(browser: FlaskClient, provider: StandIn) -> None:
    provider.without = ("roles",)
    provider.discovery = {"userinfo_endpoint": f"{provider.issuer}/userinfo"}
    provider.userinfo = {"sub": "4711", "roles": ["chm-admins"]}

    assert go_through(browser, provider).status_code == 400

    provider.userinfo["sub"] = "0815"
    assert go_through(browser, provider).status_code == 303


# -- the way back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["", "another", "ü", "x" * 5000])
def test_state_that_was_not_given_out_signs_nobody_in(browser: FlaskClient, provider: StandIn, state: str) -> None:
    begin(browser, provider)

    response = come_back(browser, state=state)

    assert response.status_code == 400
    assert "Begin anew" in response.text
    assert not is_signed_in(browser)
    assert [request.path for request in provider.asked] == ["/.well-known/openid-configuration"]


def test_state_of_another_browser_signs_nobody_in(browser: FlaskClient, provider: StandIn) -> None:
    foreign = begin(browser.application.test_client(), provider)
    begin(browser, provider)

    assert come_back(browser, state=foreign["state"]).status_code == 400


def test_state_is_good_for_one_answer_even_when_it_was_refused(browser: FlaskClient, provider: StandIn) -> None:
    asked = begin(browser, provider)
    provider.claims = {"nonce": "another"}
    come_back(browser, state=asked["state"])
    provider.claims = {}

    assert come_back(browser, state=asked["state"]).status_code == 400


def test_state_ends_after_half_an_hour(
    browser: FlaskClient, provider: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = begin(browser, provider)
    monkeypatch.setattr(oidc, "now", lambda: time.time() + 1801)

    assert come_back(browser, state=asked["state"]).status_code == 400


def test_several_tabs_sign_in_at_once(browser: FlaskClient, provider: StandIn) -> None:
    tabs = [begin(browser, provider) for _ in range(4)]
    provider.nonce = tabs[1]["nonce"]

    assert come_back(browser, state=tabs[0]["state"]).status_code == 400
    assert come_back(browser, state=tabs[1]["state"]).status_code == 303


def test_answer_of_another_provider_signs_nobody_in(browser: FlaskClient, provider: StandIn) -> None:
    asked = begin(browser, provider)

    assert come_back(browser, state=asked["state"], iss="https://evil.example").status_code == 400
    assert not is_signed_in(browser)


@pytest.mark.parametrize(("code", "shown"), [("access_denied", "access_denied"), ("<b>bold</b>", "unknown")])
def test_error_of_the_provider_is_told_by_its_code_alone(
    browser: FlaskClient, provider: StandIn, code: str, shown: str
) -> None:
    asked = begin(browser, provider)

    response = come_back(browser, state=asked["state"], error=code, error_description="call 0900 hunter2")

    assert response.status_code == 403
    assert f"it answered {shown}." in response.text
    assert "hunter2" not in response.text
    assert "bold" not in response.text


def test_coming_back_too_often_is_stopped_by_address(browser: FlaskClient, provider: StandIn) -> None:
    answers = [come_back(browser, state="guessed").status_code for _ in range(51)]
    asked = begin(browser, provider)

    response = come_back(browser, state=asked["state"])

    assert answers == [400] * 50 + [429]
    assert response.status_code == 429
    assert int(response.headers["Retry-After"]) > 0


def test_session_begins_anew(browser: FlaskClient, provider: StandIn) -> None:
    with browser.session_transaction() as planted:
        planted["planted"] = "by somebody else"

    go_through(browser, provider)

    with browser.session_transaction() as session:
        assert "planted" not in session
        assert "oidc" not in session


def test_whoever_is_signed_in_does_not_go_to_the_provider(browser: FlaskClient) -> None:
    person = client_of(browser.application)

    assert person.get("/sign-in/oidc?next=/clients").location == "/clients"


@pytest.mark.parametrize("target", ["https://evil.example", "//evil.example", "/\\evil.example", "/" + "x" * 600])
def test_only_a_short_address_of_a_page_of_ours_follows(browser: FlaskClient, provider: StandIn, target: str) -> None:
    location = browser.get("/sign-in/oidc", query_string={"next": target}).location
    asked = parse_qs(urlsplit(location).query)
    provider.nonce = asked["nonce"][0]

    assert come_back(browser, state=asked["state"][0]).location == "/"


@pytest.mark.parametrize("path", ["/sign-in/oidc", CALLBACK])
def test_without_a_provider_there_is_no_such_page(app: Flask, path: str) -> None:
    assert app.test_client().get(path).status_code == 404


# -- what the log says --------------------------------------------------------------------------------------------


def test_log_of_a_refusal_says_what_was_wrong_and_no_secret(
    browser: FlaskClient, provider: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    asked = begin(browser, provider)
    provider.claims = {"nonce": "another"}
    with caplog.at_level(logging.DEBUG):
        come_back(browser, state=asked["state"])

    lines = [record.getMessage() for record in caplog.records if record.name == "chm.sign_in"]
    assert lines == ["sign-in at the provider refused: InvalidClaimError nonce"]
    said = str([vars(record) for record in caplog.records if record.name != "werkzeug"])
    for secret in ("a-code-of-the-provider", CLIENT_SECRET, asked["state"], asked["nonce"], "eyJ"):
        assert secret not in said
