"""What no answer may be, whatever was asked: a failure of ours, a leak, or something that a browser would run."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import lxml.html
from werkzeug.datastructures import Headers

from chm_web.config import ROOT
from chm_web.web.headers import SECURITY_HEADERS
from tests.fuzz.values import ELSEWHERE, INJECTED, MARK, MARKUP, PRODUCT

_OURS = "http://localhost/"
_LEADS = ("Location", "HX-Redirect", "HX-Location", "HX-Push-Url", "HX-Replace-Url", "Refresh")
_FORMULA = re.compile(r"[=+\-@\t\r]")
_TOLD = {
    "a traceback": re.compile(rb'Traceback \(most recent call|File "[^"]+", line \d'),
    "a file's path": re.compile(
        rb"site-packages|/usr/lib/python|root:x:0:|" + re.escape(str(ROOT).encode()) + rb"[/<\"']"
    ),
    "the database's words": re.compile(
        rb"\(psycopg|sqlalche\.me|\[SQL:|\bSELECT\b.{1,200}\bFROM\b|INSERT INTO"
        rb"|invalid input syntax|invalid byte sequence|violates [a-z -]+ constraint|relation \"",
        re.DOTALL,
    ),
    "the server's own page": re.compile(rb"<title>(?:500 )?Internal Server Error"),
}
_ADDRESSES = ("href", "src", "action", "formaction", "data", "poster", "hx-get", "hx-post", "xlink:href")
_SCRIPTED = re.compile(r"\s*(?:javascript|vbscript|data):", re.IGNORECASE)
_FOREIGN = {"iframe", "object", "embed", "applet", "base", "style", "frame"}


@dataclass(frozen=True)
class Answer:
    """An answer as it came. ``headers`` may hold a name several times."""

    status: int
    headers: Headers
    body: bytes

    @property
    def kind(self) -> str:
        """What it says it is, without its parameters."""
        return (self.headers.get("Content-Type") or "").partition(";")[0].strip().lower()

    @property
    def is_page(self) -> bool:
        """Whether a browser would show it as a page."""
        return self.kind == "text/html"


def problems_of(answer: Answer, *, secrets: Iterable[str] = ()) -> list[str]:
    """Say what is wrong with an answer; nothing when all is well.

    Args:
        answer: of the app.
        secrets: what must stand in none.
    """
    problems = [*_failures(answer), *_leaks(answer, secrets), *_headers(answer), *_leads(answer)]
    if answer.is_page:
        problems += _scripts(answer.body)
    if answer.kind == "text/csv":
        problems += _formulas(answer.body)
    return problems


def parse(page: bytes) -> Any:
    """The tree of a page, or of a part of one, as a browser makes it; None where there is nothing."""
    # Browsers read over a NUL or show a mark for it; the parser ends there.
    text = page.replace(b"\x00", "\ufffd".encode()).strip()
    return lxml.html.document_fromstring(text, parser=lxml.html.HTMLParser(encoding="utf-8")) if text else None


def _failures(answer: Answer) -> Iterator[str]:
    if answer.status >= 500:
        yield f"it answers {answer.status}"
    if PRODUCT.encode() in answer.body or PRODUCT in str(answer.headers):
        yield "a template has calculated what was sent"


def _leaks(answer: Answer, secrets: Iterable[str]) -> Iterator[str]:
    whole = str(answer.headers).encode() + answer.body
    for what, pattern in _TOLD.items():
        found = pattern.search(whole)
        if found:
            yield f"it tells {what}: {found[0][:80]!r}"
    for secret in secrets:
        if secret.encode() in whole:
            yield f"it tells the secret {secret[:3]}…"


def _headers(answer: Answer) -> Iterator[str]:
    for name, value in SECURITY_HEADERS.items():
        # A page that has a reason may state a policy of its own, but may not be framed under any.
        if name == "Content-Security-Policy":
            policy = answer.headers.get(name, "")
            if "frame-ancestors 'none'" not in policy or "default-src" not in policy or "unsafe-eval" in policy:
                yield f"its policy is {policy!r}"
        elif answer.headers.get(name) != value:
            yield f"{name} is {answer.headers.get(name)!r}"
    if INJECTED in answer.headers or any(INJECTED in value for value in answer.headers.getlist("Set-Cookie")):
        yield "a header was made of what was sent"


def _leads(answer: Answer) -> Iterator[str]:
    for name in _LEADS:
        for value in answer.headers.getlist(name):
            # Browsers leave tabs and ends of lines out, and take a backslash for a slash.
            seen = re.sub(r"[\t\r\n]", "", value).strip().replace("\\", "/")
            target = urlsplit(urljoin(_OURS, seen))
            if target.scheme not in ("http", "https") or target.hostname not in ("localhost", "127.0.0.1"):
                yield f"it leads to {value[:80]!r}"


def _scripts(page: bytes) -> Iterator[str]:
    for raw in MARKUP:
        if raw.encode() in page:
            yield f"it holds {raw!r} as it was sent"
    tree = parse(page)
    for element in () if tree is None else tree.iter():
        # Comments and processing instructions have a function for a tag.
        if isinstance(element.tag, str):
            yield from _harm_in(element)


def _harm_in(element: Any) -> Iterator[str]:
    tag = element.tag.lower()
    # Data of charts, which nothing runs.
    is_data = tag == "script" and element.get("type") == "application/json"
    if tag == "script" and not is_data and ((element.text or "").strip() or not _is_ours(element.get("src", ""))):
        yield f"it holds a script: {element.get('src')} {(element.text or '')[:60]!r}"
    # A page may ask for itself again after some seconds.
    leads = tag == "meta" and element.get("http-equiv") and not element.get("content", "").isdecimal()
    if tag in _FOREIGN or leads:
        yield f"it holds a {tag}"
    for name, value in element.attrib.items():
        if re.match(r"(?:hx-)?on", name.lower()) or name.lower() in ("style", "srcdoc"):
            yield f"a {tag} has {name}={value[:60]!r}"
        if name.lower() in _ADDRESSES and (_SCRIPTED.match(value) or ELSEWHERE in _host(value)):
            yield f"a {tag} leads to {value[:60]!r}"


def _is_ours(address: str) -> bool:
    return address.startswith("/static/")


def _host(address: str) -> str:
    try:
        return urlsplit(address.strip().replace("\\", "/")).netloc
    except ValueError:
        return ""


def _formulas(body: bytes) -> Iterator[str]:
    # The app's own numbers may be negative: a formula of those that are sent bears the mark.
    for row in csv.reader(io.StringIO(body.decode("utf-8-sig"), newline="")):
        for cell in row:
            if MARK in cell and _FORMULA.match(cell.lstrip(" ")):
                yield f"a cell is a formula: {cell[:60]!r}"
