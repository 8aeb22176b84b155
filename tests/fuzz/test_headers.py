"""Every header that the app reads, on pages and the API behind gunicorn, with values that no client should send.

Which headers those are is seen by watching the app read them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask import Flask
from hypothesis import strategies as st
from itsdangerous import URLSafeTimedSerializer

from chm_web.access.permissions import Role, Scope
from chm_web.config import Config
from tests.fuzz.answers import problems_of
from tests.fuzz.conftest import make_scene, users_of_each_role
from tests.fuzz.search import EXAMPLES, search
from tests.fuzz.sending import PASSWORD, fingerprint, visit
from tests.fuzz.values import ELSEWHERE, HOSTILE, INJECTED
from tests.fuzz.wire import Lines, Request, exchange, headers_read
from tests.http import PREFIX
from tests.processes import environ_of
from tests.web_server import running_gunicorn

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

PROXY_SECRET = "planted-secret-shared-with-the-proxy"
# What stands before the app reads these, whatever the app itself does; the last two gunicorn would take from a peer of
# this machine as its proxy's word.
ALWAYS = ("Transfer-Encoding", "Expect", "Upgrade", "Trailer", "Te", "X-Forwarded-Host", "SCRIPT_NAME", "PATH_INFO")
ALSO = (
    "Accept-Language",
    "Accept-Encoding",
    "Origin",
    "Traceparent",
    "X-Http-Method-Override",
    "Forwarded",
    "X-Real-Ip",
)

ALONE = {"Host", "Content-Length", "Transfer-Encoding", "Authorization", "Content-Type"}

LONG = 1_500
VALUES = tuple(value[:LONG] for value in HOSTILE)
SPECIAL: dict[str, tuple[bytes, ...]] = {
    "Host": (
        b"",
        ELSEWHERE.encode(),
        b"localhost:99999",
        b"localhost:x",
        b"[::1",
        b"[::1]:",
        b"xn--",
        b"a" * 300,
        b".",
    ),
    "X-Forwarded-For": (b"::ffff:127.0.0.1", b"1.2.3.4, , ::1%eth0", b"127.0.0.1," * 700, b"256.1.1.1", b"1.2.3.4:80"),
    "SCRIPT_NAME": (b"/elsewhere", b"/api", b"/"),
    "PATH_INFO": (b"/elsewhere", b"/api/v1/clients", b""),
    "X-Forwarded-Proto": (b"https", b"HTTPS", b"javascript", b"https, http"),
    "X-Forwarded-Host": (ELSEWHERE.encode(), b"localhost@" + ELSEWHERE.encode()),
    "Authorization": (
        b"Bearer",
        b"Bearer ",
        b"bearer  x",
        b"Basic Og==",
        b"Basic %",
        b"Digest a=b",
        b"Bearer " + b"x" * 7_000,
    ),
    "If-Match": (b"*", b'""', b'W/"a"', b'"a", "b', b'"' * 2_000, b","),
    "If-None-Match": (b"*", b'""', b'W/"a"', b'"a", "b', b'"' * 2_000, b","),
    "If-Modified-Since": (b"Sat, 31 Dec 99999 25:61:61 GMT", b"Thu, 01 Jan 1970 00:00:00 GMT", b"0"),
    "Range": (
        b"bytes=0-",
        b"bytes=-1",
        b"bytes=9-1",
        b"bytes=0-0,2-3",
        b"bytes=" + b"9" * 5_000 + b"-",
        b"lines=1-2",
        b"bytes=-",
    ),
    "Content-Length": (b"-1", b"+5", b"1e3", b"99999999999", b"5, 5", b"0x5", b""),
    "Transfer-Encoding": (b"chunked", b"gzip, chunked", b"chunked, chunked", b"identity", b"xchunked", b"\x0bchunked"),
    "Content-Encoding": (b"gzip", b"zstd", b"br", b"deflate", b"gzip, gzip"),
    "Content-Type": (
        b"application/json; charset=utf-16",
        b"application/json; charset=no-such",
        b"multipart/form-data",
        b"multipart/form-data; boundary=" + b"x" * 300,
        b'multipart/form-data; boundary="',
        b"application/x-www-form-urlencoded; charset=utf-7",
        b"text/html; charset=",
        b"application/x-ndjson",
    ),
    "Accept": (b"*/*;q=" + b"9" * 400, b"text/html;q=nan", b"a/b;" * 1_000, b"application/openmetrics-text; version=x"),
    "Accept-Encoding": (b"identity;q=0", b"br;q=1e9", b"*;q=0"),
    "Hx-Current-Url": (f"http://{ELSEWHERE}/x?y=z".encode(), b"http://[::1", f"//{ELSEWHERE}".encode()),
    "Cookie": (b"=", b"a", b";;;", b'chm="', b"a=b;" * 1_500, b"session=1", b"\xff=\xfe"),
    "Sec-Fetch-Site": (b"cross-site", b"same-site", b"none"),
    "Expect": (b"100-continue", b"200-ok"),
    "X-Request-Id": (b"short", b"a" * 65, b"abcdefgh\xff", f"abcdefgh{INJECTED}".encode()),
    "X-Forwarded-User": (b"mira", b"mira, admin", b"token:write", "Zoë".encode(), b"a" * 101),
    "X-Forwarded-Groups": (b"admins", b"admins, viewers", b"*"),
    "X-Chm-Proxy-Secret": (PROXY_SECRET[:9].encode(), PROXY_SECRET.encode() + b"x"),
}


@dataclass(frozen=True)
class Visitor:
    """Somebody who asks, with the headers that say who. ``may_change``: whether their requests may change rows."""

    name: str
    headers: Lines
    may_change: bool = False


@dataclass(frozen=True)
class Server:
    """The app behind gunicorn.

    ``visitors``: who may come. ``requests``: some of each kind. ``read``: the headers that the app reads for them.
    ``names``: those that are sent. ``secrets``: what no answer may hold.
    """

    port: int
    log: Path
    visitors: tuple[Visitor, ...]
    requests: tuple[Request, ...]
    read: frozenset[str]
    names: tuple[str, ...]
    secrets: tuple[str, ...]

    def judge(self, visitor: Visitor, request: Request, headers: Lines) -> None:
        """Send a request of somebody's with other headers, and fail where the answer is what none may be."""
        asked = Request(request.method, request.target, (*visitor.headers, *request.headers), request.body)
        asked = asked.altered(headers)
        answer = exchange(self.port, asked)
        if answer is None:
            return
        problems = problems_of(answer, secrets=self.secrets)
        # What gunicorn itself refuses, such as an encoding that it does not know, none of our code has seen.
        by_app = "X-Request-ID" in answer.headers
        if not by_app and (400 <= answer.status < 500 or answer.status == 501):
            problems = [problem for problem in problems if problem.startswith("it tells")]
        assert not problems, f"{visitor.name}: {asked}: {answer.status}: {problems}"


