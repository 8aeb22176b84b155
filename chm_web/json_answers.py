"""How answers become JSON: a schema picks an object's fields, orjson writes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cached_property
from operator import attrgetter, itemgetter
from typing import Any

import marshmallow
import orjson
from flask import Response
from flask.json.provider import DefaultJSONProvider
from marshmallow import fields

# Of these a value needs no making: it is written as it is, an id as its text, a member of an enumeration by its value.
_WRITTEN_AS_THEY_ARE = (fields.UUID, fields.Enum, fields.String, fields.Integer, fields.Boolean, fields.Dict)
# A field of our own with another one is asked, whatever it is made from.
_AS_THEY_ARE = frozenset(kind._serialize for kind in _WRITTEN_AS_THEY_ARE)
_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE


class Schema(marshmallow.Schema):
    """marshmallow's schema, with a quicker way out: what comes in is read and checked as ever.

    A summary of 500 pipelines has 2,500 values. marshmallow calls six functions for each, which took longer than all
    else that such an answer costs, the database included. Hooks on the way out are not called, and so refused: a field
    of one's own, with a ``_serialize``, does the same.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Make the schema.

        Raises:
            TypeError: it has a hook on the way out, which would never be called.
        """
        super().__init__(*args, **kwargs)
        if any(key in self._hooks for key in ("pre_dump", "post_dump")):
            raise TypeError(f"{type(self).__name__} has a hook on the way out; give a field a _serialize of its own.")

    def dump(self, obj: Any, *, many: bool | None = None) -> Any:
        """Give the fields of an object (or of each of many), as ``JsonProvider`` writes them."""
        if self.many if many is None else many:
            return [self.dump(each, many=False) for each in obj]
        answer = dict(zip(self._keys, self.read_values(obj), strict=True))
        for key, name, write in self._written:
            answer[key] = write(answer[key], name, obj)
        return answer

    def read_values(self, obj: Any) -> Sequence[Any]:
        """Read the values of all fields, in their order: objects have them as attributes, dictionaries by their keys.

        Raises:
            AttributeError, KeyError: one is missing; an answer leaves nothing out.
        """
        if not self.names:
            return ()
        read = self._by_key if isinstance(obj, dict) else self._by_attribute
        # Of one name alone both give the value, not a tuple of it.
        return read(obj) if len(self.names) > 1 else (read(obj),)

    @cached_property
    def names(self) -> list[str]:
        """What the fields are called on the object."""
        return [field.attribute or name for name, field in self.dump_fields.items()]

    @cached_property
    def _keys(self) -> list[str]:
        """What the fields are called in the answer."""
        return [field.data_key or name for name, field in self.dump_fields.items()]

    @cached_property
    def _by_attribute(self) -> Callable[[Any], Any]:
        return attrgetter(*self.names)

    @cached_property
    def _by_key(self) -> Callable[[Any], Any]:
        return itemgetter(*self.names)

    @cached_property
    def _written(self) -> list[tuple[str, str, Callable[..., Any]]]:
        """The fields whose values must be made: called so in the answer and on the object, and made by this."""
        return [
            (key, name, field._serialize)
            for key, name, field in zip(self._keys, self.names, self.dump_fields.values(), strict=True)
            if type(field)._serialize not in _AS_THEY_ARE
        ]


class JsonProvider(DefaultJSONProvider):
    """Writes answers with orjson; ids, times (``Z``) and enumerations as they are."""

    def response(self, *args: Any, **kwargs: Any) -> Response:
        """Make the response for what ``jsonify`` is given."""
        answer = self._prepare_response_obj(args, kwargs)
        try:
            text: bytes | str = orjson.dumps(answer, option=_OPTIONS)
        except orjson.JSONEncodeError:
            # A whole number past 64 bits in a payload, half of a surrogate pair in the name of a field that was sent.
            text = json.dumps(answer, default=_plain, sort_keys=True, separators=(",", ":")) + "\n"
        return Response(text, mimetype=self.mimetype)


def _plain(value: Any) -> Any:
    """What orjson would write of a value that Python's encoder has no word for."""
    return json.loads(orjson.dumps(value, option=_OPTIONS))
