"""Reads the sources: those of ``CHM_SOURCES_FILE``, and the one partner of ``CHM_PARTNER_API_BASE_URL``."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from chm_web.config import Config, ConfigError
from chm_web.config_reader import check_address, check_token
from chm_web.ingestion.sources import KINDS, Source
from chm_web.models import Platform

PARTNER = "partner"
"""The name of the source that ``CHM_PARTNER_API_BASE_URL`` configures."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
# As many connections as one session keeps open.
MAX_CONCURRENCY = 10
_SECRETS = ("token", "password")


class _SourceSchema(Schema):
    """One source's settings, as far as they are checked alone."""

    kind = fields.String(required=True, validate=validate.OneOf(KINDS, error="must be one of: {choices}"))
    base_url = fields.String(required=True)
    token = fields.String()
    username = fields.String(validate=validate.Length(min=1, error="must not be empty"))
    password = fields.String()
    account_id = fields.Integer(strict=True, validate=validate.Range(min=1))
    client = fields.String(validate=validate.Length(min=1, error="must not be empty"))
    platforms = fields.List(fields.Enum(Platform, by_value=True), validate=validate.Length(min=1))
    # At most a day: a feed that is read more seldom is one whose pipelines nobody watches.
    interval = fields.Integer(strict=True, validate=validate.Range(min=1, max=86_400))
    page_size = fields.Integer(strict=True, validate=validate.Range(min=1))
    concurrency = fields.Integer(strict=True, validate=validate.Range(1, MAX_CONCURRENCY))
    paused = fields.Boolean(truthy={True}, falsy={False})


def sources_of(config: Config, environ: Mapping[str, str] | None = None) -> tuple[Source, ...]:
    """Give the configured sources in the order in which they stand; none where none is configured.

    Args:
        config: the deployment's configuration.
        environ: where ``env:NAME`` is looked up (default: the process's environment).

    Raises:
        ConfigError: a setting cannot work. The message names where it stands, and holds no secret.
    """
    sources = []
    if config.partner_api_base_url is not None:
        sources.append(_partner_of(config, config.partner_api_base_url))
    if config.sources_file is not None:
        sources += _read_file(config.sources_file, os.environ if environ is None else environ)
    if len({source.name for source in sources}) != len(sources):
        raise ConfigError(
            f"{config.sources_file}: sources.{PARTNER} has the name of the source that CHM_PARTNER_API_BASE_URL "
            "configures. Give it another name, or leave the variable unset."
        )
    return tuple(sources)


def secret_files(path: Path) -> list[Path]:
    """Give the files that hold the secrets of a file of sources which ``sources_of`` has taken."""
    tables = tomllib.loads(path.read_text(encoding="utf-8")).get("sources", {}).values()
    references = [table[key] for table in tables for key in _SECRETS if key in table]
    return [path.parent / reference.removeprefix("file:") for reference in references if reference.startswith("file:")]


def _partner_of(config: Config, base_url: str) -> Source:
    try:
        platforms = tuple(Platform(name) for name in config.partner_api_platforms)
    except ValueError as err:
        raise ConfigError(f"CHM_PARTNER_API_PLATFORMS: {err}. Use {', '.join(Platform)}.") from None
    return Source(
        name=PARTNER,
        base_url=base_url,
        token=config.partner_api_token,
        platforms=platforms,
        page_size=config.partner_page_size,
    )


