"""The kinds of fields that schemas are made of, and what all of them carry."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from marshmallow import ValidationError, fields, validate

from chm_web.json_answers import Schema
from chm_web.models import EXTERNAL_ID_MAX_LENGTH
from chm_web.services.run_values import MAX_TIME, MIN_TIME, UNSTORABLE

NAME_MAX_LENGTH = 200
TEXT_MAX_LENGTH = 10_000
MAX_INTEGER = 2**31 - 1


class Bounds(validate.Range):
    """Says which of its bounds a number is beyond, and no other: whoever typed -5 need not read the largest integer."""

    def __call__(self, value: Any) -> Any:
        """Give the value, if it lies within the bounds."""
        if self.min is not None and value < self.min:
            raise ValidationError(f"Must be {self.min:,} or more.")
        if self.max is not None and value > self.max:
            raise ValidationError(f"Must be {self.max:,} or less.")
        return value


class Text(fields.String):
    """Text that PostgreSQL can store; with ``strip``, without the space around it."""

    def __init__(self, *, strip: bool = False, metadata: dict[str, Any] | None = None, **kwargs: Any) -> None:
        # As far as a pattern can tell it: half a surrogate pair is no character that one could name. Python also takes
        # the separators of ASCII and of Latin-1 for space, which \s does not mean everywhere.
        pattern = r"^[^\u0000]*[^\s\u0000\u001c-\u001f\u0085][^\u0000]*$" if strip else r"^[^\u0000]*$"
        super().__init__(metadata={"pattern": pattern, **(metadata or {})}, **kwargs)
        self._strip = strip

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, *args, **kwargs)
        if UNSTORABLE.search(text):
            raise ValidationError("Must not hold NUL or half of a surrogate pair.")
        if not self._strip:
            return text
        # The document can tell the length of what is sent alone; that of what is kept is looked at afterwards.
        self._validate(text)
        return text.strip()


class UtcTime(fields.AwareDateTime):
    """A time: RFC 3339 with ``Z`` going out; coming in, one without a zone is UTC."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(format="iso", default_timezone=UTC, **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> datetime:
        moment: datetime = super()._deserialize(value, *args, **kwargs)
        if not MIN_TIME <= moment < MAX_TIME:
            raise ValidationError("Must be a time between 1970 and 2199.")
        return moment

    def _serialize(self, value: datetime | None, *args: Any, **kwargs: Any) -> Any:
        return None if value is None else value.astimezone(UTC)


class Flag(fields.Boolean):
    """True or false as JSON has them: no word and no number stands for either."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Number(fields.Float):
    """A number as JSON has them: no text stands for one."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> float:
        if not isinstance(value, int | float):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, *args, **kwargs)


def name_field(**kwargs: Any) -> Text:
    """Give the field of a name."""
    return Text(strip=True, validate=validate.Length(1, NAME_MAX_LENGTH), **kwargs)


def external_id_field(**kwargs: Any) -> Text:
    """Give the field of an id on another platform."""
    return Text(validate=validate.Length(1, EXTERNAL_ID_MAX_LENGTH), **kwargs)


def told(description: str, **more: Any) -> dict[str, Any]:
    """Give what the API's document says of a field or parameter."""
    return {"description": description, **more}


class Timestamps(Schema):
    """When a row was made and last changed, and by whom."""

    created_at = UtcTime(dump_only=True, metadata=told("When it was created."))
    updated_at = UtcTime(dump_only=True, metadata=told("When it was last changed."))
    updated_by = fields.String(
        dump_only=True,
        allow_none=True,
        metadata=told("Who changed it last: a person or a token; null for the platforms' feeds."),
    )
