"""The inventory as files: YAML for everything, CSV for pipelines. What is read keeps its place in the file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from chm_web.models import AlertRule, Client, Pipeline
from chm_web.services.inventory import KnownClient
from chm_web.web.exports import cell

CLIENT_FIELDS = ("name", "is_active")
PIPELINE_FIELDS = (
    "name",
    "platform",
    "external_id",
    "pipeline_type",
    "environment",
    "expected_every_minutes",
    "is_active",
    "description",
)
RULE_FIELDS = ("rule_type", "threshold", "window_minutes", "channel", "destination", "is_enabled")
CSV_FIELDS = ("client", *PIPELINE_FIELDS)
_WORDS = {"yes": True, "true": True, "no": False, "false": False}


class BadFile(Exception):
    """The file as a whole cannot be read: where, and why."""


@dataclass
class Located:
    """A mapping of a file: its values, and the lines where it and each of its keys stand."""

    values: dict[str, Any] = field(default_factory=dict)
    line: int = 1
    lines: dict[str, int] = field(default_factory=dict)

    def line_of(self, key: str) -> int:
        """Give the line of a key; of one that is missing, that of the mapping."""
        return self.lines.get(key, self.line)


# -- YAML ---------------------------------------------------------------------------------------------------------


def write_yaml(inventory: Mapping[str, KnownClient], *, with_rules: bool) -> str:
    """Give everything as YAML, in an order that stays."""

    def rules(known: Mapping[Any, AlertRule]) -> dict[str, Any]:
        return {"alert_rules": [_plain(rule, RULE_FIELDS) for rule in known.values()]} if with_rules else {}

    clients = [
        {
            **_plain(client.row, CLIENT_FIELDS),
            **rules(client.rules),
            "pipelines": [
                {**_plain(pipeline.row, PIPELINE_FIELDS), **rules(pipeline.rules)}
                for pipeline in client.pipelines.values()
            ],
        }
        for client in inventory.values()
    ]
    return yaml.safe_dump({"clients": clients}, sort_keys=False, allow_unicode=True, width=120)


def _plain(row: Client | Pipeline | AlertRule, names: Iterable[str]) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in names}
    # An enumeration's member is text to Python, and an object to YAML.
    return {name: str(value) if isinstance(value, str) else value for name, value in values.items()}


class _Loader(yaml.SafeLoader):
    """YAML's safe loader without aliases: a short file with them may stand for one without end."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        parser: Any = self
        if parser.check_event(yaml.AliasEvent):
            mark = parser.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not taken", mark)
        return super().compose_node(parent, index)


def read_yaml(text: str) -> Located:
    """Read YAML whose top is a mapping.

    Raises:
        BadFile: it is no YAML, or its top is something else.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        found = None if node is None else _located(loader, node)
    except yaml.MarkedYAMLError as err:
        line = err.problem_mark.line + 1 if err.problem_mark else 1
        raise BadFile(f"{line}: this is not YAML as it is taken here: {err.problem}.") from err
    except (yaml.YAMLError, ValueError, RecursionError) as err:
        raise BadFile(f"1: this is not YAML as it is taken here: {str(err).splitlines()[0]}.") from err
    if not isinstance(found, Located):
        raise BadFile('1: the file must begin with "clients:".')
    return found


def _located(loader: _Loader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_located(loader, item) for item in node.value]
    if not isinstance(node, yaml.MappingNode):
        return loader.construct_object(node, deep=True)
    found = Located(line=node.start_mark.line + 1)
    for key_node, value_node in node.value:
        key = str(loader.construct_object(key_node, deep=True))
        if key in found.values:
            raise yaml.composer.ComposerError(None, None, f"{key} stands twice here", key_node.start_mark)
        found.values[key] = _located(loader, value_node)
        found.lines[key] = key_node.start_mark.line + 1
    return found


# -- CSV ----------------------------------------------------------------------------------------------------------


def write_csv(inventory: Mapping[str, KnownClient]) -> str:
    """Give the pipelines as CSV, safe to open in a spreadsheet, in an order that stays."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CSV_FIELDS)
    for client in inventory.values():
        for pipeline in client.pipelines.values():
            values = _plain(pipeline.row, PIPELINE_FIELDS)
            writer.writerow([cell(client.row.name), *(cell(value) for value in values.values())])
    return buffer.getvalue()


def read_csv(text: str) -> Located:
    """Read pipelines from CSV, into the same form as YAML's: clients with their pipelines. Empty cells say nothing.

    Raises:
        BadFile: it is no CSV, or its columns are others.
    """
    rows = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    clients: dict[str, Located] = {}
    try:
        header = next(rows, [])
        _check_header(header)
        start = rows.line_num + 1
        for row in rows:
            if row:
                _add_row(clients, header, row, start)
            start = rows.line_num + 1
    except csv.Error as err:
        raise BadFile(f"{rows.line_num}: this is not CSV: {err}.") from err
    return Located({"clients": list(clients.values())})


def _check_header(header: list[str]) -> None:
    odd = sorted(set(header) - set(CSV_FIELDS)) or sorted({name for name in header if header.count(name) > 1})
    missing = [name for name in ("client", "name") if name not in header]
    if odd or missing:
        wrong = f"{', '.join(odd)} cannot be one" if odd else f"{' and '.join(missing)} must be there"
        raise BadFile(f"1: the first line names the columns, of {', '.join(CSV_FIELDS)}: {wrong}.")


def _add_row(clients: dict[str, Located], header: list[str], row: list[str], line: int) -> None:
    if len(row) != len(header):
        raise BadFile(f"{line}: this row has {len(row)} cells and the first line {len(header)}.")
    values = {name: _value(name, text) for name, text in zip(header, row, strict=True) if text}
    name = str(values.pop("client", "")).strip()
    if not name:
        raise BadFile(f"{line}: client must be filled in.")
    client = clients.setdefault(name.lower(), Located({"name": name, "pipelines": []}, line))
    client.values["pipelines"].append(Located(values, line))


def _value(name: str, text: str) -> Any:
    """Undo what ``cell`` does; what cannot be read stays text and is refused by the schema."""
    if name == "is_active":
        return _WORDS.get(text.strip().lower(), text)
    if name == "expected_every_minutes":
        return int(text) if text.strip().isascii() and text.strip().isdigit() else text
    return text[1:] if text.startswith("'") and cell(text[1:]) == text else text
