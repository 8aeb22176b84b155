"""The ``chm`` command line: CHM's own commands, Flask-Migrate's ``db``, Flask's ``run``, ``shell`` and ``routes``."""

from __future__ import annotations

from importlib.metadata import version

import click
from flask import Flask
from flask.cli import AppGroup, FlaskGroup, NoAppException
from flask_migrate.cli import db  # type: ignore[import-not-found]  # the stubs leave it out

from chm_web import create_app, logs
from chm_web.commands.backup import backup, restore
from chm_web.commands.bench import bench
from chm_web.commands.contract import api_contract
from chm_web.commands.demo import demo
from chm_web.commands.doctor import doctor
from chm_web.commands.explained import explained
from chm_web.commands.ingest import ingest
from chm_web.commands.inventory import export_inventory, import_inventory
from chm_web.commands.prune import prune
from chm_web.commands.reader import grant_reader
from chm_web.commands.schedule import schedule
from chm_web.commands.sources import sources
from chm_web.commands.tokens import tokens
from chm_web.commands.users import users
from chm_web.commands.worker import worker
from chm_web.config import ConfigError


def _create_app() -> Flask:
    try:
        return create_app(session_name=_session_name())
    except ConfigError as err:
        raise NoAppException(str(err)) from err


def _session_name() -> str:
    """Give the command as it was typed, without its arguments: ``chm db upgrade``."""
    context, names = click.get_current_context(silent=True), list[str]()
    if context is not None and context.invoked_subcommand is not None:
        # A group that asks for the app itself, before its command does.
        names.append(context.invoked_subcommand)
    while context is not None and context.parent is not None:
        names.insert(0, context.info_name or "")
        context = context.parent
    return " ".join(["chm", *names])


class _Cli(FlaskGroup):
    """Flask's group, with every command known beforehand: help needs no configuration."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands."""
        return sorted(self.commands)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Give a command; the app is made when the command needs it, and then says itself what it lacks."""
        return AppGroup.get_command(self, ctx, name)


# No .env file is read: what a service runs with stands in its own environment.
cli = _Cli(
    name="chm",
    help="CHM: client health monitoring.",
    create_app=_create_app,
    load_dotenv=False,
    add_version_option=False,
)
# Flask-Migrate's own commands would show a page of traceback where the database cannot be reached.
for _migrating in db.commands.values():
    _migrating.callback = explained(_migrating.callback)
db.add_command(grant_reader)
for _command in (
    api_contract,
    backup,
    bench,
    db,
    demo,
    doctor,
    export_inventory,
    import_inventory,
    ingest,
    prune,
    restore,
    schedule,
    sources,
    tokens,
    users,
    worker,
):
    cli.add_command(_command)
click.version_option(version("chm"), prog_name="CHM")(cli)


def main() -> None:
    """Run the command line."""
    logs.record_changes()
    cli(prog_name="chm")
