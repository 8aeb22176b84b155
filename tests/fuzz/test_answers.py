"""That what no answer may be is seen in an answer: else all the other tests of this package would hold of anything."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.datastructures import Headers

from chm_web.config import ROOT
from chm_web.web.headers import SECURITY_HEADERS
from tests.fuzz.answers import Answer, problems_of
from tests.fuzz.values import FORMULAS, INJECTED, MARK, MARKUP, PRODUCT

SECRET = "planted-secret"
PAGE = '<!doctype html><html><head><script src="/static/js/chm.js"></script></head><body>{}</body></html>'


def answer_with(body: str = "", *, status: int = 200, kind: str = "text/html; charset=utf-8", **headers: str) -> Answer:
    """An answer of the app's, but for what is said."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, Headers({**SECURITY_HEADERS, "Content-Type": kind, **named}), body.encode())


def escaped(text: str) -> str:
    """The text as a page shows it."""
    for character, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&#34;"), ("'", "&#39;")):
        text = text.replace(character, name)
    return text


FINE: dict[str, Answer] = {
    "a page": answer_with(PAGE.format("<p>All is well</p>")),
    "markup as text": answer_with(
        PAGE.format(f"<p title='{escaped(' '.join(MARKUP))}'>{escaped(' '.join(MARKUP))}</p>")
    ),
    "markup in JSON": answer_with(f'{{"name": "{MARKUP[0]}"}}', kind="application/json"),
    "a formula as text": answer_with(f"name\r\n'=A1+{MARK}\r\n-12.5\r\n", kind="text/csv; charset=utf-8"),
    "data of a chart": answer_with(PAGE.format('<script type="application/json">{"a": 1}</script>')),
    "a page that asks for itself": answer_with('<meta http-equiv="refresh" content="2"><p>Working</p>'),
    "a redirect": answer_with(status=303, Location="/clients?next=//evil.example"),
    "an empty part": answer_with("\n"),
}

BAD: dict[str, tuple[Answer, str]] = {
    "a failure": (answer_with(status=500), "500"),
    "a service that is away": (answer_with(status=503), "503"),
    "a traceback": (answer_with("Traceback (most recent call last):"), "traceback"),
    "a path": (answer_with(f"{ROOT}/chm_web/config.py"), "path"),
    "a file": (answer_with("root:x:0:0:root:/root:/bin/bash"), "path"),
    "a statement": (answer_with("SELECT clients.id\nFROM clients"), "database"),
    "an error of the database": (answer_with('new row violates check constraint "a"'), "database"),
    "a secret": (answer_with(f"<p>{SECRET}</p>"), "secret"),
    "a secret in a header": (answer_with(Set_Cookie=f"a={SECRET}"), "secret"),
    "a calculation": (answer_with(f"<p>{PRODUCT}</p>"), "template"),
    "a header of another's": (answer_with(X_Injected="1"), "header"),
    "a cookie of another's": (answer_with(Set_Cookie=f"{INJECTED}=1"), "header"),
    "no policy": (answer_with(Content_Security_Policy=""), "policy"),
    "a frame of another's": (answer_with(X_Frame_Options="SAMEORIGIN"), "X-Frame-Options"),
    "another site": (answer_with(status=303, Location="//evil.example/"), "leads"),
    "another site by a backslash": (answer_with(status=303, Location="/\\evil.example/"), "leads"),
    "another site by a tab": (answer_with(status=303, Location="/\t/evil.example/"), "leads"),
    "another site by a script": (answer_with(status=401, HX_Redirect="https://evil.example/"), "leads"),
    "a script as an address": (answer_with(status=303, Location=f"javascript:{MARK}"), "leads"),
    **{
        f"markup {number}": (answer_with(PAGE.format(f"<p>{markup}</p>")), "as it was sent")
        for number, markup in enumerate(MARKUP)
    },
    "a script": (answer_with(PAGE.format("<script>1</script>")), "script"),
    "a script of another's": (answer_with(PAGE.format("<script src=//evil.example/a.js></script>")), "script"),
    "a handler": (answer_with(PAGE.format(f'<input value="" onmouseover="{MARK}">')), "onmouseover"),
    "a handler in a part": (answer_with(f"<tr><td><img src=x onerror={MARK}></td></tr>"), "onerror"),
    "a handler after a NUL": (answer_with(f"\x00<b onclick={MARK}>"), "onclick"),
    "a handler of htmx": (answer_with(f'<b hx-on:click="{MARK}">'), "hx-on"),
    "a style": (answer_with('<b style="color: red">'), "style"),
    "a link to a script": (answer_with(f'<a href=" JavaScript:{MARK}">here</a>'), "leads"),
    "a link to another site": (answer_with('<a href="/\\evil.example/">here</a>'), "leads"),
    "a frame": (answer_with("<iframe></iframe>"), "iframe"),
    "a page that leads on": (answer_with('<meta http-equiv="refresh" content="0; url=/x">'), "meta"),
    "a base": (answer_with("<head><base href=/x></head>"), "base"),
    **{
        f"formula {number}": (
            answer_with(f'name\r\n"{cell.replace(chr(34), chr(34) * 2)}"\r\n', kind="text/csv"),
            "formula",
        )
        for number, cell in enumerate(FORMULAS)
    },
}


@pytest.mark.parametrize("which", FINE)
def test_nothing_is_said_of_an_answer_that_is_fine(which: str) -> None:
    assert problems_of(FINE[which], secrets=[SECRET]) == []


@pytest.mark.parametrize("which", BAD)
def test_it_is_said_what_is_wrong(which: str) -> None:
    answer, word = BAD[which]

    assert any(word in problem for problem in problems_of(answer, secrets=[SECRET]))


@pytest.mark.parametrize("name", SECURITY_HEADERS)
def test_every_security_header_is_looked_for(name: str) -> None:
    given: Any = answer_with("<p>All is well</p>")
    given.headers.remove(name)

    assert len(problems_of(given)) == 1
