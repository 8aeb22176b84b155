"""The inventory as a whole: clients, their pipelines and alert rules, by their names, as a file holds them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import select

from chm_web.extensions import db
from chm_web.models import AlertRule, Client, Pipeline
from chm_web.services.alert_rules import create_alert_rule, update_alert_rule
from chm_web.services.clients import create_client, update_client
from chm_web.services.exceptions import Invalid, ServiceError
from chm_web.services.pipelines import create_pipeline, update_pipeline
from chm_web.services.transactions import one_transaction

RuleKey = tuple[str, str, str]
"""What makes an alert rule of one scope the same: rule_type, channel, destination."""


def rule_key(values: Mapping[str, Any]) -> RuleKey:
    """Give what an alert rule is known by within its scope."""
    return (values["rule_type"], values["channel"], values["destination"])


# -- what is there --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class KnownPipeline:
    """A pipeline that is there, and its alert rules."""

    row: Pipeline
    rules: dict[RuleKey, AlertRule] = field(default_factory=dict)


@dataclass(slots=True)
class KnownClient:
    """A client that is there, its own alert rules, and its pipelines by their names in small letters."""

    row: Client
    rules: dict[RuleKey, AlertRule] = field(default_factory=dict)
    pipelines: dict[str, KnownPipeline] = field(default_factory=dict)


def read_inventory() -> dict[str, KnownClient]:
    """Read everything, by the clients' names in small letters; all of it in the order of names, rules by their keys.

    Of disabled rules that differ in their thresholds alone, the newest is given, and none beside one that is enabled.
    """
    clients = {row.id: KnownClient(row) for row in db.session.scalars(select(Client))}
    pipelines: dict[UUID, KnownPipeline] = {}
    for pipeline in sorted(db.session.scalars(select(Pipeline)), key=_by_name):
        pipelines[pipeline.id] = KnownPipeline(pipeline)
        clients[pipeline.client_id].pipelines[pipeline.name.lower()] = pipelines[pipeline.id]
    for rule in sorted(db.session.scalars(select(AlertRule)), key=_by_key):
        scope = pipelines[rule.pipeline_id] if rule.pipeline_id else clients[_client_of(rule)]
        scope.rules[_key_of(rule)] = rule
    # What follows may wait for people: no transaction may stay open meanwhile.
    db.session.commit()
    return {known.row.name.lower(): known for known in sorted(clients.values(), key=lambda known: _by_name(known.row))}


def _by_name(row: Client | Pipeline) -> tuple[str, str]:
    return (row.name.lower(), row.name)


def _key_of(rule: AlertRule) -> RuleKey:
    return (rule.rule_type, rule.channel, rule.destination)


def _by_key(rule: AlertRule) -> tuple[RuleKey, bool, UUID]:
    # The last of the same key wins.
    return (_key_of(rule), rule.is_enabled, rule.id)


def _client_of(rule: AlertRule) -> UUID:
    if rule.client_id is None:
        raise AssertionError("ck_alert_rules_has_scope")
    return rule.client_id


# -- what is to be --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A thing as a file has it. ``given``: the fields that the file names; ``where`` it stands in the file."""

    values: Mapping[str, Any]
    given: frozenset[str]
    where: str

    def changes(self, row: Client | Pipeline | AlertRule) -> dict[str, Any]:
        """Give what of it is different from ``row``. What the file does not name stays as it is."""
        return {name: self.values[name] for name in self.given if self.values[name] != getattr(row, name)}


@dataclass(frozen=True, kw_only=True)
class PipelineEntry(Entry):
    """A pipeline; None for rules: the file says nothing of them."""

    rules: Sequence[Entry] | None = None


