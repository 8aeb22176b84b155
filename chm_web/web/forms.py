"""HTML forms, read by the same schemas as the API's bodies: a form knows text alone, a schema wants JSON's types."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow import Schema, ValidationError, fields
from werkzeug.datastructures import MultiDict

from chm_web.services.exceptions import Conflict, Invalid, ServiceError, Stale
from chm_web.web.formats import number, words

# Commas between groups of three alone: elsewhere they are decimal ones, and 1,5 is not 15.
_WHOLE = re.compile(r"-?(?:[0-9]{1,25}|[0-9]{1,3}(?:,[0-9]{3}){1,8})")
_STALE = (
    "Somebody else has changed this meanwhile. Nothing was saved. Where theirs differs from yours, it stands below the "
    "field. Save again to keep what is in the fields."
)

# What marshmallow says to programs, said to people.
_PLAIN = {
    "Missing data for required field.": "This is needed.",
    "Not a valid integer.": "Give a whole number.",
    "Not a valid number.": "Give a number.",
}

Issues = dict[str, str]
"""What is wrong, by the field beside which to say it; ``""`` for the form as a whole."""


def read(schema: Schema, form: MultiDict[str, str], *, partial: bool = False) -> tuple[dict[str, Any], Issues]:
    """Read a form's fields as ``schema`` does a body.

    An empty field is null where the schema takes null, else it is as if it had not been sent. A checkbox that is not
    checked is not sent by browsers: it is false.

    Args:
        schema: of what is created or changed.
        form: what was sent.
        partial: whether required fields may be left out.

    Returns:
        The values, and what is wrong in the order in which the fields were sent, which is that of the form: the first
        of it is given the focus. Where something is wrong, the values are empty.
    """
    body = {name: value for name, field in _inputs(schema).items() for value in _json(field, form, name)}
    try:
        return dict(schema.load(body, partial=partial)), {}
    except ValidationError as err:
        order = {name: place for place, name in enumerate(form)}
        wrong = sorted(err.messages_dict.items(), key=lambda item: order.get(item[0], len(order)))
        return {}, {name: _first(messages) for name, messages in wrong}


def attempt(action: Callable[[], object]) -> Issues:
    """Do what a form asks for, and give what the service refuses in it, by field; nothing when it is done.

    Somebody else's change meanwhile is told of the form as a whole. What is no fault of the form is raised on.
    """
    try:
        action()
    except Stale:
        return {"": _STALE}
    except (Invalid, Conflict) as err:
        return issues_of(err)
    return {}


@dataclass(frozen=True)
class Theirs:
    """What somebody else has made of a field: the value as a form sends it, and in words."""

    value: str
    words: str


def differences(
    issues: Issues, values: Mapping[str, Any], theirs: Mapping[str, Any], names: Mapping[Any, str] | None = None
) -> dict[str, Theirs]:
    """Give what differs between two who changed the same thing, by field; nothing unless that is what was refused.

    Args:
        issues: what was wrong with the form.
        values: what was to be saved.
        theirs: the same fields as they are now.
        names: of ids among the values.
    """
    if issues.get("") != _STALE:
        return {}
    return {
        name: Theirs(_as_sent(theirs[name]), _in_words(theirs[name], names or {}))
        for name, value in values.items()
        if name in theirs and theirs[name] != value
    }


def _as_sent(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else ""
    return "" if value is None else str(value)


def _in_words(value: Any, names: Mapping[Any, str]) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return number(value)
    return names.get(value) or (words(value) if isinstance(value, enum.StrEnum) else str(value))


def version_to_show(sent: str | None, now: str, issues: Issues) -> str:
    """Give the version that a refused form carries on: that of now for who has been told of somebody else's change.

    Else it stays the one that was seen when the form was opened, so that the next try is compared with it, too.
    """
    return now if sent is None or issues.get("") == _STALE else sent


def issues_of(err: ServiceError) -> Issues:
    """Give what a service refused, by field."""
    return {detail.field: detail.issue for detail in err.details} or {"": err.message}


def shown(form: Mapping[str, str]) -> dict[str, str]:
    """Give what was typed, to show it again beside what is wrong with it."""
    return dict(form.items())


def _inputs(schema: Schema) -> dict[str, fields.Field[Any]]:
    return {name: field for name, field in schema.load_fields.items() if not field.dump_only}


def _json(field: fields.Field[Any], form: MultiDict[str, str], name: str) -> list[Any]:
    """Give a field's value as JSON would have it, or nothing when it is left out."""
    if isinstance(field, fields.Boolean):
        return [form.get(name) in ("on", "true")]
    # Browsers send the ends of lines in the manner of networks, whatever the text had.
    value = form.get(name, "").replace("\r\n", "\n")
    if not value.strip():
        return [None] if field.allow_none and name in form else []
    if isinstance(field, fields.Integer):
        return [_whole(value.strip())]
    if isinstance(field, fields.Float):
        return [_number(value.strip())]
    return [value]


def _whole(value: str) -> int | str:
    # What is no number goes on as it is: the schema says what is wrong with it.
    return int(value.replace(",", "")) if _WHOLE.fullmatch(value) else value


def _number(value: str) -> float | str:
    try:
        return float(value)
    except ValueError:
        return value


def _first(messages: Any) -> str:
    while isinstance(messages, dict | list) and messages:
        messages = next(iter(messages.values())) if isinstance(messages, dict) else messages[0]
    return _PLAIN.get(str(messages), str(messages))
