"""``chm backup`` and ``chm restore``: the whole database, by PostgreSQL's own programs."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec

import click
from flask import current_app
from flask.cli import with_appcontext

from chm_web.commands.actor import command_line_actor
from chm_web.commands.database_programs import BackupError, Database, Program, find_program, run_program
from chm_web.commands.explained import explained
from chm_web.config import Config
from chm_web.ingestion.queue import forget_reading
from chm_web.private_files import begin_private
from chm_web.services.audit import Named, log_change
from chm_web.services.exceptions import ServiceError
from chm_web.services.schema import check_migrations

P = ParamSpec("P")

# Who owns things and who may read them belongs to a server and not to the data: `chm db grant-reader` gives it anew.
_WITHOUT_ROLES = ("--no-owner", "--no-privileges")


def _told(command: Callable[P, None]) -> Callable[P, None]:
    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except BackupError as err:
            raise click.ClickException(str(err)) from err
        except OSError as err:
            raise click.ClickException(f"{err.filename}: {err.strerror}.") from err

    return wrapped


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@with_appcontext
@explained
@_told
def backup(file: Path) -> None:
    """Write the whole database to FILE, which is replaced when the backup is whole and readable.

    CHM may go on meanwhile. Users and tokens are not in the database: keep their files as well.
    """
    database = _database()
    server, _ = database.look()
    dump, restorer = find_program("pg_dump", server=server), find_program("pg_restore", server=server)
    # It holds all that CHM knows.
    unfinished = begin_private(file)
    try:
        database.run(dump, "--format=custom", *_WITHOUT_ROLES, f"--file={unfinished}")
        _check(restorer, unfinished)
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
    click.echo(f"{file}: {file.stat().st_size / 1024**2:,.1f} MiB, by pg_dump {dump.major}.", err=True)


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Replace what the database holds. Stop the web app and workers first.")
@with_appcontext
@explained
@_told
def restore(file: Path, force: bool) -> None:
    """Fill the configured database, which must be empty, from the backup FILE; all of it or nothing.

    Sources are then read from their beginning, so that runs since the backup come in again.
    """
    database = _database()
    server, is_empty = database.look()
    restorer = find_program("pg_restore", server=server)
    _check(restorer, file)
    if not is_empty and not force:
        raise BackupError("The database is not empty. Name an empty one, or replace what this one holds with --force.")
    cleaning = () if is_empty else ("--clean", "--if-exists")
    database.run(restorer, "--single-transaction", "--exit-on-error", *_WITHOUT_ROLES, *cleaning, file)
    contents = (None if is_empty else "what it held", f"the backup {file.resolve()}")
    log_change("restore", Named("database", database.name), {"contents": contents}, command_line_actor())
    click.echo("The database is restored. Dashboards need their role again: chm db grant-reader", err=True)
    try:
        forget_reading()
    except ServiceError as err:
        click.echo(
            f"{err.message} Remove its keys chm:watermark:* and chm:position:* before a worker starts.", err=True
        )
    try:
        database.gather_statistics()
    except BackupError as err:
        click.echo(f"{err} Run ANALYZE in it, or wait until autovacuum has: it is slow until then.", err=True)
    try:
        check_migrations()
    except ServiceError as err:
        click.echo(err.message, err=True)


def _database() -> Database:
    config: Config = current_app.config["CHM"]
    return Database(config.database_url, session_name=f"chm {click.get_current_context().info_name}")


def _check(restorer: Program, file: Path) -> None:
    """Check that a file is a whole backup of CHM's, as far as its table of contents tells.

    Raises:
        BackupError: it is not.
    """
    try:
        contents = run_program(restorer, ["--list", file])
    except BackupError as err:
        if "unsupported version" in str(err):
            raise BackupError(
                f"{file} was made by a newer pg_dump than pg_restore {restorer.major}, this server's, can read. "
                "Restore it into a server of the version that it was made of, or of a later one."
            ) from err
        raise BackupError(f"{file} is not a backup that can be read. {err}") from err
    if " TABLE DATA public alembic_version " not in contents:
        raise BackupError(f"{file} is a backup, but not one of a database of CHM's.")
