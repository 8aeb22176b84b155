"""The record of who changed what: a structured line of the log for every change that was committed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chm_web.models import AlertRule, Client, Pipeline, Run
from chm_web.services.redaction import redact_address, redact_value
from chm_web.services.transactions import after_commit

log = logging.getLogger("chm.audit")

Changes = Mapping[str, tuple[Any, Any]]
"""Fields by name, each with its value before and after."""

_NOT_TOLD = frozenset(
    {"id", "created_at", "updated_at", "updated_by", "ingested_at", "event_at", "payload", "content_hash"}
)


Row = Client | Pipeline | AlertRule | Run


@dataclass(frozen=True)
class Named:
    """What may change and is no row of a table: a user, a token, a role of the database, the database itself."""

    kind: str
    name: str


def log_change(action: str, thing: Row | Named, changes: Changes, by: str | None) -> None:
    """Note that ``by`` did ``action`` (create, update, delete, ...) to a thing; nothing when nothing changed."""
    if not changes:
        return
    if isinstance(thing, Named):
        kind, which = thing.kind, {"kind": thing.kind, "called": thing.name}
    else:
        kind, which = thing.__tablename__, {"table": thing.__tablename__, "row": str(thing.id)}
    told = {
        "action": action,
        **which,
        "by": by,
        "changes": {name: [_told(name, value) for value in pair] for name, pair in changes.items()},
    }
    after_commit(lambda: log.info("%s %s", action, kind, extra=told))


def log_report(what: str, counts: Mapping[str, int], by: str | None) -> None:
    """Note that ``by`` had something done to many rows at once: how many became of what."""
    log.info("%s", what, extra={"action": what, "by": by, "counts": dict(counts)})


def all_of(thing: Row, *, is_gone: bool = False) -> Changes:
    """Give a whole row as changes: of one that is new, or of one that is deleted."""
    names = [column.key for column in thing.__table__.columns if column.key not in _NOT_TOLD]
    values = {name: getattr(thing, name) for name in names}
    return {name: (value, None) if is_gone else (None, value) for name, value in values.items() if value is not None}


def changed_between(before: object, after: object, names: Iterable[str]) -> Changes:
    """Give which of these attributes differ between what a thing was and what it is; None: it was or is not there."""
    pairs = {name: (getattr(before, name, None), getattr(after, name, None)) for name in names}
    return {name: (old, new) for name, (old, new) in pairs.items() if old != new}


def _told(name: str, value: Any) -> Any:
    plain = value if value is None or isinstance(value, bool | int | float) else str(value)
    if name == "destination" and isinstance(plain, str):
        return redact_address(plain)
    return redact_value(name, plain)
