"""``chm ingest``."""

from __future__ import annotations

from uuid import UUID

import click
from flask.cli import with_appcontext
from rich.console import Console

from chm_web.commands.progress import follow_job, print_outcome
from chm_web.ingestion.progress import JobState, SyncScope
from chm_web.ingestion.queue import request_sync
from chm_web.services.exceptions import ServiceError

COMMAND = "the command line"
"""Who has asked, where nobody is signed in."""


@click.command()
@click.option("--client", "client_id", type=click.UUID, help="Only this client's pipelines.")
@click.option("--pipeline", "pipeline_id", type=click.UUID, help="Only this pipeline.")
@click.option("--source", help="Only this source.")
@with_appcontext
def ingest(client_id: UUID | None, pipeline_id: UUID | None, source: str | None) -> None:
    """Ask for an ingestion and watch it to its end. A running worker does the work."""
    console = Console()
    try:
        job, is_new = request_sync(scope=SyncScope(client_id, pipeline_id, source), requested_by=COMMAND)
        if not is_new:
            console.print("An ingestion of this is under way already; watching it.")
        job = follow_job(job, console)
        print_outcome(job, console)
    except ServiceError as err:
        raise click.ClickException(err.message) from err
    if job.state is not JobState.FINISHED:
        raise SystemExit(1)
