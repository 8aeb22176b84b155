"""Redaction: what must go, what must stay, and that neither takes long."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from chm_web.services.redaction import REDACTED, is_sensitive_name, is_suspect, redact_text, redact_value
from chm_web.services.run_values import clean_payload, clean_text

S = "Zx9kQ2vLm4Tt7Rw1"
"""What must not survive, wherever it stands in a case below."""

JWT = f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.{S}"

# Secrets in running text. None of their parts in {{}} may be read afterwards.
SECRETS: dict[str, str] = {
    "bearer": f"Authorization: Bearer {S}",
    "bearer in any case": f"sent bearer {S} to the API",
    "basic": f"Authorization: Basic {S}==",
    "authorization of letters alone": "Authorization: Basic ZxkQvLmTtRwS",
    "authorization of another kind": f"authorization: ApiKey {S}",
    "authorization of parts": f'Authorization: Digest username="etl", response="{S}"',
    "token": f"Authorization: token {S}",
    "JSON web token": f"got {JWT} back",
    "JSON web token without a signature": f"got eyJhbGciOiJub25lIn0.{S} back",
    "AWS key id": "key AKIAIOSFODNN7EXAMPLE is not authorised",
    "AWS session key id": "ASIAIOSFODNN7EXAMPLE",
    "AWS secret": f"aws_secret_access_key={S}",
    "AWS secret in the environment": f"AWS_SECRET_ACCESS_KEY = {S}",
    "signed address": f"https://bucket.s3.amazonaws.com/x?X-Amz-Signature={S}&X-Amz-Date=20261101",
    "signed address of Azure": f"https://a.blob.core.windows.net/x?sv=2024&sig={S}%3D&se=2026",
    "GitHub": "remote: ghp_Zx9kQ2vLm4Tt7Rw1Zx9kQ2vLm4Tt7Rw1abcd",
    "GitHub, fine-grained": "github_pat_11AAAAAAA0Zx9kQ2vLm4Tt_7Rw1Zx9kQ2vLm4Tt7Rw1",
    "GitLab": f"glpat-{S}abcd",
    "Slack": f"xoxb-123456789012-{S}",
    "Stripe": f"sk_live_{S}",
    "OpenAI": f"sk-proj-{S}",
    "Google": f"AIza{S}{S}abc",
    "private key": f"-----BEGIN PRIVATE KEY-----\n{S}\n{S}\n-----END PRIVATE KEY-----",
    "private RSA key": f"-----BEGIN RSA PRIVATE KEY-----\n{S}\n-----END RSA PRIVATE KEY-----",
    "private OpenSSH key that is cut": f"-----BEGIN OPENSSH PRIVATE KEY-----\n{S}\n{S}",
    "private PGP key": f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{S}\n-----END PGP PRIVATE KEY BLOCK-----",
    "password in an address": f"postgresql://etl:{S}@db/x",
    "password with @ in an address": f"postgresql://etl:{S}@{S}@db/x",
    "password with : in an address": f"amqp://etl:{S}:{S}@mq:5672/",
    "password without a user": f"redis://:{S}@cache/0",
    "token in a git address": f"https://oauth2:{S}@git.example/x.git",
    "connection string": f"Server=db;User Id=etl;Password={S};Encrypt=yes",
    "connection string, short": f"Driver=x;Uid=etl;Pwd={S};",
    "connection string with blanks": f"Password = {S} ;",
    "libpq": f"host=db user=etl password={S} dbname=x",
    "libpq, quoted": f"host=db password='{S} {S}' dbname=x",
    "Azure storage": f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={S}==;EndpointSuffix=x",
    "Azure service bus": f"Endpoint=sb://x/;SharedAccessKeyName=root;SharedAccessKey={S}",
    "api_key in text": f"calling with api_key={S} failed",
    "api-key header": f"X-Api-Key: {S}",
    "apikey in an address": f"GET https://partner.example/v1?apikey={S}&page=2",
    "token in an address": f"GET https://partner.example/v1?access_token={S}&page=2",
    "client secret": f"client_secret={S}",
    "secret key": f"SECRET_KEY={S}",
    "secret key of Django": f"DJANGO_SECRET_KEY: '{S}'",
    "passphrase": f"passphrase: {S}",
    "passwd": f"passwd={S}",
    "JSON": f'{{"user": "etl", "password": "{S}"}}',
    "JSON with blanks in the value": f'{{"password": "{S} {S}", "user": "etl"}}',
    "JSON with a quote in the value": f'{{"password": "a\\"{S}", "user": "etl"}}',
    "JSON within JSON": json.dumps(json.dumps({"password": f"{S} {S}", "user": "etl"})),
    "Python's dict": f"{{'api_key': '{S}', 'page': 2}}",
    "Ruby's hash": f'{{:password=>"{S}"}}',
    "YAML": f"user: etl\npassword: {S}\nhost: db",
    "cookie": f"Cookie: session={S}; csrftoken={S}",
    "cookie that is set": f"Set-Cookie: sid={S}; Path=/; HttpOnly",
    "session id": f"session_id={S}",
    "headers of requests": f"{{'Cookie': 'sid={S}', 'Accept': '*/*'}}",
    "environment": f"PGPASSWORD={S} psql -h db",
    "value that pretends to be redacted": f"password=[redacted]{S}",
    "header that is redacted in part": f"Cookie: [redacted]; sid={S}",
    "option of a command": f"mysql --password={S} -h db",
}


@pytest.mark.parametrize("case", SECRETS)
def test_secret_does_not_survive(case: str) -> None:
    text = SECRETS[case]

    for given in (text, f"before {text} after", f"line\n{text}\nline", f"{text} {text}"):
        redacted = redact_text(given)
        assert REDACTED in redacted
        for secret in (S, "ZxkQvLmTtRwS", "IOSFODNN7", "7Rw1Zx9k", "7Rw1"):
            assert secret not in redacted


@pytest.mark.parametrize("case", SECRETS)
def test_secret_does_not_survive_in_a_payload(case: str) -> None:
    encoded = clean_payload({"log": SECRETS[case], "lines": [{"a": [SECRETS[case]]}], SECRETS[case]: 1})

    assert encoded is not None
    assert b"7Rw1" not in encoded
    assert b"IOSFODNN7" not in encoded
    assert b"ZxkQvLmTtRwS" not in encoded


@pytest.mark.parametrize("of", ["live", "test", "proj", "ant"])
@pytest.mark.parametrize("dash", ["-", "_"])
@pytest.mark.parametrize("kind", ["sk", "pk", "rk"])
def test_key_of_any_kind_does_not_survive(kind: str, dash: str, of: str) -> None:
    assert redact_text(f"with {kind}{dash}{of}{dash}{S}") == f"with {REDACTED}"


def test_names_that_only_look_like_keys_are_not_suspect() -> None:
    assert not is_suspect('{"task_id": 1, "disk_usage": 2, "mark_done": 3, "fork-1": 4}')


@pytest.mark.parametrize("case", SECRETS)
def test_redacting_twice_changes_nothing(case: str) -> None:
    once = redact_text(SECRETS[case])

    assert redact_text(once) == once


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("host=db password=x1 dbname=y", "host=db password=[redacted] dbname=y"),
        ("postgresql://etl:p@ss@db:5432/x?a=b", "postgresql://etl:[redacted]@db:5432/x?a=b"),
        ('{"password": "x", "rows": 5}', '{"password": [redacted], "rows": 5}'),
        ("Password=x1;Encrypt=yes", "Password=[redacted];Encrypt=yes"),
        ("GET /v1?apikey=x1&page=2", "GET /v1?apikey=[redacted]&page=2"),
        ("Cookie: sid=x1; a=b\nHost: db", "Cookie: [redacted]\nHost: db"),
        ("401 for Authorization: Bearer x1 at /v1", "401 for Authorization: Bearer [redacted] at /v1"),
        ("Authorization: Digest a=x1, b=y1\r\nHost: db", "Authorization: [redacted]\r\nHost: db"),
        ("{'Authorization': 'Bearer x1', 'Accept': 'a'}", "{'Authorization': [redacted], 'Accept': 'a'}"),
    ],
)
def test_what_stands_around_a_secret_survives(given: str, expected: str) -> None:
    assert redact_text(given) == expected


@pytest.mark.parametrize("quote", ['"', "'", '\\"'])
def test_value_whose_quote_was_cut_off_does_not_survive(quote: str) -> None:
    assert redact_text(f"password={quote}{S} {S}\nnext") == "password=[redacted]\nnext"


HARMLESS = [
    "",
    "token bucket empty",
    "primary key violation",
    'duplicate key value violates unique constraint "orders_pkey"',
    "the secretary called",
    "Secretary: Mr. Smith",
    "input_tokens: 512, output_tokens=128, max_tokens = 4096",
    "token_count=17",
    "basic auth is not supported",
    "password expired",
    "invalid password for user etl",
    "the secret was not found",
    "no credentials given",
    "unexpected token < in JSON at position 0",
    "SyntaxError: Unexpected token 'export'",
    "https://partner.example:8443/runs?page=2",
    "http://db:5432/orders, mail ops@example.com",
    "ops@example.com",
    "git@github.com:acme/etl.git",
    "2026-11-01T12:00:00Z ERROR orders: 5 rows",
    "KeyError: 'customer_id'",
    "session closed",
    "monkey=banana, keyboard: dead",
    "task-1 sk-1 pk_1",
    "0190a5b4-7e1c-7c3a-8f7e-1234567890ab",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    "author: Jane; authority: none",
    "cookies are disabled",
    "authorization failed for user etl",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_text_survives(text: str) -> None:
    assert redact_text(text) == text


# -- fields by name -----------------------------------------------------------------------------------------------

SENSITIVE_NAMES = [
    *("password", "PASSWORD", "db_password", "passwd", "passphrase", "pwd", "user_pwd", "secret", "client_secret"),
    *("secretKey", "token", "access_token", "refreshToken", "api_key", "apikey", "api-key", "X-Api-Key", "accessKey"),
    *("private_key", "Authorization", "credentials", "cookie", "Set-Cookie", "session_id", "sessionid", "dsn"),
    *("connection_string", "sentry_dsn", "signature", "auth"),
]


@pytest.mark.parametrize("name", SENSITIVE_NAMES)
@pytest.mark.parametrize("value", ["plain", 12345, 1.5, {"a": "plain"}, ["plain"], [["plain"]]], ids=str)
def test_value_of_a_sensitive_field_does_not_survive(name: str, value: Any) -> None:
    for payload in ({name: value}, {"outer": {name: value}}, {"list": [{name: value}]}):
        encoded = clean_payload(payload)
        assert encoded is not None
        text = encoded.decode()
        assert REDACTED in text
        assert "plain" not in text
        assert "12345" not in text
        assert "1.5" not in text


HARMLESS_FIELDS: dict[str, Any] = {
    "input_tokens": 512,
    "output_tokens": 128,
    "total_tokens": 640,
    "max_tokens": 4096,
    "prompt_tokens": 500,
    "completion_tokens": 140,
    "token_count": 17,
    "token_type": "word",
    "tokens_used": 9,
    "rows": 5,
    "author": "Jane",
    "keyboard": "dead",
    "primary_key": "id",
    "monkey": "banana",
    "has_password": None,
    "password": None,
    "token": "",
    "uses_token": True,
    "uses_secret": False,
}


@pytest.mark.parametrize("name", HARMLESS_FIELDS)
def test_value_of_a_harmless_field_survives(name: str) -> None:
    value = HARMLESS_FIELDS[name]

    encoded = clean_payload({name: value, "outer": {name: value}})

    assert encoded is not None
    assert json.loads(encoded) == {name: value, "outer": {name: value}}


def test_name_decides_before_the_shape_of_the_value() -> None:
    assert redact_value("password", "Bearer x") == REDACTED
    assert redact_value("log", f"Bearer {S}") == f"Bearer {REDACTED}"
    assert redact_value("rows", 5) == 5


def test_secret_beside_half_a_surrogate_pair_does_not_survive() -> None:
    assert redact_text(f"\ud800 password={S}") == f"\ud800 password={REDACTED}"
    assert redact_text("\ud800 and nothing else") == "\ud800 and nothing else"


def test_every_sensitive_name_is_suspect() -> None:
    # A payload without a suspect word is not looked at any further.
    assert all(is_sensitive_name(name) and is_suspect(name) for name in SENSITIVE_NAMES)


def test_secret_at_the_end_of_a_very_long_text_does_not_survive_its_cut() -> None:
    text = clean_text("x" * 31_990 + f" password={S}" + "y" * 10_000, "error_message")

    assert text is not None
    assert "7Rw1" not in text
    assert "Zx9k" not in text
    assert len(text) < 32_100


# -- time ---------------------------------------------------------------------------------------------------------

N = 64_000
ADVERSARIAL: dict[str, str] = {
    "a.a.a.": "a." * (N // 2),
    "one word": "a" * N,
    "one word, quoted": '"' + "a" * N,
    "words with dashes": "a-" * (N // 2),
    "://": "://" * 20_000,
    "://a:": "://a:" * (N // 5),
    "://a:a…": "://" + "a:" * (N // 2),
    "://a…": "://" + "a" * N,
    ":// and @": "://a:b@" * (N // 7),
    "password": "password" * 8_000,
    "password=": "password=" * (N // 9),
    "password, blanks": "password " * (N // 9),
    "password, many blanks": ("password" + " " * 100) * (N // 108),
    "password, open quotes": 'password="' * (N // 10),
    "password, escaped quotes": 'password="\\" ' * (N // 13),
    "password, open quotes of two kinds": "password='\" " * (N // 12),
    "password, backslashes": 'password="' + "\\" * N,
    "password, escaped backslashes and line ends": ('password="' + "\\\n") * (N // 12),
    "password, escaped names": 'password\\": \\"a ' * (N // 16),
    "password, only backslashes between": ("password" + "\\" * 50) * (N // 58),
    "secret_key": "secret_key_" * (N // 11),
    "begin of keys": "-----BEGIN PRIVATE KEY-----" * 2_000,
    "half begins of keys": "-----BEGIN " * (N // 11),
    "begin and blanks": "-----BEGIN" + " A" * (N // 2),
    "dashes": "-" * N,
    "eyJ": "eyJ" * (N // 3),
    "eyJ-": "eyJ-" * (N // 4),
    "eyJ.": "eyJaaaaaaaa." * (N // 12),
    "eyJ-.": "eyJ-eyJ-eyJ-." * (N // 13),
    "bearer": "bearer " * (N // 7),
    "bearer and blanks": "bearer" + " " * N,
    "bearer, much": "bearer " + "a" * N,
    "token -": "token -" * (N // 7),
    "AKIA": "AKIA" * (N // 4),
    "ghp_": "ghp_" * (N // 4),
    "xoxb-": "xoxb-" * (N // 5),
    "sk-live-": "sk-live-" * (N // 8),
    "AIza": "AIza-" * (N // 5),
    "glpat-": "glpat-" * (N // 6),
    "cookie": "cookie: " * (N // 8),
    "cookie=": "cookie='" * (N // 8),
    "authorization": "authorization" * (N // 13),
    "authorization:": 'authorization: "' * (N // 16),
    "?sig=": "?sig=" * (N // 5),
    "blanks": "key" + " " * N,
    "line ends": "key" + "\n" * N,
    "quotes": "key" + "\"'" * (N // 2),
    "NUL": "key" + "\0" * N,
}


@pytest.mark.parametrize("case", ADVERSARIAL)
def test_time_stays_linear_in_a_text_that_means_harm(case: str) -> None:
    text = ADVERSARIAL[case]
    # A suspect word at the end makes sure that the text is looked at.
    started = time.perf_counter()

    redact_text(f"{text} key")

    assert time.perf_counter() - started < 2


@pytest.mark.parametrize("case", ["a.a.a.", "one word", "://", "password", "begin of keys", "eyJ-", "password="])
def test_time_stays_linear_in_a_payload_that_means_harm(case: str) -> None:
    text = ADVERSARIAL[case]
    started = time.perf_counter()

    clean_payload({"key": {"a": text[:30_000], "b": [text[:30_000]]}})

    assert time.perf_counter() - started < 2
