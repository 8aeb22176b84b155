"""The configuration, as it is read from the environment."""

from __future__ import annotations

import re
import subprocess
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import unquote

import pytest
import sqlalchemy as sa
from ssrfguard import Policy

from chm_web import create_app
from chm_web.config import LOOPBACK_HOSTS, ROOT, Config, ConfigError

KEY = "k" * 32
DATABASE = "postgresql://chm:pw@db.internal/chm"
REQUIRED = {"CHM_DATABASE_URL": DATABASE, "CHM_REDIS_URL": "redis://cache.internal:6379/0", "CHM_SECRET_KEY": KEY}


def read(**values: str) -> Config:
    """The configuration of an environment that has what is required, and these values."""
    return Config.from_env({**REQUIRED, **values})


def refused(**values: str) -> str:
    """Why these values are refused."""
    with pytest.raises(ConfigError) as problem:
        read(**values)
    return str(problem.value)


# -- what is required ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("value", [None, "", "  \n"])
def test_missing_variable_is_named_with_what_to_do(name: str, value: str | None) -> None:
    environ = {key: given for key, given in REQUIRED.items() if key != name}
    if value is not None:
        environ[name] = value

    with pytest.raises(ConfigError) as problem:
        Config.from_env(environ)

    message = str(problem.value)
    assert message.startswith(f"{name} is not set.")
    assert f"{name}_FILE" in message
    assert ".env.example" in message


def test_the_process_environment_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)

    assert Config.from_env().secret_key == KEY


def test_other_variables_have_defaults() -> None:
    config = read()

    assert config.allowed_hosts == LOOPBACK_HOSTS
    assert config.partner_api_base_url is None
    assert config.partner_api_token is None
    assert config.partner_api_platforms == ("vendor_api",)
    assert (config.http_connect_timeout_seconds, config.http_timeout_seconds) == (5, 30)
    assert (config.http_max_retries, config.http_backoff_seconds) == (3, 0.5)
    assert config.http_max_requests_per_host == 16
    assert config.max_request_bytes == 16 * 1024 * 1024
    assert config.statement_timeout_seconds == 30
    assert (config.api_rate_limit_per_minute, config.api_docs_public, config.metrics_public) == (1200, False, False)
    assert (config.users_file, config.tokens_file) == (ROOT / ".chm" / "users.json", ROOT / ".chm" / "tokens.json")
    assert (config.session_idle_minutes, config.session_hours) == (480, 24)
    assert (config.behind_tls, config.trusted_proxies, config.log_level) == (False, (), "INFO")


