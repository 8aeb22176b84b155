"""Pipelines in a state of health, as the pages' tests need them: by the real clock, which the pages go by too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from chm_web.models import Pipeline, RunStatus
from tests.factories import make_pipeline, make_run


def ago(**span: float) -> datetime:
    """A moment before now."""
    return datetime.now(UTC) - timedelta(**span)


def make_failing(error: str = "boom", hours: float = 3, **values: object) -> Pipeline:
    """A pipeline whose only run failed, ``hours`` ago."""
    pipeline = make_pipeline(**values)  # type: ignore[arg-type]
    ended = ago(hours=hours)
    make_run(
        pipeline,
        status=RunStatus.FAILED,
        started_at=ended - timedelta(minutes=1),
        finished_at=ended,
        error_message=error,
    )
    return pipeline


def make_healthy(**values: object) -> Pipeline:
    """A pipeline whose only run succeeded, an hour ago."""
    pipeline = make_pipeline(**values)  # type: ignore[arg-type]
    make_run(pipeline, started_at=ago(hours=1), finished_at=ago(minutes=59))
    return pipeline
