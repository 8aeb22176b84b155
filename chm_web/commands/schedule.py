"""``chm schedule``."""

from __future__ import annotations

import click
from flask import current_app
from flask.cli import with_appcontext

from chm_web import logs
from chm_web.config import Config
from chm_web.ingestion.queue import run_schedule


@click.command()
@with_appcontext
def schedule() -> None:
    """Ask for an ingestion every CHM_INGEST_EVERY_SECONDS until stopped. Workers do the work."""
    config: Config = current_app.config["CHM"]
    logs.configure(config.log_level)
    run_schedule()
