"""The ``chm`` command line: CHM's own commands, Flask-Migrate's ``db``, Flask's ``run``, ``shell`` and ``routes``."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version

import click
from click.exceptions import NoSuchCommand
from flask import Flask
from flask.cli import AppGroup, FlaskGroup, NoAppException

from chm_web import create_app, create_core, logs
from chm_web.config import ConfigError

_COMMANDS = {
    "api-contract": ("contract", "api_contract"),
    "backup": ("backup", "backup"),
    "bench": ("bench", "bench"),
    "db": ("database", "db"),
    "demo": ("demo", "demo"),
    "doctor": ("doctor", "doctor"),
    "export": ("inventory", "export_inventory"),
    "import": ("inventory", "import_inventory"),
    "ingest": ("ingest", "ingest"),
    "prune": ("prune", "prune"),
    "restore": ("backup", "restore"),
    "schedule": ("schedule", "schedule"),
    "sources": ("sources", "sources"),
    "tokens": ("tokens", "tokens"),
    "users": ("users", "users"),
    "worker": ("worker", "worker"),
}
"""CHM's commands: of which module of this package each is, and what it is called there."""

# Flask's own, which show or serve pages and routes.
_OF_PAGES = {"routes", "run", "shell"}


def _create_app() -> Flask:
    session_name = _session_name()
    create = create_app if _OF_PAGES & set(session_name.split()) else create_core
    try:
        return create(session_name=session_name)
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
    """Flask's group, with every command known beforehand: help needs no configuration.

    A command is imported when it is asked for: all of them take three times as long as the one that is typed.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands."""
        return sorted({*self.commands, *_COMMANDS})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Give a command; the app is made when the command needs it, and then says itself what it lacks."""
        if name in _COMMANDS:
            module, called = _COMMANDS[name]
            command: click.Command = getattr(import_module(f"{__name__}.{module}"), called)
            return command
        return AppGroup.get_command(self, ctx, name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was typed; where there is none, one that is nearly called so is proposed."""
        try:
            return super().resolve_command(ctx, args)
        except NoSuchCommand as err:
            raise NoSuchCommand(args[0], possibilities=self.list_commands(ctx), ctx=ctx) from err


# No .env file is read: what a service runs with stands in its own environment.
cli = _Cli(
    name="chm",
    help="CHM: client health monitoring.",
    create_app=_create_app,
    load_dotenv=False,
    add_version_option=False,
)
click.version_option(version("chm"), prog_name="CHM")(cli)


def main() -> None:
    """Run the command line."""
    logs.record_changes()
    cli(prog_name="chm")
