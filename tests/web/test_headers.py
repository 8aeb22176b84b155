"""What every response carries."""

from __future__ import annotations

import dataclasses
import re

import pytest
from flask.testing import FlaskClient

from chm_web import create_app
from chm_web.config import Config
from chm_web.web.headers import SECURITY_HEADERS

PATHS = ["/", "/clients", "/no/such/page", "/static/css/chm.css", "/api/v1/nothing", "/api/v1/docs"]


@pytest.mark.parametrize("path", PATHS)
def test_every_response_carries_the_security_headers(client: FlaskClient, path: str) -> None:
    headers = client.get(path).headers

    assert {name: headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS


@pytest.mark.parametrize("path", PATHS)
def test_behind_tls_browsers_are_told_to_come_by_tls(config: Config, path: str) -> None:
    browser = create_app(dataclasses.replace(config, behind_tls=True)).test_client()

    assert browser.get(path).headers["Strict-Transport-Security"] == "max-age=31536000"


def test_without_tls_browsers_may_come_as_they_like(client: FlaskClient) -> None:
    assert "Strict-Transport-Security" not in client.get("/").headers


def test_pages_are_not_stored_and_vary_with_htmx(client: FlaskClient) -> None:
    headers = client.get("/").headers

    assert headers["Cache-Control"] == "no-store"
    assert "HX-Request" in headers["Vary"]


def test_static_files_of_a_page_are_kept_for_a_year(client: FlaskClient) -> None:
    found = re.search(r'href="(/static/css/chm\.css\?v=[0-9a-f]+)"', client.get("/").text)
    assert found

    response = client.get(found.group(1))

    assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"


def test_static_file_without_a_version_is_asked_for_again(client: FlaskClient) -> None:
    assert client.get("/static/css/chm.css").headers["Cache-Control"] == "no-cache"


def test_page_has_no_inline_script_or_style(client: FlaskClient) -> None:
    page = client.get("/").text

    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|hx-on", page)


def test_htmx_request_gets_the_content_alone(client: FlaskClient) -> None:
    page = client.get("/clients", headers={"HX-Request": "true"}).text

    assert "<html" not in page
    assert "<h1>Clients</h1>" in page


@pytest.mark.parametrize("header", ["HX-Boosted", "HX-History-Restore-Request"])
def test_boosted_and_restored_pages_are_whole(client: FlaskClient, header: str) -> None:
    assert "<html" in client.get("/clients", headers={"HX-Request": "true", header: "true"}).text


def test_unknown_page_says_what_to_do(client: FlaskClient) -> None:
    response = client.get("/no/such/page")

    assert response.status_code == 404
    assert "Go to the overview" in response.text
    assert response.headers["X-Request-ID"] in response.text


@pytest.mark.parametrize("path", ["/", "/static/css/chm.css", "/ping/key", "/api/v1/clients"])
@pytest.mark.parametrize("host", [".", "a" * 64, f"{'9' * 64}.example:80", "a..b"])
def test_host_that_can_be_none_is_refused_in_words(client: FlaskClient, path: str, host: str) -> None:
    response = client.get(path, headers={"Host": host})

    assert response.status_code == 400
    assert "CHM does not answer under this host name." in response.text
    assert {name: response.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS
