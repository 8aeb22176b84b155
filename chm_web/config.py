"""Configuration: read from ``CHM_*`` variables once, typed, refused when it cannot work.

Every variable may also be given as ``NAME_FILE``, the path of a file that holds the value, so that secrets need
not stand in the environment. Behaviour depends on the values alone, never on the name of an environment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

T = TypeVar("T")
Network = IPv4Network | IPv6Network

ROOT = Path(__file__).resolve().parent.parent
"""The repository: templates, static files and migrations stand beside the package."""

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
MIN_SECRET_KEY_LENGTH = 32
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_FLAGS = {"yes": True, "true": True, "1": True, "on": True, "no": False, "false": False, "0": False, "off": False}
_ENCODE = " Characters such as @ : / # in a password must be percent-encoded (@ is %40)."


class ConfigError(Exception):
    """The configuration cannot work. The message names the variable and says what to do."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything CHM can be told from outside. Secrets are kept out of ``repr``."""

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    secret_key: str = field(repr=False)
    allowed_hosts: tuple[str, ...] = LOOPBACK_HOSTS
    partner_api_base_url: str | None = None
    partner_api_token: str | None = field(default=None, repr=False)
    partner_api_platforms: tuple[str, ...] = ("vendor_api",)
    http_connect_timeout_seconds: float = 5.0
    http_timeout_seconds: float = 30.0
    http_max_retries: int = 3
    http_backoff_seconds: float = 0.5
    http_max_response_bytes: int = 32 * 1024 * 1024
    partner_page_size: int = 500
    max_request_bytes: int = 16 * 1024 * 1024
    log_level: str = "INFO"
    users_file: Path = ROOT / ".chm" / "users.json"
    tokens_file: Path = ROOT / ".chm" / "tokens.json"
    behind_tls: bool = False
    trusted_proxies: tuple[Network, ...] = ()
    session_idle_minutes: int = 8 * 60
    session_hours: int = 24
    api_rate_limit_per_minute: int = 1200
    api_docs_public: bool = False

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Config:
        """Read the configuration from ``environ`` (default: the process's environment).

        Raises:
            ConfigError: a required variable is missing, a value cannot be read, or a ``*_FILE`` cannot be opened.
        """
        read = _Reader(os.environ if environ is None else environ)
        return cls(
            database_url=_database_url(read.required("CHM_DATABASE_URL")),
            redis_url=_redis_url(read.required("CHM_REDIS_URL")),
            secret_key=_secret_key(read.required("CHM_SECRET_KEY")),
            allowed_hosts=read.list("CHM_ALLOWED_HOSTS", default=LOOPBACK_HOSTS),
            partner_api_base_url=_http_url(read.text("CHM_PARTNER_API_BASE_URL")),
            partner_api_token=read.text("CHM_PARTNER_API_TOKEN"),
            partner_api_platforms=read.list("CHM_PARTNER_API_PLATFORMS", default=("vendor_api",)),
            http_connect_timeout_seconds=read.number("CHM_HTTP_CONNECT_TIMEOUT_SECONDS", float, 5.0),
            http_timeout_seconds=read.number("CHM_HTTP_TIMEOUT_SECONDS", float, 30.0),
            http_max_retries=read.number("CHM_HTTP_MAX_RETRIES", int, 3, or_zero=True),
            http_backoff_seconds=read.number("CHM_HTTP_BACKOFF_SECONDS", float, 0.5, or_zero=True),
            http_max_response_bytes=read.number("CHM_HTTP_MAX_RESPONSE_BYTES", int, 32 * 1024 * 1024),
            partner_page_size=read.number("CHM_PARTNER_PAGE_SIZE", int, 500),
            max_request_bytes=read.number("CHM_MAX_REQUEST_BYTES", int, 16 * 1024 * 1024),
            log_level=read.choice("CHM_LOG_LEVEL", LOG_LEVELS, default="INFO"),
            users_file=read.path("CHM_USERS_FILE") or cls.users_file,
            tokens_file=read.path("CHM_TOKENS_FILE") or cls.tokens_file,
            behind_tls=read.flag("CHM_BEHIND_TLS"),
            trusted_proxies=read.networks("CHM_TRUSTED_PROXIES"),
            session_idle_minutes=read.number("CHM_SESSION_IDLE_MINUTES", int, 8 * 60),
            session_hours=read.number("CHM_SESSION_HOURS", int, 24),
            api_rate_limit_per_minute=read.number("CHM_API_RATE_LIMIT_PER_MINUTE", int, 1200, or_zero=True),
            api_docs_public=read.flag("CHM_API_DOCS_PUBLIC"),
        )

    def secrets(self) -> tuple[str | None, ...]:
        """Give everything in here that must never be shown, stored or logged."""
        database, redis = make_url(self.database_url), urlsplit(self.redis_url)
        in_queries = (database.query.get("password"), *parse_qs(redis.query).get("password", []))
        passwords = (database.password, unquote(redis.password or ""), redis.password, *in_queries)
        return (self.secret_key, self.partner_api_token, *(str(password or "") for password in passwords))


class _Reader:
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


def _database_url(value: str) -> str:
    """Accept ``postgresql://`` too: SQLAlchemy would take it for psycopg2, which is not installed."""
    try:
        url = make_url(value)
    except (ArgumentError, ValueError):
        raise ConfigError(
            f"CHM_DATABASE_URL is not an address like postgresql://user@host/database.{_ENCODE}"
        ) from None
    if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise ConfigError(f"CHM_DATABASE_URL must start with postgresql://, not {url.drivername}://.")
    if "@" in (url.host or ""):
        raise ConfigError(f"CHM_DATABASE_URL has two @.{_ENCODE}")
    return url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def _redis_url(value: str) -> str:
    if not value.startswith(("redis://", "rediss://", "unix://")):
        raise ConfigError("CHM_REDIS_URL must start with redis://, rediss:// or unix://.")
    try:
        _ = urlsplit(value).port
    except ValueError:
        raise ConfigError(f"CHM_REDIS_URL is not an address like redis://host:6379/0.{_ENCODE}") from None
    return value


def _secret_key(value: str) -> str:
    if len(value) < MIN_SECRET_KEY_LENGTH:
        raise ConfigError(
            f"CHM_SECRET_KEY needs at least {MIN_SECRET_KEY_LENGTH} characters. Make one with: "
            "python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"
        )
    return value


def _http_url(value: str | None) -> str | None:
    if value is None:
        return None
    try:
        parts = urlsplit(value)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    if not whole:
        raise ConfigError("CHM_PARTNER_API_BASE_URL must be an address that starts with http:// or https://.")
    if "@" in parts.netloc:
        # An address is shown on pages and in logs; a password in it would be too.
        raise ConfigError("CHM_PARTNER_API_BASE_URL must not hold a name or password. Use CHM_PARTNER_API_TOKEN.")
    return value.rstrip("/")
