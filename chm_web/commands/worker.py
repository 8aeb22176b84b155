"""``chm worker``."""

from __future__ import annotations

import click
from flask import current_app
from flask.cli import with_appcontext

from chm_web import logs
from chm_web.config import Config
from chm_web.ingestion.queue import run_worker


@click.command()
@with_appcontext
def worker() -> None:
    """Work on ingestion jobs until stopped."""
    config: Config = current_app.config["CHM"]
    logs.configure(config.log_level)
    run_worker()
