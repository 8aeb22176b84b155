"""Configuration: read from ``CHM_*`` variables once, typed, refused when it cannot work.

Every variable may also be given as ``NAME_FILE``, the path of a file that holds the value, so that secrets need
not stand in the environment. Behaviour depends on the values alone, never on the name of an environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from ssrfguard import Policy

from chm_web.config_reader import ConfigError, Network, Reader
from chm_web.config_sign_in import (
    OidcSettings,
    ProxySignInSettings,
    read_oidc,
    read_proxy_sign_in,
    read_public_url,
)

__all__ = ["LOOPBACK_HOSTS", "ROOT", "Config", "ConfigError", "OidcSettings", "ProxySignInSettings"]

ROOT = Path(__file__).resolve().parent.parent
"""The repository: templates, static files and migrations stand beside the package."""

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
MIN_SECRET_KEY_LENGTH = 32
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_ENCODE = " Characters such as @ : / # in a password must be percent-encoded (@ is %40)."


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
    sources_file: Path | None = None
    http_connect_timeout_seconds: float = 5.0
    http_timeout_seconds: float = 30.0
    http_max_retries: int = 3
    http_backoff_seconds: float = 0.5
    http_max_response_bytes: int = 32 * 1024 * 1024
    http_max_requests_per_host: int = 16
    partner_page_size: int = 500
    ingest_every_seconds: int = 300
    max_request_bytes: int = 16 * 1024 * 1024
    statement_timeout_seconds: int = 30
    log_level: str = "INFO"
    users_file: Path = ROOT / ".chm" / "users.json"
    tokens_file: Path = ROOT / ".chm" / "tokens.json"
    behind_tls: bool = False
    trusted_proxies: tuple[Network, ...] = ()
    shared_look_seconds: float = 3.0
    session_idle_minutes: int = 8 * 60
    session_hours: int = 24
    api_rate_limit_per_minute: int = 1200
    api_docs_public: bool = False
    metrics_public: bool = False
    public_url: str | None = None
    oidc: OidcSettings | None = None
    proxy_sign_in: ProxySignInSettings | None = None
    outgoing: Policy = field(default_factory=Policy)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Config:
        """Read the configuration from ``environ`` (default: the process's environment).

        Raises:
            ConfigError: a required variable is missing, a value cannot be read, or a ``*_FILE`` cannot be opened.
        """
        read = Reader(os.environ if environ is None else environ)
        allowed_hosts = read.list("CHM_ALLOWED_HOSTS", default=cls.allowed_hosts)
        trusted_proxies = read.networks("CHM_TRUSTED_PROXIES")
        public_url = read_public_url(read, allowed_hosts)
        return cls(
            database_url=_database_url(read.required("CHM_DATABASE_URL")),
            redis_url=_redis_url(read.required("CHM_REDIS_URL")),
            secret_key=_secret_key(read.required("CHM_SECRET_KEY")),
            allowed_hosts=allowed_hosts,
            partner_api_base_url=read.address("CHM_PARTNER_API_BASE_URL", credentials="CHM_PARTNER_API_TOKEN"),
            partner_api_token=read.token("CHM_PARTNER_API_TOKEN"),
            partner_api_platforms=read.list("CHM_PARTNER_API_PLATFORMS", default=cls.partner_api_platforms),
            sources_file=read.path("CHM_SOURCES_FILE"),
            http_connect_timeout_seconds=read.number(
                "CHM_HTTP_CONNECT_TIMEOUT_SECONDS", float, cls.http_connect_timeout_seconds
            ),
            http_timeout_seconds=read.number("CHM_HTTP_TIMEOUT_SECONDS", float, cls.http_timeout_seconds),
            http_max_retries=read.number("CHM_HTTP_MAX_RETRIES", int, cls.http_max_retries, or_zero=True),
            http_backoff_seconds=read.number("CHM_HTTP_BACKOFF_SECONDS", float, cls.http_backoff_seconds, or_zero=True),
            http_max_response_bytes=read.number("CHM_HTTP_MAX_RESPONSE_BYTES", int, cls.http_max_response_bytes),
            http_max_requests_per_host=read.number(
                "CHM_HTTP_MAX_REQUESTS_PER_HOST", int, cls.http_max_requests_per_host
            ),
            partner_page_size=read.number("CHM_PARTNER_PAGE_SIZE", int, cls.partner_page_size),
            ingest_every_seconds=read.number("CHM_INGEST_EVERY_SECONDS", int, cls.ingest_every_seconds),
            max_request_bytes=read.number("CHM_MAX_REQUEST_BYTES", int, cls.max_request_bytes),
            statement_timeout_seconds=read.number(
                "CHM_STATEMENT_TIMEOUT_SECONDS", int, cls.statement_timeout_seconds, or_zero=True
            ),
            log_level=read.choice("CHM_LOG_LEVEL", LOG_LEVELS, default=cls.log_level),
            users_file=read.path("CHM_USERS_FILE") or cls.users_file,
            tokens_file=read.path("CHM_TOKENS_FILE") or cls.tokens_file,
            behind_tls=read.flag("CHM_BEHIND_TLS"),
            trusted_proxies=trusted_proxies,
            shared_look_seconds=read.number("CHM_SHARED_LOOK_SECONDS", float, cls.shared_look_seconds, or_zero=True),
            session_idle_minutes=read.number("CHM_SESSION_IDLE_MINUTES", int, cls.session_idle_minutes),
            session_hours=read.number("CHM_SESSION_HOURS", int, cls.session_hours),
            api_rate_limit_per_minute=read.number(
                "CHM_API_RATE_LIMIT_PER_MINUTE", int, cls.api_rate_limit_per_minute, or_zero=True
            ),
            api_docs_public=read.flag("CHM_API_DOCS_PUBLIC"),
            metrics_public=read.flag("CHM_METRICS_PUBLIC"),
            public_url=public_url,
            oidc=read_oidc(read, public_url),
            proxy_sign_in=read_proxy_sign_in(read, trusted_proxies),
            outgoing=_outgoing(read),
        )

    def secrets(self) -> tuple[str | None, ...]:
        """Give everything in here that must never be shown, stored or logged."""
        database, redis = make_url(self.database_url), urlsplit(self.redis_url)
        in_queries = (database.query.get("password"), *parse_qs(redis.query).get("password", []))
        passwords = (database.password, unquote(redis.password or ""), redis.password, *in_queries)
        sign_in = (
            self.oidc.client_secret if self.oidc else None,
            self.proxy_sign_in.secret if self.proxy_sign_in else None,
        )
        return (self.secret_key, self.partner_api_token, *sign_in, *(str(password or "") for password in passwords))


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


def _outgoing(read: Reader) -> Policy:
    """Where messages may go whose addresses users typed: what is public, and the networks that are named."""
    ports = read.list("CHM_DESTINATION_PORTS", default=("80", "443"))
    if not all(port.isdecimal() and 0 < int(port) < 65536 for port in ports):
        raise ConfigError(f"CHM_DESTINATION_PORTS must list ports such as 80, 443, not {', '.join(ports)[:40]!r}.")
    networks = read.networks("CHM_DESTINATION_NETWORKS")
    try:
        return Policy(allowed_networks=networks, allowed_ports=frozenset(int(port) for port in ports))
    except ValueError as err:
        raise ConfigError(f"CHM_DESTINATION_NETWORKS cannot be used: {err}.") from None


def _secret_key(value: str) -> str:
    if len(value) < MIN_SECRET_KEY_LENGTH:
        raise ConfigError(
            f"CHM_SECRET_KEY needs at least {MIN_SECRET_KEY_LENGTH} characters. Make one with: "
            "python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"
        )
    return value
