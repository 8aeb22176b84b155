"""Takes in files that a platform leaves behind, such as dbt Core's ``run_results.json``."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from chm_web.ingestion.mapper import Unmappable
from chm_web.ingestion.platforms.dbt_artifact import map_run_results
from chm_web.models import Run
from chm_web.services.exceptions import FieldIssue, Invalid
from chm_web.services.runs import report_run


def take_run_results(*, pipeline_id: UUID, run_results: Any, reported_by: str | None = None) -> tuple[Run, bool]:
    """Record the run that a ``run_results.json`` tells of; idempotent by the invocation's id.

    Args:
        pipeline_id: the pipeline whose run it is: the file itself names none.
        run_results: the file's JSON.
        reported_by: who sends it.

    Returns:
        The run as it stands now, and whether it is new.

    Raises:
        NotFound: there is no such pipeline.
        Invalid: this is no such file, or a value of it cannot be stored.
    """
    try:
        record = map_run_results(pipeline_id, run_results)
    except Unmappable as err:
        raise Invalid("This is no run_results.json of dbt.", (FieldIssue(err.field, err.issue),)) from err
    return report_run(record=record, updated_by=reported_by)
