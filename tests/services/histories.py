"""Pipelines with histories, told in minutes before NOW, for tests of health and of what is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from chm_web.models import Client, Pipeline, RunStatus
from chm_web.services.health import Health, PipelineHealth, get_pipeline_health
from tests.factories import NOW, make_pipeline, make_run

RUNNING, SKIPPED, CANCELED, SUCCESS, FAILED = RunStatus
FAILING, LATE, RUNS, HEALTHY, NO_DATA = Health


def ago(minutes: float) -> datetime:
    """A moment, in minutes before NOW."""
    return NOW - timedelta(minutes=minutes)


def ran(status: RunStatus, finished: float, *, started: float | None = None, **values: Any) -> dict[str, Any]:
    """A run that finished so many minutes ago; it started a minute before unless told."""
    begun = ago(finished + 1 if started is None else started)
    return {"status": status, "started_at": begun, "finished_at": ago(finished), **values}


def runs_since(minutes: float) -> dict[str, Any]:
    """A run that began so many minutes ago and has not ended."""
    return {"status": RUNNING, "started_at": ago(minutes)}


def make_pipeline_with(
    runs: Sequence[dict[str, Any]], *, client: Client | None = None, age: float = 100_000, **values: Any
) -> Pipeline:
    """A pipeline that was created so many minutes before NOW, and its runs, recorded in this order."""
    pipeline = make_pipeline(client, **values)
    pipeline.created_at = ago(age)
    sa.orm.object_session(pipeline).commit()  # type: ignore[union-attr]
    for run in runs:
        make_run(pipeline, **run)
    return pipeline


def health_of(pipeline: Pipeline) -> PipelineHealth:
    """Its health at NOW."""
    return get_pipeline_health(pipeline_id=pipeline.id, now=NOW)
