"""``chm prune``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
from flask.cli import with_appcontext
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from sqlalchemy.exc import SQLAlchemyError

from chm_web.commands.actor import command_line_actor
from chm_web.commands.explained import explained, first_line
from chm_web.services.retention import Pruned, prune_runs
from chm_web.services.schema import check_migrations


@click.command()
@click.option("--keep-days", type=click.IntRange(1, 36_500), required=True, help="Runs younger than this are kept.")
@click.option("--dry-run", is_flag=True, help="Count what would be removed, and remove nothing.")
@with_appcontext
@explained
def prune(keep_days: int, dry_run: bool) -> None:
    """Remove old runs, without changing any pipeline's health, latest run or last success.

    It may be stopped at any moment and run again, and workers may go on meanwhile.
    """
    before = datetime.now(UTC) - timedelta(days=keep_days)
    try:
        check_migrations()
        done = _follow(before, dry_run)
    except SQLAlchemyError as err:
        message = f"The database could not do this: {first_line(err)}\nRun the command again to go on."
        raise click.ClickException(message) from err
    did = "would be removed" if dry_run else "removed"
    click.echo(
        f"{done.removed:,} runs from before {before:%Y-%m-%d %H:%M} UTC {did}; {done.kept:,} of that age stay, "
        "since they are under way or a pipeline's health rests on them."
    )


def _follow(before: datetime, dry_run: bool) -> Pruned:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    done = Pruned()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("Looking for old runs", total=None)
        for done in prune_runs(before=before, dry_run=dry_run, pruned_by=command_line_actor()):
            progress.update(task, description=f"{done.removed:,} runs, now at those of {done.reached:%Y-%m-%d %H:%M}")
    return done
