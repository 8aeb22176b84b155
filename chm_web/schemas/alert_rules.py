"""Alert rules."""

from __future__ import annotations

import re
from typing import Any

from flask import current_app
from marshmallow import ValidationError, fields, validate

from chm_web.access.guard import may
from chm_web.access.permissions import Permission
from chm_web.config import Config
from chm_web.models import Channel, RuleType
from chm_web.schemas.base import MAX_INTEGER, Bounds, Flag, Text, Timestamps, told
from chm_web.services.destinations import address_issue
from chm_web.services.redaction import redact_address

# Of a destination, which is indexed: a row of the index holds 2.7 kB, and a character may take four bytes.
DESTINATION_MAX_LENGTH = 500
_URL = re.compile("https?://", re.IGNORECASE)


def _window_number(description: str) -> fields.Integer:
    return fields.Integer(
        strict=True,
        load_default=None,
        allow_none=True,
        validate=Bounds(1, MAX_INTEGER),
        metadata=told(f"{description} Required for failures_in_window.", format="int32"),
    )


class Destination(Text):
    """Who is told. Whoever has a webhook's address may post there, so it is not told to all who may look."""

    def _serialize(self, value: str | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return value if value is None or may(Permission.OPERATE) else redact_address(value)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        config: Config = current_app.config["CHM"]
        if _URL.match(text) and (issue := address_issue(text, policy=config.outgoing)):
            raise ValidationError(issue)
        return text


class AlertRuleSchema(Timestamps):
    """When to tell whom. The scope is the pipeline when there is one, else the client."""

    id = fields.UUID(dump_only=True, metadata=told("Its id."))
    client_id = fields.UUID(
        load_default=None,
        allow_none=True,
        metadata=told("The client watched; beside a pipeline it only says whose that is. A rule needs one of the two."),
    )
    pipeline_id = fields.UUID(load_default=None, allow_none=True, metadata=told("The pipeline watched."))
    rule_type = fields.Enum(
        RuleType,
        by_value=True,
        required=True,
        metadata=told(
            "What makes it fire. on_failure: a pipeline turns from not failing to failing; failures_in_window: so many "
            "of its runs have failed within so many minutes."
        ),
    )
    threshold = _window_number("How many failures.")
    window_minutes = _window_number("Within how many minutes.")
    channel = fields.Enum(Channel, by_value=True, required=True, metadata=told("How it is told."))
    destination = Destination(
        strip=True,
        required=True,
        validate=validate.Length(1, DESTINATION_MAX_LENGTH),
        metadata=told(
            "Who is told, as the channel asks. slack: `#channel`, `@user` or an incoming webhook's URL; "
            "email: an address; webhook: an http or https URL without a user name. A URL must lead to a public "
            "address, not into CHM's own network. Of a URL, those who may not change rules are told the host alone."
        ),
    )
    is_enabled = Flag(load_default=True, metadata=told("A disabled rule tells nobody anything."))
