"""The quick way out of a schema."""

from __future__ import annotations

from typing import Any

import pytest
from marshmallow import fields, post_dump

from chm_web.json_answers import Schema


class Shouted(fields.String):
    """A text that is written in another way than it is."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str:
        return str(value).upper()


def test_field_of_ones_own_is_asked_for_what_to_write() -> None:
    class Answer(Schema):
        word = Shouted()
        plain = fields.String()

    assert Answer().dump({"word": "secret", "plain": "x"}) == {"word": "SECRET", "plain": "x"}


@pytest.mark.parametrize("thing", [{"word": "x"}, object()])
def test_of_no_field_nothing_is_read_and_nothing_given(thing: object) -> None:
    class Request(Schema):
        word = fields.String(load_only=True)

    assert Request().dump(thing) == {}
    assert list(Request().read_values(thing)) == []


def test_hook_that_would_never_be_called_is_refused() -> None:
    class Answer(Schema):
        word = fields.String()

        @post_dump
        def change(self, data: Any, **_: Any) -> Any:
            return data

    with pytest.raises(TypeError, match="hook on the way out"):
        Answer()
