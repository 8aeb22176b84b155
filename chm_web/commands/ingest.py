"""``chm ingest``."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import click
from flask.cli import with_appcontext
from rich.console import Console

from chm_web.commands.actor import command_line_actor
from chm_web.commands.explained import explained
from chm_web.commands.progress import follow_job, print_outcome
from chm_web.ingestion.artifacts import take_run_results
from chm_web.ingestion.progress import JobState, SyncScope
from chm_web.ingestion.queue import request_sync


@click.group(invoke_without_command=True)
@click.option("--client", "client_id", type=click.UUID, help="Only this client's pipelines.")
@click.option("--pipeline", "pipeline_id", type=click.UUID, help="Only this pipeline.")
@click.option("--source", help="Only this source.")
@click.pass_context
@with_appcontext
@explained
def ingest(context: click.Context, client_id: UUID | None, pipeline_id: UUID | None, source: str | None) -> None:
    """Ask for an ingestion and watch it to its end. A running worker does the work."""
    if context.invoked_subcommand is not None:
        return
    console = Console()
    job, is_new = request_sync(scope=SyncScope(client_id, pipeline_id, source), requested_by=command_line_actor())
    if not is_new:
        console.print("An ingestion of this is under way already; watching it.")
    job = follow_job(job, console)
    print_outcome(job, console)
    if job.state is not JobState.FINISHED:
        raise SystemExit(1)


@ingest.command("dbt-artifact")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--pipeline", "pipeline_id", type=click.UUID, required=True, help="The pipeline whose run it is.")
@with_appcontext
@explained
def dbt_artifact(file: Path, pipeline_id: UUID) -> None:
    """Record the run that dbt Core's target/run_results.json tells of. The same FILE again changes nothing."""
    try:
        run_results = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as err:
        raise click.ClickException(f"{file} is not JSON.") from err
    except OSError as err:
        raise click.ClickException(f"{file} cannot be read: {err.strerror}.") from err
    run, created = take_run_results(pipeline_id=pipeline_id, run_results=run_results, reported_by=command_line_actor())
    click.echo(f"{run.external_run_id}: {run.status}{'' if created else ' (known already)'}")
