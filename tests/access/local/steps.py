"""What local users do on the pages: signing in, and sending the profile page's forms."""

from __future__ import annotations

import re

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

NAME, PASSWORD = "Mira", "correct horse battery"


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