@pytest.fixture
def server(committed_app: Flask, config: Config, tokens: dict[Scope, str], tmp_path: Path) -> Iterator[Server]:
    """The app behind gunicorn, to which this machine is a proxy that it trusts, and which signs people in."""
    environ = environ_of(
        config,
        CHM_USERS_FILE=str(config.users_file),
        CHM_TOKENS_FILE=str(config.tokens_file),
        CHM_TRUSTED_PROXIES="127.0.0.1",
        CHM_PROXY_AUTH_USER_HEADER="X-Forwarded-User",
        CHM_PROXY_AUTH_SECRET=PROXY_SECRET,
        CHM_PROXY_AUTH_ROLE_HEADER="X-Forwarded-Groups",
        CHM_PROXY_AUTH_ROLES="admin=admins, viewer=*",
        CHM_API_RATE_LIMIT_PER_MINUTE="0",
    )
    log = tmp_path / "gunicorn.log"
    with users_of_each_role(committed_app), running_gunicorn(environ, log) as (port, _):
        pipeline_id, client_id, *_ = make_scene()
        requests = requests_of_each_kind(str(pipeline_id), str(client_id))
        visitors = visitors_of_each_kind(committed_app, config, tokens)
        asked = [
            Request(one.method, one.target, (*visitor.headers, *one.headers), one.body)
            for one in requests
            for visitor in visitors
            if visitor.name != "broken session"
        ]
        read = headers_read(committed_app, asked)
        secrets = (*config.secrets(), PROXY_SECRET, PASSWORD, *tokens.values())
        yield Server(
            port=port,
            log=log,
            visitors=visitors,
            requests=requests,
            read=frozenset(read),
            names=tuple(sorted(read | {*ALWAYS, *ALSO, *SPECIAL})),
            secrets=tuple(secret for secret in secrets if secret),
        )


def requests_of_each_kind(pipeline_id: str, client_id: str) -> tuple[Request, ...]:
    """Requests to pages, their parts, files and forms, and to the API."""
    gets = (
        "/",
        "/clients?q=a",
        f"/pipelines/{pipeline_id}",
        "/overview/health",
        "/runs.csv",
        "/sign-in",
        "/no/such/page",
    )
    others = ("/static/css/chm.css", "/healthz", "/metrics", "/ping/no-key", "/sign-in?next=/clients")
    of_api = ("/runs?limit=2", f"/clients/{client_id}", "/openapi.json", "/docs", "/nothing")
    form = ((b"Content-Type", b"application/x-www-form-urlencoded"),)
    json = ((b"Content-Type", b"application/json"),)
    packed = zlib.compress(b"[]", wbits=31)
    return (
        *(Request("GET", path) for path in (*gets, *others)),
        *(Request("GET", PREFIX + path) for path in of_api),
        Request("GET", "/", ((b"HX-Request", b"true"), (b"HX-Current-URL", b"http://localhost/clients?q=a"))),
        Request("HEAD", "/clients"),
        Request("OPTIONS", f"{PREFIX}/clients"),
        Request("POST", "/sign-in", form, b"name=viewer&password=wrong&next=/clients"),
        Request("POST", "/clients/new", form, b"name=made+by+the+fuzzer"),
        Request("POST", f"{PREFIX}/clients", json, b'{"name": "made by the fuzzer"}'),
        Request("PATCH", f"{PREFIX}/clients/{client_id}", ((b"If-Match", b'"1"'), *json), b'{"name": "changed"}'),
        Request("POST", f"{PREFIX}/lineage/batch", json, b"[]"),
        Request("POST", f"{PREFIX}/lineage/batch", ((b"Content-Encoding", b"gzip"), *json), packed),
    )


