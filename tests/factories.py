"""Makes the things that tests need, with plausible defaults. Plain functions; each one commits."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from chm_web.extensions import db
from chm_web.models import AlertRule, Channel, Client, Pipeline, PipelineType, Platform, RuleType, Run, RunStatus
from chm_web.services.clients import create_client
from chm_web.services.pipelines import create_pipeline
from chm_web.services.runs import RunRecord, record_runs

_numbers = itertools.count(1)

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


def make_client(**values: Any) -> Client:
    """A client with a name of its own."""
    return create_client(**{"name": f"Client {next(_numbers)}", **values})


def make_pipeline(client: Client | None = None, **values: Any) -> Pipeline:
    """A pipeline with a name and an external id of its own, of a new client unless one is given."""
    number = next(_numbers)
    defaults: dict[str, Any] = {
        "name": f"pipeline_{number}",
        "platform": Platform.VENDOR_API,
        "pipeline_type": PipelineType.INGESTION,
        "external_id": f"ext-{number}",
    }
    return create_pipeline(client_id=(client or make_client()).id, **{**defaults, **values})


def make_record(pipeline: Pipeline | UUID, **values: Any) -> RunRecord:
    """What a source says of a run: by default a success of one minute, an hour before ``NOW``."""
    pipeline_id = pipeline if isinstance(pipeline, UUID) else pipeline.id
    started = NOW - timedelta(hours=1)
    defaults: dict[str, Any] = {
        "external_run_id": f"run-{next(_numbers)}",
        "status": RunStatus.SUCCESS,
        "started_at": started,
        "finished_at": started + timedelta(minutes=1),
    }
    if values.get("status") is RunStatus.RUNNING:
        del defaults["finished_at"]
    return RunRecord(pipeline_id=pipeline_id, **{**defaults, **values})


def make_run(pipeline: Pipeline | None = None, **values: Any) -> Run:
    """A run that is recorded."""
    record = make_record(pipeline or make_pipeline(), **values)
    result = record_runs(records=[record])
    assert not result.rejected, result.rejected
    return find_run(record.pipeline_id, record.external_run_id)


def find_run(pipeline_id: UUID, external_run_id: str) -> Run:
    """The run as it stands in the database now."""
    query = sa.select(Run).filter_by(pipeline_id=pipeline_id, external_run_id=external_run_id)
    return db.session.scalars(query.execution_options(populate_existing=True)).one()


def make_alert_rule(**values: Any) -> AlertRule:
    """An enabled on_failure rule; the scope must be given."""
    defaults: dict[str, Any] = {
        "rule_type": RuleType.ON_FAILURE,
        "channel": Channel.SLACK,
        "destination": "#data-alerts",
    }
    rule = AlertRule(**{**defaults, **values})
    db.session.add(rule)
    db.session.commit()
    return rule
