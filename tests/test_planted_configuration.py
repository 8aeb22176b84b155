"""Secrets in every setting that holds one, where nothing works: no command, log, error, page or answer tells one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chm_web.access.permissions import Scope
from chm_web.access.tokens import TokenFile
from chm_web.config import ROOT, Config, ConfigError
from tests.ingestion.conftest import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CORE = "Zx9kQ2vLm4Tt7Rw1"
"""Part of every planted secret: where it is found, one was told."""

NOBODY_LISTENS = "127.0.0.1:9"
SOURCES = f"""
[sources.vendor]
kind = "partner"
base_url = "http://{NOBODY_LISTENS}"
token = "env:VENDOR_TOKEN"

[sources.flows]
kind = "airflow"
base_url = "http://{NOBODY_LISTENS}"
username = "chm"
password = "file:flows.password"
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The environment of somebody who has set everything, and whose servers are all away."""
    (tmp_path / "flows.password").write_text(f"{CORE}-flows")
    (tmp_path / "sources.toml").write_text(SOURCES)
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("CHM_")},
        "CHM_DATABASE_URL": f"postgresql://chm:{CORE}-db@{NOBODY_LISTENS}/chm",
        "CHM_REDIS_URL": f"redis://:{CORE}-redis@{NOBODY_LISTENS}/0",
        "CHM_SECRET_KEY": CORE * 3,
        "CHM_SOURCES_FILE": str(tmp_path / "sources.toml"),
        "VENDOR_TOKEN": f"{CORE}-vendor",
        "CHM_PARTNER_API_BASE_URL": f"http://{NOBODY_LISTENS}",
        "CHM_PARTNER_API_TOKEN": f"{CORE}-partner",
        "CHM_HTTP_MAX_RETRIES": "0",
        "CHM_PUBLIC_URL": "http://localhost",
        "CHM_OIDC_ISSUER": f"http://{NOBODY_LISTENS}",
        "CHM_OIDC_CLIENT_ID": "chm",
        "CHM_OIDC_CLIENT_SECRET": f"{CORE}-oidc",
        "CHM_OIDC_ROLES": "viewer=*",
        "CHM_TRUSTED_PROXIES": "10.0.0.5",
        "CHM_PROXY_AUTH_USER_HEADER": "X-Forwarded-User",
        "CHM_PROXY_AUTH_SECRET": CORE * 2,
        "CHM_READER_PASSWORD": f"{CORE}-reader",
        "CHM_USERS_FILE": str(tmp_path / "users.json"),
        "CHM_TOKENS_FILE": str(tmp_path / "tokens.json"),
        "CHM_LOG_LEVEL": "DEBUG",
    }


def said_by(arguments: list[str], environ: dict[str, str]) -> str:
    """All that a program says until it ends."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


COMMANDS = [
    "doctor --json",
    "sources check vendor",
    "sources check flows",
    "ingest",
    "db upgrade",
    "db grant-reader",
    "prune --keep-days 1",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_command_that_cannot_work_tells_no_secret(environ: dict[str, str], command: str) -> None:
    said = said_by(["-m", "chm_web.commands", *command.split()], environ)

    assert said
    assert CORE not in said


# Beside what they answer, the log of the process: all of it goes to the program's output.
ASK = """
import sys
from wsgi import app
browser = app.test_client()
token = {"Authorization": f"Bearer {sys.argv[1]}"}
for path in ("/readyz", "/metrics", "/sign-in", "/sign-in/oidc", "/api/v1/clients", "/api/v1/ingestion/sources",
             "/api/v1/ingestion/jobs", "/api/v1/runs", "/api/v1/nothing"):
    answer = browser.get(path, headers=token if path.startswith(("/api/", "/metrics")) else {})
    print(path, answer.status_code, answer.text)
"""


def test_web_app_whose_servers_are_away_tells_no_secret(environ: dict[str, str], tmp_path: Path) -> None:
    token = TokenFile(tmp_path / "tokens.json").create(name="reader", scope=Scope.READ)

    said = said_by(["-c", ASK, token], environ)

    answered = [line.split()[:2] for line in said.splitlines() if line.startswith(("/api/", "/readyz", "/sign-in"))]
    assert ["/readyz", "503"] in answered
    assert ["/api/v1/clients", "503"] in answered
    assert ["/api/v1/nothing", "404"] in answered
    assert CORE not in said
    assert token not in said


def test_worker_whose_queue_is_away_tells_no_secret(environ: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    with log.open("wb") as output:
        worker = subprocess.Popen([sys.executable, "worker.py"], cwd=ROOT, env=environ, stdout=output, stderr=output)
    try:
        wait_until(lambda: "Redis" in log.read_text() or worker.poll() is not None, seconds=120)
    finally:
        worker.kill()
        worker.wait()

    assert "Redis" in log.read_text()
    assert CORE not in log.read_text()


# Settings that are wrong in the very place where the secret stands.
WRONG = {
    "CHM_DATABASE_URL": f"postgresql://chm:{CORE}@db:port/chm",
    "CHM_REDIS_URL": f"http://:{CORE}@cache",
    "CHM_SECRET_KEY": CORE,
    "CHM_PARTNER_API_BASE_URL": f"https://chm:{CORE}@partner.example",
    "CHM_PARTNER_API_TOKEN": f"{CORE}\n{CORE}",
    "CHM_OIDC_ISSUER": f"https://chm:{CORE}@id.example",
    "CHM_PUBLIC_URL": f"https://chm:{CORE}@chm.example",
    "CHM_PROXY_AUTH_SECRET": CORE,
}


@pytest.mark.parametrize("name", WRONG)
def test_setting_that_is_wrong_is_named_and_not_shown(environ: dict[str, str], name: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Config.from_env({**environ, name: WRONG[name]})

    assert name in str(refused.value)
    assert CORE not in str(refused.value)
