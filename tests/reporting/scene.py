"""A fleet whose numbers can be worked out by hand. All times are hours before ``NOW``, a Sunday's noon."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from chm_web.extensions import db
from chm_web.models import Pipeline, Platform, RunStatus
from chm_web.services.runs import record_runs
from tests.factories import NOW, make_client, make_pipeline, make_record

RUNNING, SKIPPED, CANCELED, SUCCESS, FAILED = RunStatus


def ago(hours: float) -> datetime:
    """A moment, in hours before NOW."""
    return NOW - timedelta(hours=hours)


def run(status: RunStatus, hours: float, *, seconds: float = 60, **values: Any) -> dict[str, Any]:
    """A run that ended so many hours ago and took so many seconds."""
    return {
        "status": status,
        "started_at": ago(hours) - timedelta(seconds=seconds),
        "finished_at": ago(hours),
        **values,
    }


# Client, pipeline, platform, more of the pipeline, and its runs.
FLEET: list[tuple[str, str, Platform, dict[str, Any], list[dict[str, Any]]]] = [
    (
        "Acme",
        "orders",
        Platform.AIRFLOW,
        {},
        [
            run(SUCCESS, 30, rows_processed=100),
            run(FAILED, 5, error_message="timeout"),
            run(FAILED, 3, error_message="disk full"),
            run(CANCELED, 2.5, error_message="stopped by hand"),
        ],
    ),
    ("Acme", "invoices", Platform.DBT, {}, [run(FAILED, 26), run(SUCCESS, 2, seconds=120, rows_processed=50)]),
    (
        "Acme",
        "sessions",
        Platform.CRON,
        {"expected_every_minutes": 60},
        [run(SUCCESS, 10, seconds=30, rows_processed=10)],
    ),
    (
        "Acme",
        "prices",
        Platform.VENDOR_API,
        {},
        [
            run(SUCCESS, 70),
            run(FAILED, 60),
            run(SUCCESS, 50),
            run(CANCELED, 45),
            run(FAILED, 40),
            run(SKIPPED, 35),
            run(SUCCESS, 30),
            run(SUCCESS, 20, rows_processed=7),
        ],
    ),
    ("Acme", "broken", Platform.CUSTOM, {}, [run(FAILED, hours) for hours in (65, 64, 63, 62, 61)]),
    ("Birch", "loads", Platform.AIRFLOW, {}, [{"status": RUNNING, "started_at": ago(1)}]),
    ("Birch", "nothing", Platform.AIRFLOW, {}, []),
    (
        "Birch",
        "exports",
        Platform.CRON,
        {},
        # At the edges of the day: since is inclusive, until is not.
        [run(SUCCESS, 24, rows_processed=1000), run(SUCCESS, 0, rows_processed=5)],
    ),
    ("Birch", "retired", Platform.AIRFLOW, {"is_active": False}, [run(FAILED, 4)]),
    ("Closed", "last", Platform.DBT, {}, [run(FAILED, 6)]),
]


def build() -> dict[str, UUID]:
    """Write the fleet and commit; gives the ids of clients and pipelines by their names."""
    clients = {name: make_client(name=name, is_active=name != "Closed") for name in ("Acme", "Birch", "Closed")}
    ids = {name: client.id for name, client in clients.items()}
    for client, name, platform, values, runs in FLEET:
        pipeline = make_pipeline(clients[client], name=name, platform=platform, **values)
        db.session.get_one(Pipeline, pipeline.id).created_at = ago(24 * 100)
        db.session.commit()
        ids[name] = pipeline.id
        result = record_runs(records=[make_record(pipeline, **each) for each in runs])
        assert result.created == len(runs)
    # As if each run had come in five minutes after its event.
    db.session.execute(
        sa.text(
            "UPDATE runs SET created_at = t.at, ingested_at = t.at FROM "
            "(SELECT id, event_at + interval '5 minutes' AS at FROM runs) t WHERE t.id = runs.id"
        )
    )
    db.session.commit()
    return ids