def test_every_variable_is_taken() -> None:
    config = read(
        CHM_ALLOWED_HOSTS="chm.example, .internal ,LOCALHOST",
        CHM_STATEMENT_TIMEOUT_SECONDS="0",
        CHM_PARTNER_API_BASE_URL="https://partner.example/api/",
        CHM_PARTNER_API_TOKEN="tok",
        CHM_PARTNER_API_PLATFORMS="vendor_api,Custom",
        CHM_HTTP_CONNECT_TIMEOUT_SECONDS="1.5",
        CHM_HTTP_TIMEOUT_SECONDS="2",
        CHM_HTTP_MAX_RETRIES="0",
        CHM_HTTP_BACKOFF_SECONDS="0",
        CHM_HTTP_MAX_RESPONSE_BYTES="1000",
        CHM_HTTP_MAX_REQUESTS_PER_HOST="5",
        CHM_PARTNER_PAGE_SIZE="7",
        CHM_INGEST_EVERY_SECONDS="60",
        CHM_MAX_REQUEST_BYTES="2000",
        CHM_USERS_FILE="/etc/chm/users.json",
        CHM_TOKENS_FILE="/etc/chm/tokens.json",
        CHM_BEHIND_TLS="yes",
        CHM_TRUSTED_PROXIES="10.0.0.5, 10.1.0.0/16, ::1",
        CHM_SESSION_IDLE_MINUTES="30",
        CHM_SESSION_HOURS="12",
        CHM_LOG_LEVEL="debug",
        CHM_API_RATE_LIMIT_PER_MINUTE="10",
        CHM_API_DOCS_PUBLIC="Yes",
        CHM_DESTINATION_NETWORKS="10.20.0.0/16, fd00:20::/64",
        CHM_DESTINATION_PORTS="443, 8443",
        CHM_METRICS_PUBLIC="on",
    )

    assert config == Config(
        database_url="postgresql+psycopg://chm:pw@db.internal/chm",
        redis_url="redis://cache.internal:6379/0",
        secret_key=KEY,
        allowed_hosts=("chm.example", ".internal", "localhost"),
        partner_api_base_url="https://partner.example/api",
        partner_api_token="tok",
        partner_api_platforms=("vendor_api", "custom"),
        http_connect_timeout_seconds=1.5,
        http_timeout_seconds=2.0,
        http_max_retries=0,
        http_backoff_seconds=0.0,
        http_max_response_bytes=1000,
        http_max_requests_per_host=5,
        partner_page_size=7,
        ingest_every_seconds=60,
        max_request_bytes=2000,
        statement_timeout_seconds=0,
        users_file=Path("/etc/chm/users.json"),
        tokens_file=Path("/etc/chm/tokens.json"),
        behind_tls=True,
        trusted_proxies=(ip_network("10.0.0.5"), ip_network("10.1.0.0/16"), ip_network("::1")),
        session_idle_minutes=30,
        session_hours=12,
        log_level="DEBUG",
        api_rate_limit_per_minute=10,
        api_docs_public=True,
        outgoing=Policy(
            allowed_networks=(ip_network("10.20.0.0/16"), ip_network("fd00:20::/64")),
            allowed_ports=frozenset({443, 8443}),
        ),
        metrics_public=True,
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CHM_DESTINATION_PORTS", "https"),
        ("CHM_DESTINATION_PORTS", "0"),
        ("CHM_DESTINATION_PORTS", "443, 70000"),
        ("CHM_DESTINATION_NETWORKS", "mattermost.internal"),
        # Every IPv4 address can be written in it, this machine's among them.
        ("CHM_DESTINATION_NETWORKS", "64:ff9b::/96"),
    ],
)
def test_destinations_that_nobody_can_have_meant(variable: str, value: str) -> None:
    assert refused(**{variable: value}).startswith(f"{variable} ")


def test_destinations_are_what_is_public_at_the_ports_of_the_web() -> None:
    assert read().outgoing == Policy(allowed_networks=(), allowed_ports=frozenset({80, 443}))


@pytest.mark.parametrize("value", [",", " , ,"])
def test_list_of_nothing_is_refused_since_it_would_allow_every_host(value: str) -> None:
    assert refused(CHM_ALLOWED_HOSTS=value).startswith("CHM_ALLOWED_HOSTS")


def test_unknown_platform_is_refused_by_the_app_with_those_that_there_are() -> None:
    config = read(CHM_PARTNER_API_BASE_URL="https://partner.example", CHM_PARTNER_API_PLATFORMS="vendor_api,jenkins")

    with pytest.raises(ConfigError, match=r"CHM_PARTNER_API_PLATFORMS.*jenkins.*airflow"):
        create_app(config)


# -- files --------------------------------------------------------------------------------------------------------


def test_value_may_stand_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"  {KEY}ü\n", encoding="utf-8")
    environ = {**REQUIRED, "CHM_SECRET_KEY_FILE": str(path)}
    del environ["CHM_SECRET_KEY"]

    assert Config.from_env(environ).secret_key == f"{KEY}ü"


def test_numbers_may_stand_in_a_file_too(tmp_path: Path) -> None:
    path = tmp_path / "timeout"
    path.write_text("12\n", encoding="utf-8")

    assert read(CHM_HTTP_TIMEOUT_SECONDS_FILE=str(path)).http_timeout_seconds == 12


def test_value_and_file_together_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY, encoding="utf-8")

    assert refused(CHM_SECRET_KEY_FILE=str(path)) == (
        "CHM_SECRET_KEY and CHM_SECRET_KEY_FILE are both set. Keep one of them."
    )