def visitors_of_each_kind(app: Flask, config: Config, tokens: dict[Scope, str]) -> tuple[Visitor, ...]:
    """Nobody, people by their session or by the proxy, services by token, and some whose session is broken."""
    viewer, admin = (visit(app, role) for role in (Role.VIEWER, Role.ADMIN))
    name, _, value = viewer.cookie.partition("=")
    # As Flask signs sessions, but not with the key.
    forged = URLSafeTimedSerializer("another key", salt="cookie-session").dumps({"_user_id": "local:admin"})
    by_proxy = ((b"X-Forwarded-User", b"mira"), (b"X-CHM-Proxy-Secret", PROXY_SECRET.encode()))
    broken = (value[:-5], value[5:], f"{value}x", value.replace(".", ""), value.upper(), forged, ".", "")
    return (
        Visitor("nobody", ()),
        Visitor("viewer", ((b"Cookie", viewer.cookie.encode()), (b"X-CSRFToken", viewer.csrf_token.encode()))),
        Visitor(
            "admin", ((b"Cookie", admin.cookie.encode()), (b"X-CSRFToken", admin.csrf_token.encode())), may_change=True
        ),
        Visitor("by the proxy", by_proxy),
        Visitor("token", ((b"Authorization", f"Bearer {tokens[Scope.READ]}".encode()),)),
        *(Visitor("broken session", ((b"Cookie", f"{name}={one}".encode()),)) for one in broken),
    )


def batched(names: list[str], size: int) -> Iterator[tuple[str, ...]]:
    """The names in groups of at most ``size``."""
    return (tuple(names[first : first + size]) for first in range(0, len(names), size))


def values_of(name: str) -> tuple[bytes, ...]:
    """What is sent in a header."""
    return (*VALUES, *SPECIAL.get(name, ()))


@st.composite
def several(draw: st.DrawFn, names: tuple[str, ...]) -> Lines:
    """One to three headers with any values, of which the same may come twice."""
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3))
    return tuple((name.encode(), draw(st.sampled_from(values_of(name)))) for name in chosen)


def test_headers_that_the_app_reads_are_seen(server: Server) -> None:
    known = {
        "Host",
        "Authorization",
        "If-Match",
        "If-None-Match",
        "Content-Encoding",
        "Content-Type",
        "Range",
    }
    of_ours = {"X-Request-Id", "Hx-Request", "Hx-Current-Url", "X-Csrftoken", "Sec-Fetch-Site", "Accept"}

    assert known | of_ours <= server.read


def test_every_header_takes_every_value(server: Server) -> None:
    """Each value of each header once, several headers in a request, of every visitor and to every address in turn."""
    before = fingerprint()
    visitors = [visitor for visitor in server.visitors if not visitor.may_change]
    turn = 0
    for names in together(server.names):
        values = [values_of(name) for name in names]
        for number in range(max(map(len, values))):
            turn += 1
            pairs = zip(names, values, strict=True)
            headers = tuple((name.encode(), sent[(number + 11 * len(name)) % len(sent)]) for name, sent in pairs)
            server.judge(visitors[turn % len(visitors)], server.requests[turn % len(server.requests)], headers)

    assert fingerprint() == before
    assert_unharmed(server)


def together(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The headers in groups that are sent in one request: those by themselves for which it may be refused at once."""
    others = [name for name in names if name not in ALONE]
    return [(name,) for name in names if name in ALONE] + list(batched(others, 5))


def test_no_headers_together_make_it_fail(server: Server) -> None:
    before = fingerprint()
    for visitor in sorted(server.visitors, key=lambda visitor: visitor.may_change):
        if visitor.may_change:
            assert fingerprint() == before
        fuzz(server, visitor)

    assert_unharmed(server)


def fuzz(server: Server, visitor: Visitor) -> None:
    """Search for headers that break a request of somebody's."""
    asked = st.tuples(st.sampled_from(server.requests), several(server.names))
    search(asked, lambda pair: server.judge(visitor, *pair), examples=2 * EXAMPLES)


def assert_unharmed(server: Server) -> None:
    """Hold that the server answers as ever, and that nothing went wrong that its answers did not tell."""
    viewer = next(visitor for visitor in server.visitors if visitor.name == "viewer")
    for path in ("/", "/clients", "/runs"):
        answer = exchange(server.port, Request("GET", path, viewer.headers))
        assert answer is not None
        assert answer.status == 200
        assert not problems_of(answer, secrets=server.secrets)
    said = server.log.read_text(errors="replace")
    assert "Traceback" not in said, said[said.index("Traceback") - 500 :][:3_000]
    assert not [secret[:3] for secret in server.secrets if secret in said]
