"""The ``chm`` command line: ``chm run``, ``chm db upgrade``, ``chm worker``, ``chm ingest``, ``chm demo``."""

from __future__ import annotations

from flask import Flask
from flask.cli import FlaskGroup, NoAppException

from chm_web import create_app
from chm_web.commands.bench import bench
from chm_web.commands.demo import demo
from chm_web.commands.ingest import ingest
from chm_web.commands.worker import worker
from chm_web.config import ConfigError


def _create_app() -> Flask:
    try:
        return create_app()
    except ConfigError as err:
        raise NoAppException(str(err)) from err


# No .env file is read: what a service runs with stands in its own environment.
cli = FlaskGroup(name="chm", help="CHM: client health monitoring.", create_app=_create_app, load_dotenv=False)
cli.add_command(bench)
cli.add_command(demo)
cli.add_command(ingest)
cli.add_command(worker)


def main() -> None:
    """Run the command line."""
    cli(prog_name="chm")
