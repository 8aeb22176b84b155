"""``chm worker``."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from chm_web.ingestion.queue import run_worker


@click.command()
@with_appcontext
def worker() -> None:
    """Work on ingestion jobs until stopped."""
    run_worker()
