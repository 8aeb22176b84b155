"""``chm bench``: made-up data at the size of a real deployment."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import psycopg
from flask.cli import with_appcontext
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from chm_web.bench import Fleet, History, NotEmpty, load, make_fleet
from chm_web.commands.actor import command_line_actor
from chm_web.commands.explained import explained
from chm_web.extensions import db
from chm_web.services.audit import log_report
from chm_web.services.schema import check_migrations


@click.group()
def bench() -> None:
    """Made-up data at the size of a real deployment."""


@bench.command()
@click.option("--runs", type=click.IntRange(min=0), required=True, help="Number of runs.")
@click.option("--clients", type=click.IntRange(min=1), default=200, show_default=True, help="Number of clients.")
@click.option("--pipelines", type=click.IntRange(min=1), default=10_000, show_default=True, help="Number of pipelines.")
@click.option("--days", type=click.IntRange(1, 3650), default=365, show_default=True, help="Days the runs go back.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same number makes up the same data.")
@with_appcontext
@explained
def seed(runs: int, clients: int, pipelines: int, days: int, seed: int) -> None:
    """Fill an empty database with made-up clients, pipelines and runs.

    Takes a minute or two for a million runs. Everything is written or nothing is; the tables are locked meanwhile.
    """
    console = Console()
    started = time.monotonic()
    try:
        check_migrations()
        seed_database(console, runs=runs, clients=clients, pipelines=pipelines, days=days, seed=seed)
    except psycopg.errors.LockNotAvailable as err:
        raise click.ClickException("The tables are in use. Stop the web app and the workers first.") from err
    except NotEmpty as err:
        raise click.ClickException(str(err)) from err
    counts = {"clients": clients, "pipelines": pipelines, "runs": runs}
    log_report("seed made-up data", counts, command_line_actor())
    console.print(f"{runs:,} runs of {pipelines:,} pipelines in {time.monotonic() - started:.1f} s.")


def seed_database(
    console: Console,
    *,
    runs: int,
    clients: int = 200,
    pipelines: int = 10_000,
    days: int = 365,
    seed: int = 1,
    until: datetime | None = None,
) -> None:
    """Fill the app's database, which must be empty, with the ``days`` before ``until`` (default: now).

    Raises:
        NotEmpty: the tables hold something.
        LockNotAvailable: somebody uses the tables.
    """
    fleet, history = make_up(
        runs=runs, clients=clients, pipelines=pipelines, days=days, seed=seed, until=until or datetime.now(UTC)
    )
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("runs"),
        TimeElapsedColumn(),
    )
    # One of its own, in autocommit: VACUUM takes no transaction, and psycopg alone speaks COPY.
    connection: Any = db.engine.raw_connection()
    try:
        driver: psycopg.Connection[Any] = connection.driver_connection
        driver.autocommit = True
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("Seeding", total=runs)
            load(
                driver,
                fleet,
                history,
                on_rows=lambda rows: progress.advance(task, rows),
                on_step=lambda step: progress.update(task, description=f"Seeding: {step}"),
            )
    finally:
        # Not back into the pool: its session is no longer as the pool made it.
        connection.invalidate()


def make_up(*, runs: int, clients: int, pipelines: int, days: int, seed: int, until: datetime) -> tuple[Fleet, History]:
    """Make up a fleet and its history, the same for the same arguments."""
    fleet = make_fleet(
        clients=clients,
        pipelines=pipelines,
        created_at=until - timedelta(days=days + 30),
        chance=random.Random(f"{seed} fleet"),
    )
    return fleet, History(fleet, runs=runs, days=days, until=until, seed=seed)
