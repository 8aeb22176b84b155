"""Finds whatever can be sent to the app, as a browser would: forms, links and what pages ask for by themselves."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

from flask import Flask
from werkzeug.exceptions import HTTPException

from chm_web.access.permissions import Role
from tests.fuzz.answers import Answer, parse
from tests.fuzz.sending import Sending, urlencoded

Ask = Callable[[Role | None, Sending], list[Answer]]
Values = dict[str, list[str]]

# Of addresses that differ in their values alone so many are looked at, and so many of a rule at all.
_SAME = 2
_OF_A_RULE = 4
_MAX_VALUES = 8


@dataclass
class Target:
    """Somewhere to send values to, and those that pages send there: by field, and in its path.

    ``rule``: of its route. ``query``: of the address that a form is sent to.
    """

    method: str
    rule: str
    path: str
    arguments: tuple[str, ...]
    query: str = ""
    fields: Values = field(default_factory=dict)

    def know(self, fields: Mapping[str, list[str]]) -> None:
        """Note fields that a page sends, and their values."""
        for name, values in fields.items():
            known = self.fields.setdefault(name, [])
            known += [value for value in dict.fromkeys(values) if value not in known][: _MAX_VALUES - len(known)]


@dataclass
class Crawl:
    """A walk over all pages. ``ask`` sends a request as somebody of a role, and leaves nothing behind."""

    app: Flask
    ask: Ask
    targets: dict[tuple[str, str, tuple[str, ...]], Target] = field(default_factory=dict)
    judged: list[tuple[Role | None, Sending, Answer]] = field(default_factory=list)

    def walk(self, role: Role | None, starts: tuple[str, ...]) -> None:
        """Go wherever the pages lead that somebody of a role is shown, and send each form once as it stands."""
        waiting, seen, often = list(starts), set[str](), defaultdict[tuple[str, ...], int](int)
        sent = set[str]()
        while waiting:
            address = waiting.pop(0)
            target = self._note("GET", address)
            kind = (target.rule, *sorted(_query_of(address))) if target else ("",)
            if target is None or address in seen or often[kind] >= _SAME or often[kind[:1]] >= _OF_A_RULE:
                continue
            seen.add(address)
            for counted in {kind, kind[:1]}:
                often[counted] += 1
            split = urlsplit(address)
            for answer in self._look(role, Sending("GET", split.path, split.query)):
                waiting += self._read(role, address, answer, sent)

    def _look(self, role: Role | None, sending: Sending) -> list[Answer]:
        answers = self.ask(role, sending)
        self.judged += [(role, sending, answer) for answer in answers]
        return [answer for answer in answers if answer.is_page]

    def _read(self, role: Role | None, address: str, answer: Answer, sent: set[str]) -> Iterator[str]:
        """Note what a page sends, and give where it leads."""
        tree = parse(answer.body)
        if tree is None:
            return
        yield from (urljoin(address, link) for link in tree.xpath("//@href[not(parent::link)] | //@hx-get"))
        for element in tree.xpath("//*[@hx-get]"):
            target = self._note("GET", urljoin(address, element.get("hx-get")))
            if target:
                target.know(_asked_by(element, tree))
        for form in tree.iter("form"):
            action = urljoin(address, form.get("action") or address)
            method = (form.get("method") or "get").upper()
            fields = _fields_of(form, tree)
            target = self._note(method, action, fields) if method in ("GET", "POST") else None
            if target and method == "POST" and f"{target.rule} {sorted(fields)}" not in sent:
                sent.add(f"{target.rule} {sorted(fields)}")
                yield from self._send_as_it_stands(role, action, fields, sent)

    def _send_as_it_stands(self, role: Role | None, action: str, fields: Values, sent: set[str]) -> Iterator[str]:
        """Send a form: what it is answered with may hold another one, such as a question."""
        pairs = tuple((name.encode(), values[0].encode()) for name, values in fields.items() if values)
        split = urlsplit(action)
        for answer in self._look(role, Sending("POST", split.path, split.query, pairs)):
            yield from self._read(role, action, answer, sent)

    def _note(self, method: str, address: str, fields: Values | None = None) -> Target | None:
        """Note that something is sent to an address of ours; None where it is no page of the app."""
        split = urlsplit(address)
        if split.netloc or split.scheme:
            return None
        try:
            rule, arguments = self.app.url_map.bind("localhost").match(split.path, method, return_rule=True)
        except HTTPException:
            return None
        if rule.endpoint == "static" or rule.rule.startswith("/api/"):
            return None
        query = "" if method == "GET" else split.query
        # A form with other fields is another one, though it is sent to the same place; links are the page's own.
        key = (method, rule.rule, tuple(sorted(fields or ())) if method == "POST" else ())
        found = self.targets.setdefault(
            key, Target(method, rule.rule, split.path, tuple(str(value) for value in arguments.values()), query)
        )
        found.know(fields or {})
        if method == "GET":
            found.know(_query_of(address))
        return found


def field_names(targets: Mapping[Any, Target]) -> tuple[str, ...]:
    """The names of all fields and parameters that any page sends."""
    return tuple(sorted({name for target in targets.values() for name in target.fields}))


def address_of(target: Target) -> str:
    """An address of a target, with parameters that a page has sent."""
    pairs = tuple((name.encode(), values[0].encode()) for name, values in target.fields.items() if values)
    return f"{target.path}?{urlencoded(pairs)}" if pairs else target.path


def _query_of(address: str) -> Values:
    found: Values = {}
    for name, value in parse_qsl(urlsplit(address).query, keep_blank_values=True):
        found.setdefault(name, []).append(value)
    return found


def _fields_of(form: Any, tree: Any) -> Values:
    """The fields of a form with the values that it could send, those that stand elsewhere and name it too."""
    controls = form.xpath(".//*[@name][not(@form)]")
    if form.get("id"):
        controls += tree.xpath("//*[@name][@form=$name]", name=form.get("id"))
    fields: Values = {}
    for control in controls:
        # What guards the form is sent rightly by itself.
        if control.get("name") != "csrf_token":
            fields.setdefault(control.get("name"), []).extend(_values_of(control))
    return fields


def _values_of(control: Any) -> list[str]:
    if control.tag == "select":
        return [option.get("value", option.text_content()) for option in control.iter("option")]
    if control.tag == "textarea":
        return [control.text or ""]
    return [control.get("value", "on" if control.get("type") in ("checkbox", "radio") else "")]


def _asked_by(element: Any, tree: Any) -> Values:
    """The parameters that an element adds to the address that it asks for."""
    fields: Values = {}
    for form in tree.xpath("//form[@id=$name]", name=element.get("hx-include", "").removeprefix("#")):
        fields = _fields_of(form, tree)
    if element.get("name"):
        fields[element.get("name")] = _values_of(element)
    if element.tag == "form":
        fields |= _fields_of(element, tree)
    wanted = element.get("hx-params")
    names = re.split(r"\s*,\s*", wanted) if wanted and wanted != "*" else list(fields)
    return {name: fields.get(name, []) for name in names}