def test_empty_file_counts_as_not_set(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("\n", encoding="utf-8")

    assert refused(CHM_SECRET_KEY="", CHM_SECRET_KEY_FILE=str(path)).startswith("CHM_SECRET_KEY is not set.")


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nothing"

    message = refused(CHM_PARTNER_API_TOKEN_FILE=str(path))

    assert message == f"CHM_PARTNER_API_TOKEN_FILE: cannot read {path}: No such file or directory."


def test_directory_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    assert refused(CHM_PARTNER_API_TOKEN_FILE=str(tmp_path)).startswith("CHM_PARTNER_API_TOKEN_FILE: cannot read")


def test_file_that_is_no_text_is_refused_without_showing_it(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_bytes(b"hunter2\xff\xfe")

    message = refused(CHM_PARTNER_API_TOKEN_FILE=str(path))

    assert message == f"CHM_PARTNER_API_TOKEN_FILE: cannot read {path}: it is not UTF-8 text."


# -- yes or no ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "meant"), [("yes", True), ("TRUE", True), ("1", True), ("no", False), ("off", False)]
)
def test_yes_and_no_are_understood(value: str, meant: bool) -> None:
    assert read(CHM_API_DOCS_PUBLIC=value).api_docs_public is meant


def test_what_is_neither_yes_nor_no_is_refused() -> None:
    assert refused(CHM_API_DOCS_PUBLIC="maybe") == "CHM_API_DOCS_PUBLIC must be yes or no, not 'maybe'."


# -- numbers ------------------------------------------------------------------------------------------------------

POSITIVE_NUMBERS = ["CHM_HTTP_TIMEOUT_SECONDS", "CHM_HTTP_CONNECT_TIMEOUT_SECONDS"]
POSITIVE_WHOLE = [
    "CHM_INGEST_EVERY_SECONDS",
    "CHM_PARTNER_PAGE_SIZE",
    "CHM_HTTP_MAX_RESPONSE_BYTES",
    "CHM_HTTP_MAX_REQUESTS_PER_HOST",
    "CHM_MAX_REQUEST_BYTES",
]
FROM_ZERO = ["CHM_HTTP_MAX_RETRIES", "CHM_HTTP_BACKOFF_SECONDS", "CHM_API_RATE_LIMIT_PER_MINUTE"]
NO_NUMBERS = ["nan", "inf", "-inf", "Infinity", "-1", "-0.5", "ten", "1,5", "0x10", "1 2", "9" * 4000]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: value[:9])
@pytest.mark.parametrize("name", [*POSITIVE_NUMBERS, *POSITIVE_WHOLE, *FROM_ZERO])
def test_bad_number_is_refused_with_its_name(name: str, value: str) -> None:
    assert refused(**{name: value}).startswith(f"{name} must be a")


@pytest.mark.parametrize("name", [*POSITIVE_NUMBERS, *POSITIVE_WHOLE])
def test_zero_is_refused_where_it_means_nothing(name: str) -> None:
    assert "greater than 0" in refused(**{name: "0"})


@pytest.mark.parametrize("name", FROM_ZERO)
def test_zero_is_taken_where_it_means_none(name: str) -> None:
    read(**{name: "0"})

    assert "at least 0" in refused(**{name: "-1"})


@pytest.mark.parametrize("name", [*POSITIVE_WHOLE, "CHM_HTTP_MAX_RETRIES"])
def test_fraction_is_refused_where_whole_numbers_count(name: str) -> None:
    assert "a whole number" in refused(**{name: "1.5"})


# -- addresses ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "postgres"])
def test_address_of_postgresql_is_taken_under_each_of_its_names(scheme: str) -> None:
    config = read(CHM_DATABASE_URL=f"{scheme}://chm:pw@db:5433/chm?sslmode=require")

    assert config.database_url == "postgresql+psycopg://chm:pw@db:5433/chm?sslmode=require"


@pytest.mark.parametrize("scheme", ["mysql", "sqlite", "postgresql+psycopg2", "postgresql+asyncpg", "mysql+pymysql"])
def test_another_database_is_refused(scheme: str) -> None:
    message = refused(CHM_DATABASE_URL=f"{scheme}://chm:hunter2@db/chm")

    assert message == f"CHM_DATABASE_URL must start with postgresql://, not {scheme}://."


@pytest.mark.parametrize("value", ["nothing", "://", "postgresql:/db", "postgresql://u:p@h:hunter2/db"])
def test_address_that_is_none_is_refused_without_showing_it(value: str) -> None:
    message = refused(CHM_DATABASE_URL=value)

    assert message.startswith("CHM_DATABASE_URL")
    assert "hun" not in message


@pytest.mark.parametrize("password", ["p%40ss%3Aw%2Ford", "a%25b%23c%3F", "%C3%BC%20x", "p%2Bq", "a/b:c"])
def test_password_with_special_characters_survives(password: str) -> None:
    given = f"postgresql://chm:{password}@db/chm"

    assert sa.make_url(read(CHM_DATABASE_URL=given).database_url).password == unquote(password)


