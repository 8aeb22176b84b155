"""Every form and every parameter of the pages, as each role: nothing fails, leaks, runs or leads elsewhere.

What there is to send to is found by walking over the pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import strategies as st
from redis import Redis

from chm_web.access.permissions import Role
from tests.fuzz.answers import problems_of
from tests.fuzz.conftest import Site
from tests.fuzz.crawl import Target
from tests.fuzz.search import search
from tests.fuzz.sending import Pairs, Sending, Shape, fingerprint, send, undone, urlencoded
from tests.fuzz.values import NAMES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

# Whoever has a pipeline's key may report its runs, and needs no role for it.
BY_KEY = "/ping/"
# Of programs, or only where an OIDC provider is configured; and what says, rightly, that no worker runs here.
NOT_OF_PAGES = ("/api/", "/static/", "/metrics", "/sign-in/oidc", "/readyz")

VISITORS = [None, *Role]


def name_of(role: Role | None) -> str:
    """A visitor's name, for the test's."""
    return role.value if role else "nobody"


def judge(site: Site, role: Role | None, sending: Sending) -> None:
    """Send a request and fail where an answer is what none may be, or where rows change that must not."""
    redis: Redis = Redis.from_url(site.app.config["CHM"].redis_url)
    limits = redis.keys("chm:limit*")
    if limits:
        redis.delete(*limits)
    may_change = role in (Role.OPERATOR, Role.ADMIN) or sending.path.startswith(BY_KEY)
    with undone():
        before = [] if may_change else fingerprint()
        answers = send(site.app, role, sending)
        problems = [problem for answer in answers for problem in problems_of(answer, secrets=site.secrets)]
        assert not problems, (
            f"{name_of(role)}: {str(sending)[:2_000]}: {[answer.status for answer in answers]}: {problems}"
        )
        assert may_change or fingerprint() == before, f"{name_of(role)} has changed rows: {str(sending)[:2_000]}"


def request_to(target: Target, pairs: Pairs, *, path: str | None = None, shape: Shape = Shape.FORM) -> Sending:
    """The request that sends these pairs to a target."""
    path = target.path if path is None else path
    if target.method == "GET":
        return Sending("GET", path, urlencoded(pairs))
    return Sending("POST", path, target.query, pairs, shape)


def raw(query: str) -> str:
    """A query as somebody sends it who escapes no letters: its bytes, each as a character."""
    return re.sub("%([89A-F][0-9A-F])", lambda found: chr(int(found[1], 16)), query)


@st.composite
def sendings(draw: st.DrawFn, site: Site, target: Target) -> Sending:
    """Requests to a target: some fields as a page sends them, others left out, sent twice or filled with harm."""
    value = st.sampled_from(site.hostile)
    pairs: list[tuple[bytes, bytes]] = []
    for name, known in target.fields.items():
        usual = st.sampled_from([one.encode() for one in known]) if known else value
        for kind in draw(st.sampled_from([[usual], [usual], [usual], [value], [value], [], [value, usual]])):
            pairs.append((name.encode(), draw(kind)))
    for name_of_other in draw(st.lists(st.sampled_from((*site.names, *NAMES)), max_size=2)):
        pairs.append((name_of_other, draw(value)))
    path = target.path
    if target.arguments and draw(st.integers(0, 5)) == 5:
        path = path.replace(draw(st.sampled_from(target.arguments)), quote_from_bytes(draw(value), safe=""))
    shape = draw(st.sampled_from([*[Shape.FORM] * 8, *Shape]))
    sending = request_to(target, tuple(pairs), path=path, shape=shape)
    if target.method == "GET" and draw(st.booleans()):
        return Sending("GET", path, raw(sending.query))
    return sending


def fuzz(site: Site, role: Role | None, targets: Iterable[Target]) -> None:
    """Search for a request to each of the targets that breaks something."""
    for target in targets:
        search(sendings(site, target), lambda sending: judge(site, role, sending))


def test_walk_finds_every_page_and_form(site: Site) -> None:
    there_are = {
        (method, rule.rule)
        for rule in site.app.url_map.iter_rules()
        for method in (rule.methods or set()) & {"GET", "POST"}
        if not rule.rule.startswith((*NOT_OF_PAGES, BY_KEY))
    }

    assert there_are - {(target.method, target.rule) for target in site.targets} == set()


def test_what_is_stored_is_shown_as_text(site: Site) -> None:
    told = [
        f"{name_of(role)}: {sending.method} {sending.path}?{sending.query}: {answer.status}: {problem}"
        for role, sending, answer in site.crawl.judged
        for problem in problems_of(answer, secrets=site.secrets)
    ]

    assert told[:20] == []
    assert len(site.crawl.judged) > len(site.targets)


def test_every_target_takes_every_value(site: Site) -> None:
    """Each field of a form gets another value in one request, until all values have been sent to it."""
    for target in (target for target in site.targets if target.fields):
        names = [name.encode() for name in target.fields]
        for first in range(0, len(site.hostile), len(names)):
            pairs = tuple(zip(names, site.hostile[first : first + len(names)], strict=False))
            judge(site, Role.ADMIN, request_to(target, pairs))


@pytest.mark.parametrize("role", VISITORS, ids=name_of)
def test_no_form_can_be_made_to_fail(site: Site, role: Role | None) -> None:
    fuzz(site, role, (target for target in site.targets if target.method == "POST"))


@pytest.mark.parametrize("role", VISITORS, ids=name_of)
def test_no_address_can_be_made_to_fail(site: Site, role: Role | None) -> None:
    fuzz(site, role, (target for target in site.targets if target.method == "GET"))


def test_pages_are_unharmed_afterwards(site: Site) -> None:
    """Comes last: whatever was sent before, each page answers as it did when it was found."""
    found = {
        sending.path: (sending, answer)
        for role, sending, answer in site.crawl.judged
        if sending.method == "GET" and role is Role.ADMIN and answer.status == 200
    }
    assert {"/", "/clients", "/pipelines", "/runs", "/alert-rules", "/ingestion", "/insights"} <= set(found)
    for sending, answer in found.values():
        with undone():
            again = send(site.app, Role.ADMIN, sending)[0]
        assert (again.status, again.kind) == (200, answer.kind), sending
