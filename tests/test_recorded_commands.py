"""The record of what is changed on the command line: real commands, and the lines that they leave."""

from __future__ import annotations

import dataclasses
import json
import os
import pty
import pwd
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import flask_migrate
import pytest
import sqlalchemy as sa
from flask import Flask

from chm_web.config import ROOT, Config
from chm_web.extensions import db
from chm_web.models import Client, RunStatus
from tests.configured import app_of
from tests.conftest import new_database
from tests.factories import make_pipeline, make_run
from tests.processes import bare_environ, environ_of

# Most of the time is spent in starting commands.
pytestmark = pytest.mark.slow

WHO = f"cli:{pwd.getpwuid(os.getuid()).pw_name}"
PASSWORD = "correct horse battery"
HIDDEN = "[redacted]"

Chm = Callable[..., subprocess.CompletedProcess[str]]


def run_chm(environ: dict[str, str], *arguments: str, told: str = "") -> subprocess.CompletedProcess[str]:
    """Run ``chm`` where nobody looks on, as a unit of systemd or a container does."""
    command = [sys.executable, "-m", "chm_web.commands", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environ, input=told, capture_output=True, text=True, check=False)


def changes_of(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """The lines of the record of changes that a command has left; each says when, who and by which command."""
    assert done.returncode == 0, done.stderr
    assert '"chm.audit"' not in done.stdout
    found = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    for line in found:
        assert (line.pop("logger"), line.pop("level"), line.pop("by")) == ("chm.audit", "INFO", WHO)
        assert datetime.fromisoformat(line.pop("time")) > datetime.now(UTC) - timedelta(minutes=5)
        del line["message"]
    return found


# -- files of credentials -------------------------------------------------------------------------------------------


@pytest.fixture
def chm(tmp_path: Path) -> Chm:
    """Runs ``chm`` with files of users and tokens, and without any other configuration."""
    environ = bare_environ()
    environ |= {"CHM_USERS_FILE": str(tmp_path / "users.json"), "CHM_TOKENS_FILE": str(tmp_path / "tokens.json")}
    # Whoever changes the variables of their shell stays who they are.
    environ |= {"USER": "somebody-else", "LOGNAME": "somebody-else"}
    return lambda *arguments, told="": run_chm(environ, *arguments, told=told)


def test_a_users_life_is_recorded_without_passwords_and_links(chm: Chm) -> None:
    added = chm("users", "add", "Mira", "--role", "viewer", "--password-stdin", told=f"{PASSWORD}\n")
    raised = chm("users", "role", "mira", "admin")
    changed = chm("users", "password", "Mira")
    linked = chm("users", "link", "Mira")
    removed = chm("users", "remove", "Mira")

    mira = {"kind": "user", "called": "Mira"}
    [line] = changes_of(added)
    given = {"role": [None, "viewer"], "password_hash": [None, HIDDEN]}
    assert line == {"command": "chm users add", "action": "create", **mira, "changes": given}
    [line] = changes_of(raised)
    assert line == {"command": "chm users role", "action": "update", **mira, "changes": {"role": ["viewer", "admin"]}}
    [line] = changes_of(changed)
    renewed = {"password_hash": [HIDDEN, HIDDEN]}
    assert line == {"command": "chm users password", "action": "update", **mira, "changes": renewed}
    [line] = changes_of(linked)
    before, until = line["changes"].pop("link_until")
    assert (line["command"], line["changes"], before) == ("chm users link", {}, None)
    assert datetime.fromisoformat(until) > datetime.now(UTC) + timedelta(hours=23)
    [line] = changes_of(removed)
    assert (line["command"], line["action"], line["called"]) == ("chm users remove", "delete", "Mira")
    assert line["changes"]["role"] == ["admin", None]

    said = "".join(done.stderr for done in (added, raised, changed, linked, removed))
    for secret in (PASSWORD, changed.stdout.strip(), linked.stdout.strip().rpartition("/")[2]):
        assert len(secret) > 10
        assert secret not in said
    assert "scrypt" not in said


def test_a_tokens_life_is_recorded_and_the_token_alone_stands_on_standard_output(chm: Chm) -> None:
    made = chm("tokens", "create", "loader", "--scope", "ingest", "--days", "30")
    revoked = chm("tokens", "revoke", "loader")

    [secret] = made.stdout.splitlines()
    [line] = changes_of(made)
    before, until = line["changes"].pop("expires_at")
    loader = {"kind": "API token", "called": "loader"}
    assert line == {
        "command": "chm tokens create",
        "action": "create",
        **loader,
        "changes": {"scope": [None, "ingest"]},
    }
    assert before is None
    assert datetime.fromisoformat(until) > datetime.now(UTC) + timedelta(days=29)
    [line] = changes_of(revoked)
    assert (line["command"], line["action"]) == ("chm tokens revoke", "delete")
    assert line["changes"] == {"scope": ["ingest", None], "expires_at": [until, None]}
    assert revoked.stdout == ""
    assert secret not in made.stderr + revoked.stderr


@pytest.mark.parametrize("arguments", [("users", "list"), ("tokens", "list"), ("--help",)])
def test_what_changes_nothing_leaves_no_line(chm: Chm, arguments: tuple[str, ...]) -> None:
    assert changes_of(chm(*arguments)) == []


def test_what_is_refused_leaves_no_line(chm: Chm) -> None:
    done = chm("users", "role", "nobody", "admin")

    assert done.returncode == 1
    assert "{" not in done.stderr


# -- the database ---------------------------------------------------------------------------------------------------


@pytest.fixture
def site(committed_app: Flask, config: Config) -> Chm:
    """Runs ``chm`` on the database of ``committed_app``."""
    return lambda *arguments: run_chm(environ_of(config), *arguments)


@pytest.fixture
def other(servers: tuple[str, str], config: Config) -> Iterator[tuple[Flask, Chm]]:
    """CHM on a migrated database of its own, and what runs ``chm`` on it."""
    with new_database(servers[0]) as url:
        there = dataclasses.replace(config, database_url=url)
        with app_of(there) as app:
            flask_migrate.upgrade()
            yield app, lambda *arguments: run_chm(environ_of(there), *arguments)


def test_an_import_is_recorded_row_by_row_and_signed(site: Chm, tmp_path: Path) -> None:
    file = tmp_path / "inventory.csv"
    file.write_text("client,name,platform,pipeline_type\nAcme,orders,airflow,ingestion\n")

    tried, done = site("import", str(file), "--dry-run"), site("import", str(file))

    assert changes_of(tried) == []
    client, pipeline = changes_of(done)
    assert (client["command"], client["action"], client["table"]) == ("chm import", "create", "clients")
    assert client["changes"]["name"] == [None, "Acme"]
    assert (pipeline["table"], pipeline["changes"]["name"]) == ("pipelines", [None, "orders"])
    assert db.session.scalars(sa.select(Client.updated_by)).all() == [WHO]


def test_what_is_pruned_is_recorded_by_its_number(site: Chm) -> None:
    pipeline = make_pipeline()
    for days in (100, 90, 80):
        ended = datetime.now(UTC) - timedelta(days=days)
        make_run(pipeline, status=RunStatus.SUCCESS, started_at=ended - timedelta(minutes=1), finished_at=ended)

    assert changes_of(site("prune", "--keep-days", "30", "--dry-run")) == []
    [line] = changes_of(site("prune", "--keep-days", "30"))

    assert line == {"command": "chm prune", "action": "prune runs", "counts": {"removed": 2}}


def test_a_run_of_dbt_is_recorded(site: Chm) -> None:
    run_results = ROOT / "tests/ingestion/captures/dbt_core/run_results_error.json"

    [line] = changes_of(site("ingest", "dbt-artifact", str(run_results), "--pipeline", str(make_pipeline().id)))

    counts = {"created": 1, "updated": 0}
    assert line == {"command": "chm ingest dbt-artifact", "action": "report runs", "counts": counts}


def test_a_readers_life_is_recorded_without_its_password(site: Chm) -> None:
    name = f"chm_reader_{os.getpid()}"
    try:
        made = site("db", "grant-reader", "--role", name)
        again = site("db", "grant-reader", "--role", name)
        widened = site("db", "grant-reader", "--role", name, "--with-error-texts", "--statement-timeout", "60")
        renewed = site(
            "db", "grant-reader", "--role", name, "--with-error-texts", "--statement-timeout", "60", "--new-password"
        )
    finally:
        gone = site("db", "grant-reader", "--role", name, "--revoke")

    reader = {"command": "chm db grant-reader", "kind": "database role", "called": name}
    [line] = changes_of(made)
    before, may_read = line["changes"].pop("may_read")
    changes = {"statement_timeout": [None, "30s"], "password": [None, HIDDEN]}
    assert line == {**reader, "action": "create", "changes": changes}
    assert before is None
    assert "runs" in may_read.split(", ")
    assert "run_errors" not in may_read
    assert changes_of(again) == []
    [line] = changes_of(widened)
    before, after = (set(names.split(", ")) for names in line["changes"].pop("may_read"))
    assert line == {**reader, "action": "update", "changes": {"statement_timeout": ["30s", "60s"]}}
    assert after - before == {"run_errors"}
    [line] = changes_of(renewed)
    assert line == {**reader, "action": "update", "changes": {"password": [HIDDEN, HIDDEN]}}
    [line] = changes_of(gone)
    assert (line["action"], line["changes"]["statement_timeout"]) == ("delete", ["60s", None])
    for done in (made, renewed):
        [password] = done.stdout.splitlines()
        assert password not in done.stderr


def test_migrations_are_recorded_by_where_they_lead(other: tuple[Flask, Chm]) -> None:
    app, chm = other

    down, up, again = chm("db", "downgrade"), chm("db", "upgrade"), chm("db", "upgrade")
    script = chm("db", "upgrade", "--sql")

    [line] = changes_of(down)
    newest, before = line["changes"]["migration"]
    named = {"kind": "database", "called": sa.make_url(app.config["CHM"].database_url).database}
    changes = {"migration": [newest, before]}
    assert line == {"command": "chm db downgrade", "action": "downgrade", **named, "changes": changes}
    [line] = changes_of(up)
    assert (line["action"], line["changes"]) == ("upgrade", {"migration": [before, newest]})
    assert changes_of(again) == changes_of(script) == []
    assert newest in script.stdout


def test_made_up_data_and_a_restore_are_recorded(other: tuple[Flask, Chm], tmp_path: Path) -> None:
    app, chm = other
    file = tmp_path / "chm.dump"

    seeded = chm("bench", "seed", "--runs", "10", "--clients", "1", "--pipelines", "2")
    saved, restored = chm("backup", str(file)), chm("restore", str(file), "--force")

    [line] = changes_of(seeded)
    counts = {"clients": 1, "pipelines": 2, "runs": 10}
    assert line == {"command": "chm bench seed", "action": "seed made-up data", "counts": counts}
    assert changes_of(saved) == []
    [line] = changes_of(restored)
    named = {"kind": "database", "called": sa.make_url(app.config["CHM"].database_url).database}
    changes = {"contents": ["what it held", f"the backup {file}"]}
    assert line == {"command": "chm restore", "action": "restore", **named, "changes": changes}


# -- somebody at a terminal -----------------------------------------------------------------------------------------

AT_TERMINAL = """
import sys
from chm_web import logs
from chm_web.commands import cli
logs.record_changes(sys.argv.pop(1))
cli(prog_name="chm")
"""


def at_terminal(environ: dict[str, str], *command: str) -> tuple[int, str]:
    """Run a command whose standard error is a terminal; gives its exit status and what is read there."""
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=theirs, check=False
    )
    os.close(theirs)
    said = b""
    try:
        while part := os.read(ours, 65536):
            said += part
    except OSError:
        # What Linux says at the end of what a terminal was told.
        pass
    finally:
        os.close(ours)
    return done.returncode, said.decode()


@pytest.mark.parametrize("listens", [True, False])
def test_at_a_terminal_the_record_goes_to_the_machines_log_if_there_is_one(tmp_path: Path, listens: bool) -> None:
    environ = {**bare_environ(), "CHM_TOKENS_FILE": str(tmp_path / "tokens.json"), "PYTHONPATH": str(ROOT)}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as machine_log:
        machine_log.settimeout(10)
        address = str(tmp_path / "log")
        if listens:
            machine_log.bind(address)

        status, said = at_terminal(environ, "-c", AT_TERMINAL, address, "tokens", "create", "x", "--scope", "read")

        assert status == 0, said
        assert said.startswith("Token x, scope read, valid until it is revoked.")
        assert len(said.splitlines()) == 2
        if listens:
            received = machine_log.recv(65536).decode().rstrip("\0")
            # authpriv, info: 10 * 8 + 6.
            assert received.startswith("<86>chm: {")
            line = json.loads(received.partition(" ")[2])
            assert (line["command"], line["by"], line["called"]) == ("chm tokens create", WHO, "x")