@pytest.mark.parametrize("password", ["p@ss", "p@s@s"])
def test_password_that_is_not_encoded_is_refused_with_what_to_do(password: str) -> None:
    message = refused(CHM_DATABASE_URL=f"postgresql://chm:{password}@db/chm")

    assert "must be percent-encoded (@ is %40)" in message
    assert "ss" not in message.replace("password", "").replace("address", "")


def test_socket_of_postgresql_is_taken() -> None:
    url = sa.make_url(read(CHM_DATABASE_URL="postgresql:///chm?host=/run/postgresql").database_url)

    assert (url.database, dict(url.query)) == ("chm", {"host": "/run/postgresql"})


@pytest.mark.parametrize("value", ["redis://h/0", "rediss://u:p@h:6380/1", "unix:///run/redis.sock?db=2"])
def test_address_of_redis_is_taken(value: str) -> None:
    assert read(CHM_REDIS_URL=value).redis_url == value


@pytest.mark.parametrize(
    "value", ["http://h", "localhost:6379", "redis:/h", "redis://h:hunter2/0", "redis://:hun/ter2@h"]
)
def test_bad_address_of_redis_is_refused_without_showing_it(value: str) -> None:
    message = refused(CHM_REDIS_URL=value)

    assert message.startswith("CHM_REDIS_URL")
    assert "hun" not in message


@pytest.mark.parametrize(
    "value", ["ftp://h", "partner.example", "//partner.example", "http://", "https:///api", "http://h:port"]
)
def test_bad_address_of_the_partner_is_refused(value: str) -> None:
    assert refused(CHM_PARTNER_API_BASE_URL=value).startswith("CHM_PARTNER_API_BASE_URL must")


# -- secrets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 31])
def test_short_secret_key_is_refused_with_how_to_make_one(length: int) -> None:
    message = refused(CHM_SECRET_KEY="k" * length)

    assert "CHM_SECRET_KEY needs at least 32 characters" in message
    assert "python3 -c 'import secrets; print(secrets.token_urlsafe(48))'" in message
    assert "k" * 31 not in message


def test_secrets_are_not_in_the_repr() -> None:
    shown = repr(
        read(
            CHM_DATABASE_URL="postgresql://chm:hunter2@db/chm",
            CHM_REDIS_URL="redis://:hunter2@cache",
            CHM_SECRET_KEY="hunter2" * 5,
            CHM_PARTNER_API_TOKEN="hunter2",
            CHM_PARTNER_API_BASE_URL="https://partner.example",
        )
    )

    assert "hunter2" not in shown
    assert "partner.example" in shown


def test_two_configurations_cannot_be_mixed_up_by_changing_one() -> None:
    config = read()

    with pytest.raises(AttributeError):
        config.secret_key = "other"  # type: ignore[misc]


def test_partner_address_with_a_password_is_refused() -> None:
    with pytest.raises(ConfigError, match="must not hold a name or password"):
        Config.from_env({**REQUIRED, "CHM_PARTNER_API_BASE_URL": "https://user:hunter2@partner.example/api"})


def test_every_password_counts_as_a_secret() -> None:
    config = Config.from_env(
        {
            "CHM_DATABASE_URL": "postgresql://chm@db/chm?password=in%20query",
            "CHM_REDIS_URL": "redis://:p%40ss%20word@redis/0",
            "CHM_SECRET_KEY": KEY,
            "CHM_PARTNER_API_TOKEN": "the-token",
        }
    )
    assert {KEY, "the-token", "in query", "p@ss word", "p%40ss%20word"} <= set(config.secrets())


# -- the example --------------------------------------------------------------------------------------------------


def test_example_says_the_same_to_a_shell_as_to_whoever_reads_it() -> None:
    lines = [line.lstrip("#") for line in (ROOT / ".env.example").read_text().splitlines() if re.match("#?CHM_", line)]
    names = [line.partition("=")[0] for line in lines]
    script = "\n".join([*lines, *(f'printf "%s\\0" "${name}"' for name in names)])

    done = subprocess.run(["/bin/sh", "-euc", script], capture_output=True, text=True, check=True, env={})

    meant = [line.partition("=")[2].strip('"') for line in lines]
    assert done.stderr == ""
    assert done.stdout.split("\0")[:-1] == meant
