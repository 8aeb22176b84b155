"""What comes back from an OIDC provider's site, with values that no provider sends: nobody gets in, nothing fails."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from werkzeug.datastructures import Headers
from werkzeug.test import TestResponse

from tests.access.conftest import browser, provider, stand_in
from tests.access.oidc_steps import CALLBACK, begin, come_back, is_signed_in
from tests.access.providers import CLIENT_SECRET, StandIn
from tests.fuzz.answers import Answer, problems_of
from tests.fuzz.sending import urlencoded
from tests.fuzz.values import HOSTILE

__all__ = ["browser", "provider", "stand_in"]

pytestmark = pytest.mark.slow

ADDRESSES = [f"192.0.2.{number}" for number in range(250)]


def arrive(browser: FlaskClient, address: str) -> None:
    """Come from another address, as nobody yet."""
    browser.environ_base["REMOTE_ADDR"] = address
    browser.delete_cookie(browser.application.config["SESSION_COOKIE_NAME"])


def problems_with(response: TestResponse) -> list[str]:
    """What is wrong with an answer."""
    answer = Answer(response.status_code, Headers(response.headers), response.get_data())
    return problems_of(answer, secrets=[CLIENT_SECRET])


@pytest.mark.parametrize("name", ["state", "code", "error", "error_description", "iss", "of no meaning"])
def test_nothing_that_comes_back_makes_it_fail(browser: FlaskClient, provider: StandIn, name: str) -> None:
    for value, address in zip(HOSTILE, ADDRESSES, strict=False):
        arrive(browser, address)
        # Beside what is wrong, all that signing in takes, but for the code: that is the provider's to judge.
        right = {"state": begin(browser, provider)["state"], "code": "a-code-of-the-provider"}
        pairs = {**{key: text.encode() for key, text in right.items()}, name: value}
        query = urlencoded(tuple((key.encode(), sent) for key, sent in pairs.items()))
        response = browser.get(CALLBACK, query_string=query)

        assert not problems_with(response), value
        if name == "state":
            assert not is_signed_in(browser)


def test_no_page_asked_for_leads_elsewhere_in_the_end(browser: FlaskClient, provider: StandIn) -> None:
    for value, address in zip(HOSTILE, ADDRESSES, strict=False):
        arrive(browser, address)
        start = browser.get("/sign-in/oidc", query_string=urlencoded(((b"next", value),)))
        assert start.location.startswith(provider.issuer), value
        asked = dict(pair.split("=", 1) for pair in start.location.partition("?")[2].split("&"))
        provider.nonce = asked["nonce"]
        response = come_back(browser, state=asked["state"])

        assert response.status_code == 303
        assert not problems_with(response), value