def _read_file(path: Path, environ: Mapping[str, str]) -> list[Source]:
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except OSError as err:
        raise ConfigError(f"CHM_SOURCES_FILE: cannot read {path}: {err.strerror}.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"CHM_SOURCES_FILE: cannot read {path}: it is not UTF-8 text.") from None
    except tomllib.TOMLDecodeError as err:
        # It tells the line.
        raise ConfigError(f"{path} is not TOML: {err}.") from None
    for key in content:
        if key != "sources":
            raise ConfigError(f"{path}: {_unknown(key, ('sources',))}")
    tables = content.get("sources", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise ConfigError(f"{path}: sources must hold a table for each source, such as [sources.airflow].")
    lines = text.split("\n")
    return [_read_source(_Where(path, lines, name), table, environ) for name, table in tables.items()]


@dataclass(frozen=True)
class _Where:
    """Where a source stands in the file whose ``lines`` these are: what complaints begin with.

    TOML's reader does not tell. A source that is written in another way than usual is named without its line.
    """

    path: Path
    lines: Sequence[str]
    name: str

    def __str__(self) -> str:
        return self._told(self._head(), "")

    def of(self, setting: str) -> str:
        """Name a setting of the source, and its line; of one that is missing, that of the source."""
        head = self._head()
        its_own = re.compile(rf"""\s*["']?{re.escape(setting)}["']?\s*=""")
        for number, line in enumerate(self.lines[head:], start=head + 1) if head else ():
            if its_own.match(line):
                return self._told(number, f".{setting[:60]}")
            if line.lstrip().startswith("["):
                break
        return self._told(head, f".{setting[:60]}")

    def _head(self) -> int:
        """The number of the line with which the source's table begins; 0 for none."""
        head = re.compile(rf"""\s*\[\s*sources\s*\.\s*["']?{re.escape(self.name)}["']?\s*\]""")
        return next((number for number, line in enumerate(self.lines, start=1) if head.match(line)), 0)

    def _told(self, line: int, setting: str) -> str:
        place = f"{self.path}, line {line}" if line else f"{self.path}"
        return f"{place}: sources.{self.name}{setting}"


def _read_source(where: _Where, table: dict[str, Any], environ: Mapping[str, str]) -> Source:
    name = where.name
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{where}: a source's name has up to 64 letters, digits and . _ -, a letter or digit first.")
    for key in table:
        if key not in _SourceSchema().fields:
            raise ConfigError(f"{where.of(key)}: {_unknown(key, tuple(_SourceSchema().fields))}")
    try:
        values = _SourceSchema().load(table)
    except ValidationError as err:
        key, issue = _first_issue(err)
        raise ConfigError(f"{where.of(key)}: {issue}") from None
    kind = KINDS[values["kind"]]
    _check_credentials(where, values)
    _check_account(where, values)
    values["base_url"] = check_address(
        where.of("base_url"), values["base_url"], credentials="token, or username and password"
    )
    if values.setdefault("page_size", kind.page_size) > kind.max_page_size:
        raise ConfigError(f"{where.of('page_size')}: {values['kind']} gives at most {kind.max_page_size} runs a page.")
    secrets = {key: _look_up(where.of(key), values[key], where.path, environ) for key in _SECRETS if key in values}
    if "token" in secrets:
        check_token(where.of("token"), secrets["token"])
    platforms = tuple(values.pop("platforms", kind.platforms))
    return Source(name=name, platforms=platforms, **{**values, **secrets})


def _check_credentials(where: _Where, values: Mapping[str, Any]) -> None:
    """Refuse credentials that are not what the kind takes."""
    takes = KINDS[values["kind"]].credentials
    if frozenset(key for key in (*_SECRETS, "username") if key in values) not in takes:
        ways = " or ".join(" and ".join(sorted(one, reverse=True)) or "none of them" for one in takes)
        raise ConfigError(f"{where}: {values['kind']} takes as credentials: {ways}.")


def _check_account(where: _Where, values: dict[str, Any]) -> None:
    """Refuse an account where none is meant, none where one is needed, and what is for others than accounts."""
    is_needed = KINDS[values["kind"]].needs_account_id
    if is_needed and "account_id" not in values:
        raise ConfigError(f"{where.of('account_id')}: is missing. {values['kind']} needs the number of the account.")
    if not is_needed and "account_id" in values:
        raise ConfigError(f"{where.of('account_id')}: {values['kind']} takes none.")
    if "concurrency" in values and KINDS[values["kind"]].is_account:
        raise ConfigError(f"{where.of('concurrency')}: {values['kind']} is read by one feed for all pipelines.")
    if is_needed:
        values["account_id"] = str(values["account_id"])


def _look_up(where: str, reference: str, path: Path, environ: Mapping[str, str]) -> str:
    """Give the secret that a reference names. What is no reference is never told: it may be the secret."""
    kind, _, place = reference.partition(":")
    if kind not in ("env", "file") or not place:
        raise ConfigError(
            f'{where} must not be the secret itself. Write "env:NAME" for what stands in an environment variable, or '
            '"file:PATH" for what stands in a file.'
        )
    if kind == "env":
        secret = environ.get(place, "").strip()
    else:
        try:
            secret = (path.parent / place).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as err:
            reason = err.strerror if isinstance(err, OSError) else "it is not UTF-8 text"
            raise ConfigError(f"{where}: cannot read {path.parent / place}: {reason}.") from None
    if not secret:
        raise ConfigError(f"{where}: {'the environment variable' if kind == 'env' else 'the file'} {place} is empty.")
    return secret


def _unknown(key: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(key, known, n=1)
    advice = f"Did you mean {near[0]}?" if near else f"There is: {', '.join(known)}."
    return f"there is no setting {key[:60]!r}. {advice}"


def _first_issue(err: ValidationError) -> tuple[str, str]:
    """The setting of the first complaint, and what is wrong with it."""
    messages = err.messages if isinstance(err.messages, dict) else {"source": err.messages}
    key, issues = next(iter(messages.items()))
    while isinstance(issues, dict):
        issues = next(iter(issues.values()))
    return key, f"{issues[0][:1].lower()}{issues[0][1:].rstrip('.')}."
