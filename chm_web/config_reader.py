"""Reads the values of configuration from an environment, each by its variable's name, which every complaint names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")
Network = IPv4Network | IPv6Network

_FLAGS = {"yes": True, "true": True, "1": True, "on": True, "no": False, "false": False, "0": False, "off": False}


class ConfigError(Exception):
    """The configuration cannot work. The message names the variable and says what to do."""


class Reader:
    """Looks a variable up, by value or by ``*_FILE``, and names it in every complaint."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, name: str) -> str | None:
        path = self._environ.get(f"{name}_FILE")
        if path:
            if self._environ.get(name):
                raise ConfigError(f"{name} and {name}_FILE are both set. Keep one of them.")
            try:
                return Path(path).read_text(encoding="utf-8").strip() or None
            except OSError as err:
                raise ConfigError(f"{name}_FILE: cannot read {path}: {err.strerror}.") from None
            except UnicodeDecodeError:
                raise ConfigError(f"{name}_FILE: cannot read {path}: it is not UTF-8 text.") from None
        return self._environ.get(name, "").strip() or None

    def required(self, name: str) -> str:
        value = self.text(name)
        if value is None:
            raise ConfigError(f"{name} is not set. Set it, or {name}_FILE to a file that holds it (see .env.example).")
        return value

    def token(self, name: str) -> str | None:
        """A token as ``check_token`` takes it."""
        value = self.text(name)
        return None if value is None else check_token(name, value)

    def path(self, name: str) -> Path | None:
        """The path of a file that CHM itself keeps: no value is read from it here."""
        value = self._environ.get(name, "").strip()
        return Path(value).expanduser().absolute() if value else None

    def networks(self, name: str) -> tuple[Network, ...]:
        value = self.text(name) or ""
        try:
            return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())
        except ValueError as err:
            raise ConfigError(f"{name} must list addresses or networks such as 10.0.0.5, 10.1.0.0/16: {err}.") from None

    def choice(self, name: str, choices: tuple[str, ...], *, default: str) -> str:
        value = (self.text(name) or default).upper()
        if value not in choices:
            raise ConfigError(f"{name} must be one of {', '.join(choices)}, not {value[:40]!r}.")
        return value

    def flag(self, name: str) -> bool:
        value = (self.text(name) or "no").lower()
        if value not in _FLAGS:
            raise ConfigError(f"{name} must be yes or no, not {value[:40]!r}.")
        return _FLAGS[value]

    def list(self, name: str, *, default: tuple[str, ...]) -> tuple[str, ...]:
        value = self.text(name)
        if value is None:
            return default
        parts = tuple(part.strip().lower() for part in value.split(",") if part.strip())
        if not parts:
            # An empty list of hosts would allow every host.
            raise ConfigError(f"{name} names nothing. Give names with commas between them, or leave it unset.")
        return parts

    def number(self, name: str, convert: Callable[[str], T], default: T, *, or_zero: bool = False) -> T:
        value = self.text(name)
        if value is None:
            return default
        try:
            number = convert(value)
            size = float(number)  # type: ignore[arg-type]
            in_range = 0 < size < float("inf") or (or_zero and size == 0)
        except (ValueError, OverflowError):
            in_range = False
        if not in_range:
            kind = "a whole number" if convert is int else "a number"
            bound = "of at least 0" if or_zero else "greater than 0"
            raise ConfigError(f"{name} must be {kind} {bound}, not {value[:40]!r}.")
        return number

    def address(self, name: str, *, credentials: str | None = None) -> str | None:
        """An address as ``check_address`` takes it. ``credentials``: the variable where those go."""
        value = self.text(name)
        return None if value is None else check_address(name, value, credentials=credentials)

    def none_of(self, prefix: str, *, without: str) -> None:
        """Refuse variables that begin with ``prefix``: they mean nothing where ``without`` is not set."""
        for name, value in self._environ.items():
            if name.startswith(prefix) and value.strip():
                raise ConfigError(f"{name} is set, but {without} is not. Set that too, or leave both unset.")


def check_token(name: str, value: str) -> str:
    """Give a token that a header of HTTP can carry.

    Raises:
        ConfigError: none can. What refuses it later would quote it in a form in which nobody knows it as a secret.
    """
    if not value.isascii() or not value.isprintable():
        raise ConfigError(
            f"{name} must be one line of ASCII characters: no header of HTTP can carry anything else. "
            "Check that it is the token and nothing beside it."
        )
    return value


def check_address(name: str, value: str, *, credentials: str | None = None) -> str:
    """Give an address of http or https without a slash at its end.

    Args:
        name: what the complaint calls it.
        value: the address.
        credentials: where a name and a password go instead.

    Raises:
        ConfigError: it is none, or holds a name or password.
    """
    try:
        parts = urlsplit(value)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    if not whole:
        raise ConfigError(f"{name} must be an address that starts with http:// or https://.")
    if "@" in parts.netloc:
        # An address is shown on pages and in logs; a password in it would be too.
        instead = f" Use {credentials}." if credentials else ""
        raise ConfigError(f"{name} must not hold a name or password.{instead}")
    return value.rstrip("/")
