"""``chm doctor``: where all is well, and configurations and files that are not."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

import pytest

from chm_web.access.permissions import Scope
from chm_web.access.tokens import TokenFile
from chm_web.commands.doctor import examine
from chm_web.commands.doctor_files import FREE_MUST, FREE_SHOULD, judge_space
from chm_web.services.diagnosis import Level
from tests.doctor.conftest import Environ, trouble, troubles


def test_where_all_is_well_every_check_says_so(environ: Environ) -> None:
    checks = [found.check for found in examine(environ)]

    assert troubles(environ) == []
    told = ["configuration", "database", "rights", "clock", "migrations", "redis", "ingestion"]
    assert checks == [*told, "users", "tokens", "secrets", "disk"]


# -- configuration ------------------------------------------------------------------------------------------------


def test_a_variable_that_is_missing(environ: Environ) -> None:
    del environ["CHM_SECRET_KEY"]
    check, level, message = trouble(environ)
    assert (check, level) == ("configuration", Level.FAIL)
    assert message.startswith("CHM_SECRET_KEY is not set.")


def test_a_platform_that_there_is_not(environ: Environ) -> None:
    environ["CHM_PARTNER_API_PLATFORMS"] = "abacus"
    assert trouble(environ)[2].startswith("CHM_PARTNER_API_PLATFORMS: 'abacus'")


def test_passwords_that_travel_openly(environ: Environ) -> None:
    environ["CHM_ALLOWED_HOSTS"] = "chm.example"
    check, level, message = trouble(environ)
    assert (check, level) == ("configuration", Level.WARN)
    assert message.startswith("CHM is reached as chm.example without TLS")


def test_no_source(environ: Environ) -> None:
    del environ["CHM_PARTNER_API_BASE_URL"]
    assert trouble(environ)[:2] == ("ingestion", Level.WARN)


@pytest.fixture
def sources(environ: Environ, tmp_path: Path) -> Path:
    """A file of sources in place of the one partner."""
    del environ["CHM_PARTNER_API_BASE_URL"]
    environ["CHM_SOURCES_FILE"] = str(tmp_path / "sources.toml")
    return tmp_path / "sources.toml"


def test_sources_of_a_file_are_sources(environ: Environ, sources: Path) -> None:
    sources.write_text('[sources.vendor]\nkind = "partner"\nbase_url = "http://127.0.0.1:9"\n')
    assert troubles(environ) == []


def test_a_sources_secret_that_everybody_may_read(environ: Environ, sources: Path) -> None:
    sources.write_text('[sources.v]\nkind = "partner"\nbase_url = "http://127.0.0.1:9"\ntoken = "file:token"\n')
    token = sources.with_name("token")
    token.write_text(secrets.token_hex(16))
    token.chmod(0o604)
    assert trouble(environ) == ("secrets", Level.WARN, f"Everybody on this machine may read {token}.")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "CHM_SOURCES_FILE: cannot read "),
        ("[sources.vendor", "sources.toml is not TOML: "),
        ('[sources.vendor]\nkind = "partnr"\nbase_url = "http://x"', "sources.vendor.kind: must be one of: "),
        (
            '[sources.vendor]\nkind = "partner"\nbase_url = "http://x"\ntoken = "env:NO_SUCH_TOKEN"',
            "sources.vendor.token: the environment variable NO_SUCH_TOKEN is empty.",
        ),
        (
            '[sources.vendor]\nkind = "partner"\nbase_url = "http://x"\ntoken = "file:gone"',
            "sources.vendor.token: cannot read ",
        ),
    ],
)
def test_a_file_of_sources_that_cannot_work(environ: Environ, sources: Path, text: str | None, said: str) -> None:
    if text is not None:
        sources.write_text(text)
    check, level, message = trouble(environ)
    assert (check, level) == ("configuration", Level.FAIL)
    assert said in message


def test_destinations_that_nobody_can_have_meant(environ: Environ) -> None:
    environ["CHM_DESTINATION_PORTS"] = "https"
    assert trouble(environ)[2].startswith("CHM_DESTINATION_PORTS must list ports")


# -- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("variable", "what"), [("CHM_USERS_FILE", "users"), ("CHM_TOKENS_FILE", "tokens")])
def test_credentials_that_others_may_read(environ: Environ, variable: str, what: str) -> None:
    file = Path(environ[variable])
    if what == "tokens":
        TokenFile(file).create(name="loader", scope=Scope.INGEST)
    file.chmod(0o644)
    assert trouble(environ) == (what, Level.WARN, f"Others than its owner have rights to {file}.")


@pytest.mark.parametrize("variable", ["CHM_USERS_FILE", "CHM_TOKENS_FILE"])
def test_a_damaged_file_of_credentials(environ: Environ, variable: str) -> None:
    Path(environ[variable]).write_text('{"entries": {"mi')
    _, level, message = trouble(environ)
    assert level is Level.FAIL
    assert message.endswith("is damaged.")


def test_nobody_who_could_sign_in(environ: Environ) -> None:
    Path(environ["CHM_USERS_FILE"]).unlink()
    assert trouble(environ) == ("users", Level.WARN, "Nobody can sign in yet.")


def test_a_secret_that_everybody_may_read(environ: Environ, tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text(environ.pop("CHM_SECRET_KEY"))
    secret.chmod(0o644)
    environ["CHM_SECRET_KEY_FILE"] = str(secret)
    check, level, message = trouble(environ)
    assert (check, level) == ("secrets", Level.WARN)
    assert message == f"Everybody on this machine may read CHM_SECRET_KEY_FILE ({secret})."


def test_the_space_is_that_of_the_disk_where_chm_writes(environ: Environ, tmp_path: Path) -> None:
    told = next(found for found in examine(environ) if found.check == "disk")
    assert told.message.endswith(f"GiB are free at {tmp_path}.")
    assert shutil.disk_usage(tmp_path).free > 0


@pytest.mark.parametrize(
    ("free", "level"),
    [(FREE_SHOULD, Level.OK), (FREE_SHOULD - 1, Level.WARN), (FREE_MUST, Level.WARN), (FREE_MUST - 1, Level.FAIL)],
)
def test_a_disk_that_fills(tmp_path: Path, free: int, level: Level) -> None:
    assert judge_space(tmp_path, free=free).level is level