@dataclass(frozen=True, kw_only=True)
class ClientEntry(Entry):
    """A client; None for rules or pipelines: the file says nothing of them."""

    rules: Sequence[Entry] | None = None
    pipelines: Sequence[PipelineEntry] | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is, or would be, done: create, update or disable; to what; and which fields it concerns."""

    action: str
    what: str
    fields: tuple[str, ...] = ()


def apply_inventory(
    entries: Sequence[ClientEntry],
    *,
    disable_missing: bool = False,
    dry_run: bool = False,
    updated_by: str | None = None,
) -> list[Change]:
    """Make the inventory as ``entries`` have it, in one transaction. Nothing is ever deleted.

    Args:
        entries: checked values. No two of one scope have the same name, or the same key of a rule.
        disable_missing: disable what the file leaves out: clients, pipelines of its clients, rules of its things; where
            the file says nothing of pipelines or rules, it leaves none out.
        dry_run: do it all and undo it.
        updated_by: who does it.

    Returns:
        what was done, in the order of the file. The same entries again give nothing.

    Raises:
        Invalid: an entry clashes with another or with what is there. The message says where it stands.
    """
    known = read_inventory()
    applying = _Applying(disable_missing, updated_by)
    with one_transaction(keep=not dry_run):
        for entry in entries:
            applying.client(entry, known.pop(entry.values["name"].lower(), None))
        applying.missing_clients(known.values())
    return applying.done


class _Applying:
    """One import under way."""

    def __init__(self, disable_missing: bool, updated_by: str | None) -> None:
        self.done: list[Change] = []
        self._disable_missing = disable_missing
        self._by = updated_by

    def client(self, entry: ClientEntry, known: KnownClient | None) -> None:
        what = f"client {entry.values['name']}"
        with _standing_at(entry):
            if known is None:
                known = KnownClient(create_client(**entry.values, updated_by=self._by))
                self.done.append(Change("create", what))
            elif changes := entry.changes(known.row):
                update_client(client_id=known.row.id, changes=changes, updated_by=self._by)
                self.done.append(Change("update", what, tuple(sorted(changes))))
        self._rules(entry.rules, known.rules, what, {"client_id": known.row.id})
        if entry.pipelines is None:
            return
        for pipeline in entry.pipelines:
            self._pipeline(pipeline, known.row, known.pipelines.pop(pipeline.values["name"].lower(), None))
        for left in known.pipelines.values() if self._disable_missing else ():
            if left.row.is_active:
                update_pipeline(pipeline_id=left.row.id, changes={"is_active": False}, updated_by=self._by)
                self.done.append(Change("disable", f"pipeline {known.row.name} / {left.row.name}"))

    def missing_clients(self, known: Iterable[KnownClient]) -> None:
        for left in known if self._disable_missing else ():
            if left.row.is_active:
                update_client(client_id=left.row.id, changes={"is_active": False}, updated_by=self._by)
                self.done.append(Change("disable", f"client {left.row.name}"))

    def _pipeline(self, entry: PipelineEntry, client: Client, known: KnownPipeline | None) -> None:
        what = f"pipeline {client.name} / {entry.values['name']}"
        with _standing_at(entry):
            if known is None:
                row = create_pipeline(client_id=client.id, **entry.values, updated_by=self._by)
                known = KnownPipeline(row)
                self.done.append(Change("create", what))
            elif changes := entry.changes(known.row):
                update_pipeline(pipeline_id=known.row.id, changes=changes, updated_by=self._by)
                self.done.append(Change("update", what, tuple(sorted(changes))))
        self._rules(entry.rules, known.rules, what, {"pipeline_id": known.row.id})

    def _rules(
        self, entries: Sequence[Entry] | None, known: dict[RuleKey, AlertRule], of: str, scope: Mapping[str, Any]
    ) -> None:
        if entries is None:
            return
        for entry in entries:
            # Where it tells may be a secret: the place in the file says which rule is meant.
            what = f"alert rule {entry.values['rule_type']} by {entry.values['channel']} of {of} ({entry.where})"
            rule = known.pop(rule_key(entry.values), None)
            with _standing_at(entry):
                if rule is None:
                    create_alert_rule(**entry.values, **scope, updated_by=self._by)
                    self.done.append(Change("create", what))
                elif changes := entry.changes(rule):
                    update_alert_rule(rule_id=rule.id, changes=changes, updated_by=self._by)
                    self.done.append(Change("update", what, tuple(sorted(changes))))
        for rule in known.values() if self._disable_missing else ():
            if rule.is_enabled:
                update_alert_rule(rule_id=rule.id, changes={"is_enabled": False}, updated_by=self._by)
                self.done.append(Change("disable", f"alert rule {rule.rule_type} by {rule.channel} of {of}"))


@contextmanager
def _standing_at(entry: Entry) -> Iterator[None]:
    try:
        yield
    except ServiceError as err:
        issues = " ".join(dict.fromkeys([err.message, *(detail.issue for detail in err.details)]))
        raise Invalid(f"{entry.where}: {issues}", err.details) from err
