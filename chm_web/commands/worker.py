"""``chm worker``."""

from __future__ import annotations

import click
from flask import current_app
from flask.cli import with_appcontext

from chm_web import logs
from chm_web.config import Config
from chm_web.ingestion.queue import run_workers

MOST_WORKERS = 64


@click.command()
@click.option(
    "--count", type=click.IntRange(1, MOST_WORKERS), default=1, show_default=True, help="How many processes work."
)
@with_appcontext
def worker(count: int) -> None:
    """Work on ingestion jobs until stopped. Several machines may do so at once."""
    config: Config = current_app.config["CHM"]
    logs.configure(config.log_level)
    run_workers(count)
