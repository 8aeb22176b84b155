"""Checks a file of the inventory by the schemas of the API, and tells all that is wrong with it by its lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from marshmallow import Schema, ValidationError

from chm_web.commands.inventory_files import CLIENT_FIELDS, PIPELINE_FIELDS, RULE_FIELDS, Located
from chm_web.models import AlertRule
from chm_web.schemas.alert_rules import AlertRuleSchema
from chm_web.schemas.inventory import ClientSchema, PipelineSchema
from chm_web.services.alert_rules import value_issues
from chm_web.services.inventory import ClientEntry, Entry, KnownClient, KnownPipeline, PipelineEntry, RuleKey, rule_key

E = TypeVar("E", bound=Entry)

_CLIENT = ClientSchema(only=CLIENT_FIELDS)
_PIPELINE = PipelineSchema(only=PIPELINE_FIELDS)
_RULE = AlertRuleSchema(only=RULE_FIELDS)


class Checking:
    """The check of one file against what is there: a new thing must be whole, of others a part is enough."""

    def __init__(self, file: str, known: Mapping[str, KnownClient]) -> None:
        self.issues: list[str] = []
        self._file = file
        self._known = known

    def clients(self, top: Located) -> list[ClientEntry]:
        """Give the entries of a file. They may be used when ``issues`` is empty."""
        for key in [key for key in top.values if key != "clients"]:
            self._issue(top.line_of(key), f"{key}: Unknown field.")
        if "clients" not in top.values:
            self._issue(1, 'The file must begin with "clients:".')
        return self._entries(top, "clients", self._client, lambda entry: entry.values["name"].lower()) or []

    def _client(self, node: Located) -> ClientEntry | None:
        known = self._known.get(_name(node))
        values = self._load(_CLIENT, node, ("alert_rules", "pipelines"), partial=known is not None)
        pipelines_known = known.pipelines if known else {}
        rules = self._rules(node, known.rules if known else {})
        pipelines = self._entries(
            node,
            "pipelines",
            lambda one: self._pipeline(one, pipelines_known),
            lambda entry: entry.values["name"].lower(),
        )
        if values is None:
            return None
        return ClientEntry(
            values=values, given=frozenset(values), where=self._at(node), rules=rules, pipelines=pipelines
        )

    def _pipeline(self, node: Located, known: Mapping[str, KnownPipeline]) -> PipelineEntry | None:
        pipeline = known.get(_name(node))
        values = self._load(_PIPELINE, node, ("alert_rules",), partial=pipeline is not None)
        rules = self._rules(node, pipeline.rules if pipeline else {})
        if values is None:
            return None
        return PipelineEntry(values=values, given=frozenset(values), where=self._at(node), rules=rules)

    def _rules(self, node: Located, known: Mapping[RuleKey, AlertRule]) -> list[Entry] | None:
        return self._entries(
            node, "alert_rules", lambda one: self._rule(one, known), lambda entry: rule_key(entry.values)
        )

    def _rule(self, node: Located, known: Mapping[RuleKey, AlertRule]) -> Entry | None:
        values = self._load(_RULE, node)
        if values is None:
            return None
        row, given = known.get(rule_key(values)), frozenset(node.values)
        for name in set(RULE_FIELDS) - given if row else ():
            values[name] = getattr(row, name)
        issues = value_issues(**{name: value for name, value in values.items() if name != "is_enabled"})
        for issue in issues:
            self._issue(node.line_of(issue.field), f"{issue.field}: {issue.issue}")
        return None if issues else Entry(values=values, given=given, where=self._at(node))

    def _entries(
        self, node: Located, key: str, check: Callable[[Located], E | None], identity: Callable[[E], Any]
    ) -> list[E] | None:
        """Check the things under ``key``; None where the file says nothing of them."""
        if key not in node.values:
            return None
        items = node.values[key]
        if not isinstance(items, list):
            self._issue(node.line_of(key), f"{key}: Must be a list.")
            return None
        found: dict[Any, E] = {}
        for item in self._mappings(items, node.line_of(key), key):
            entry = check(item)
            if entry is not None and found.setdefault(identity(entry), entry) is not entry:
                self._issue(item.line, f"This stands in the file already, at {found[identity(entry)].where}.")
        return list(found.values())

    def _mappings(self, items: list[Any], line: int, key: str) -> Iterator[Located]:
        for number, item in enumerate(items, start=1):
            if isinstance(item, Located):
                yield item
            else:
                self._issue(line, f"{key}: Number {number} must have fields, such as name.")

    def _load(
        self, schema: Schema, node: Located, inner: tuple[str, ...] = (), *, partial: bool = False
    ) -> dict[str, Any] | None:
        plain = {key: value for key, value in node.values.items() if key not in inner}
        try:
            loaded: dict[str, Any] = schema.load(plain, partial=partial)
        except ValidationError as err:
            told: Any = err.messages
            for field, messages in told.items():
                text = " ".join(messages) if isinstance(messages, list) else "Invalid value."
                self._issue(node.line_of(field), f"{field}: {text}")
            return None
        return loaded

    def _at(self, node: Located) -> str:
        return f"{self._file}:{node.line}"

    def _issue(self, line: int, text: str) -> None:
        self.issues.append(f"{self._file}:{line}: {text}")


def _name(node: Located) -> str:
    return str(node.values.get("name", "")).strip().lower()
