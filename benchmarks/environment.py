"""What a benchmark runs on: PostgreSQL and Redis with a year of runs in them, kept from one time to the next."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import flask_migrate
import psycopg
from flask import Flask
from rich.console import Console
from sqlalchemy import text
from sqlalchemy.engine import make_url

from chm_web import create_app
from chm_web.commands.bench import seed_database
from chm_web.config import Config
from chm_web.embedded import embedded_services
from chm_web.extensions import db

PARTNER_TOKEN = "benchmark-token-of-no-value"  # noqa: S105 - guards made-up data on the loopback interface
SESSION_NAME = "chm bench"
"""What the database calls the benchmarks' own sessions."""

BENCH_MARK = "bench-"
"""What the external ids of all runs begin with that benchmarks write: so that leftovers can be swept away."""

_OURS = ("Bench client ", "Benchmark ")
"""What the names of clients begin with: the seeded ones, and those of single benchmarks."""

MAX_AGE = timedelta(hours=1)
"""How old the newest run may be. A fleet that has told nothing for longer is another one: most of it is late."""


class BenchError(Exception):
    """The benchmarks cannot run. The message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a benchmark is given. ``environ`` is for the processes it starts."""

    app: Flask
    environ: dict[str, str] = field(repr=False)
    data_dir: Path
    console: Console
    quick: bool
    profile: bool

    @property
    def database_url(self) -> str:
        """The database, as psycopg takes it."""
        return make_url(self.environ["CHM_DATABASE_URL"]).set(drivername="postgresql").render_as_string(False)

    @property
    def redis_url(self) -> str:
        """Redis."""
        return self.environ["CHM_REDIS_URL"]

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection[Any]]:
        """Open a connection in autocommit mode, beside the app's own."""
        with psycopg.connect(self.database_url, autocommit=True, application_name=SESSION_NAME) as connection:
            yield connection

    def say(self, message: str) -> None:
        """Tell how far it has come."""
        self.console.print(message, markup=False, highlight=False)

    def vacuum(self) -> None:
        """Give back what deleted rows leave behind, so that every round meets the same table."""
        with self.connect() as connection:
            connection.execute("VACUUM (INDEX_CLEANUP ON, ANALYZE) runs")

    def rebuild_indexes(self) -> None:
        """Leave the indexes as dense as they were: a million rows of the last days that come and go thin them out."""
        with self.connect() as connection:
            connection.execute("REINDEX TABLE runs")
        self.vacuum()


@contextmanager
def open_bench(
    data_dir: Path, *, runs: int, console: Console, quick: bool, profile: bool, fresh: bool
) -> Iterator[Bench]:
    """Start or reach the servers, migrate, and seed the database if it is empty.

    With CHM_DATABASE_URL and CHM_REDIS_URL set those servers are used; what benchmarks write they take away again.
    Else each number of runs has servers of its own below ``data_dir``, set as those of ``chm demo`` are (durable).

    Args:
        data_dir: where those servers keep their data.
        runs: how many runs to seed.
        console: where to tell how far it has come.
        quick: few rounds.
        profile: also profile.
        fresh: whether runs must not be older than ``MAX_AGE``; ours are made up anew then.

    Raises:
        BenchError: the database holds something else than seeded data, or is another's and its runs are too old.
        EmbeddedError: the servers cannot start.
    """
    database_url, redis_url = os.environ.get("CHM_DATABASE_URL"), os.environ.get("CHM_REDIS_URL")
    data_dir = data_dir.resolve() / str(runs)
    with embedded_services(data_dir, postgres=not database_url, redis=not redis_url) as services:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("CHM_")} | {
            "CHM_DATABASE_URL": database_url or services.database_url,
            "CHM_REDIS_URL": redis_url or services.redis_url,
            "CHM_SECRET_KEY": secrets.token_hex(32),
        }
        app = create_app(Config.from_env(environ), session_name=SESSION_NAME)
        bench = Bench(app=app, environ=environ, data_dir=data_dir, console=console, quick=quick, profile=profile)
        with app.app_context():
            flask_migrate.upgrade()
            _fill(bench, runs, fresh=fresh, is_ours=not database_url)
            yield bench


def _fill(bench: Bench, runs: int, *, fresh: bool, is_ours: bool) -> None:
    """Seed the database, or sweep what a benchmark that was killed left in one that was seeded just now."""
    with bench.connect() as connection:
        names = [str(name) for (name,) in connection.execute("SELECT name FROM clients").fetchall()]
        if not all(name.startswith(_OURS) for name in names):
            raise BenchError("This database was not filled by chm bench seed. Name an empty one.")
        if names:
            connection.execute("DELETE FROM runs WHERE starts_with(external_run_id, %s)", (BENCH_MARK,))
            age = age_of_runs()
            if age is not None and (age <= MAX_AGE or not fresh):
                bench.vacuum()
                return
            if not is_ours:
                raise BenchError("The runs of this database are too old for what is measured. Name an empty one.")
            bench.say("The runs are too old for what is measured, or gone: all is made up anew.")
            connection.execute("TRUNCATE clients, pipelines, runs, alert_rules")
    started = time.monotonic()
    seed_database(bench.console, runs=runs)
    bench.say(f"Seeded {runs:,} runs in {time.monotonic() - started:.0f} s.")


def age_of_runs() -> timedelta | None:
    """How old the newest run is; None when there are no runs."""
    newest: datetime | None = db.session.scalar(text("SELECT max(event_at) FROM runs"))
    db.session.commit()
    return None if newest is None else datetime.now(UTC) - newest


def count_runs() -> int:
    """How many runs the table holds."""
    count: int = db.session.scalar(text("SELECT count(*) FROM runs")) or 0
    db.session.commit()
    return count
