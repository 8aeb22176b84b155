"""Shows an ingestion job and the fleet's health on a terminal."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from chm_web.ingestion.progress import IngestionJob, JobState
from chm_web.ingestion.queue import get_job, list_rejected
from chm_web.services.health import Health, list_fleet_health, tally_fleet_health
from chm_web.services.runs import summarize_error

POLL_SECONDS = 0.25
SHOWN_REJECTED = 10
SHOWN = 20

_COLOURS = {
    Health.FAILING: "bold red",
    Health.LATE: "yellow",
    Health.RUNNING: "blue",
    Health.HEALTHY: "green",
    Health.NO_DATA: "bright_black",
}


def follow_job(job: IngestionJob, console: Console) -> IngestionJob:
    """Show a job's progress until it has ended, and give it as it ended."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("pipelines"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[runs]:,} runs"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("Ingesting", total=job.pipelines_total or None, runs=0)
        while True:
            total = job.total
            progress.update(
                task, completed=total.pipelines_done, total=total.pipelines_total or None, runs=total.counts.read
            )
            if not total.state.is_live:
                return job
            time.sleep(POLL_SECONDS)
            job = get_job(job_id=job.id)


def print_outcome(job: IngestionJob, console: Console) -> None:
    """Say in words how a job ended."""
    counts = job.counts
    console.print(
        f"Ingestion {job.state}: {counts.created:,} created, {counts.updated:,} updated, "
        f"{counts.unchanged:,} unchanged, {counts.rejected:,} rejected."
    )
    for rejected in list_rejected(job_id=job.id, limit=SHOWN_REJECTED) if counts.rejected else []:
        console.print(f"  rejected {rejected.external_run_id or 'a run'}: {rejected.reason}", markup=False)
    if job.state is not JobState.FINISHED and job.error:
        console.print(job.error, style="red", markup=False)
    if job.warning:
        console.print(job.warning, style="yellow", markup=False)


def print_health(console: Console) -> None:
    """Print the fleet's health: the counts, then what is failing or late, worst first."""
    now = datetime.now(UTC)
    tally = tally_fleet_health(now=now)
    summary = Text("Health of ").append(f"{tally.total} pipelines: ")
    for number, (health, count) in enumerate(tally.counts.items()):
        summary.append(", " if number else "").append(f"{count} {health.value.replace('_', ' ')}", _COLOURS[health])
    if tally.running_now:
        summary.append(f" ({tally.running_now} of them running something now)")
    console.print(summary)
    troubled = list_fleet_health(now=now, health=[Health.FAILING, Health.LATE], limit=SHOWN)
    for item in troubled:
        since = f" since {item.since:%d %b %H:%M} UTC" if item.since else ""
        failures = item.failures_in_row
        in_a_row = f", {failures} in a row" if failures > 1 else ""
        line = Text(f"  {item.health.value:8}", _COLOURS[item.health])
        line.append(f"{item.client_name} / {item.pipeline_name}", "bold").append(f"{since}{in_a_row}", "default")
        console.print(line, soft_wrap=True)
        error = summarize_error(item.last_error)
        if error:
            console.print(Text(" " * 10 + error, "bright_black"), no_wrap=True, overflow="ellipsis")
    if not troubled:
        console.print("Nothing is failing or late.")
