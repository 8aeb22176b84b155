"""An example of every schema: of the whole, from which that of each field is taken."""

from __future__ import annotations

from typing import Any

_CLIENT_ID = "01932f5e-1f70-7c54-8d43-9b2a6c1e7f05"
_PIPELINE_ID = "01932f5e-2b18-7d09-a7c6-5e4f3a2b1c0d"
_RUN_ID = "01932f5e-7c3a-7b1d-9a41-3f6c2d8e5b70"
_RULE_ID = "01932f5e-94d2-7e6f-b8a1-0c9d8e7f6a5b"
_CURSOR = "WyJjbGllbnRzIiwibm9ydGh3aW5kIGZvb2RzIl0"
_STAMPS = {
    "created_at": "2026-10-01T08:12:45.120394Z",
    "updated_at": "2026-11-01T06:04:31.507713Z",
    "updated_by": None,
}

_CLIENT = {"name": "Northwind Foods", "is_active": True}
_PIPELINE = {
    "name": "orders_daily",
    "platform": "airflow",
    "external_id": "orders_daily",
    "pipeline_type": "ingestion",
    "description": "Orders of the day before, from the shop's database into the warehouse.",
    "environment": "prod",
    "is_active": True,
    "expected_every_minutes": 1440,
}
_REPORT = {
    "status": "failed",
    "started_at": "2026-11-01T06:00:04Z",
    "finished_at": "2026-11-01T06:04:16Z",
    "duration_seconds": 252.0,
    "rows_processed": 48200,
    "error_message": "psycopg.OperationalError: connection to server at 10.0.4.12 failed: timeout expired",
    "status_reason": "upstream_failed",
    "payload": {"dag_id": "orders_daily", "try_number": 2},
}
_NAMED_RUN = {"external_run_id": "scheduled__2026-11-01T06:00:00+00:00", **_REPORT}
_RUN = {
    "id": _RUN_ID,
    "pipeline_id": _PIPELINE_ID,
    **_NAMED_RUN,
    "ingested_at": "2026-11-01T06:04:31.507713Z",
    **_STAMPS,
}
_RULE = {
    "client_id": _CLIENT_ID,
    "pipeline_id": None,
    "rule_type": "failures_in_window",
    "threshold": 3,
    "window_minutes": 60,
    "channel": "slack",
    "destination": "#data-alerts",
    "is_enabled": True,
}
_STORED_CLIENT = {"id": _CLIENT_ID, **_CLIENT, **_STAMPS}
_STORED_PIPELINE = {"id": _PIPELINE_ID, "client_id": _CLIENT_ID, **_PIPELINE, **_STAMPS}
_STORED_RULE = {"id": _RULE_ID, **_RULE, **_STAMPS}
_LISTED_PIPELINE = {
    **_STORED_PIPELINE,
    "health": "failing",
    "latest_status": "running",
    "latest_run_at": "2026-11-01T07:00:02Z",
}
_LATEST = {
    "pipeline_id": _PIPELINE_ID,
    "pipeline_name": "orders_daily",
    "platform": "airflow",
    "latest_status": "failed",
    "latest_run_at": "2026-11-01T06:04:16Z",
}
_STATUS_COUNTS = {"running": 1, "skipped": 0, "canceled": 2, "success": 187, "failed": 4}
_COUNTS = {"pages": 6, "created": 41, "updated": 3, "unchanged": 2455, "rejected": 1}
_SCOPE = {"client_id": _CLIENT_ID, "pipeline_id": None, "source": None}
_PROGRESS = {
    "state": "running",
    "started_at": "2026-11-01T07:15:01.004512Z",
    "ended_at": None,
    "counts": _COUNTS,
    "pipelines_done": 12,
    "pipelines_total": 60,
    "pipelines_unread": 1,
    "error": None,
    "warning": "1 of 60 pipelines could not be read. orders_old: partner.example does not know it (404).",
    "waiting_for": None,
    "waiting_until": None,
}
_JOB = {
    "id": "ingest-01932f5e",
    "requested_at": "2026-11-01T07:15:00.871230Z",
    "scope": _SCOPE,
    **_PROGRESS,
    "sources": [{"name": "partner", **_PROGRESS}],
}
_REJECTED_RUN = {
    "source": "partner",
    "pipeline_id": _PIPELINE_ID,
    "external_run_id": "manual__2026-10-31T22:15:00+00:00",
    "reason": "rows_processed: Must be between 0 and 9223372036854775807.",
}
_UNREAD_PIPELINE = {
    "source": "partner",
    "pipeline_id": _PIPELINE_ID,
    "external_id": "orders_old",
    "reason": "partner.example does not know it (404).",
}
_REJECTION = {
    "index": 7,
    "external_run_id": "scheduled__2026-11-01T06:00:00+00:00",
    "field": "finished_at",
    "issue": "Must not be before started_at.",
}
_SOURCE = {
    "name": "airflow",
    "kind": "airflow",
    "address": "https://airflow.example",
    "platforms": ["airflow"],
    "client": None,
    "is_paused": False,
    "interval_seconds": 1200,
    "slowed": "Failed 3 times in a row: read every 20 min instead of every 5 min.",
    "next_run_at": "2026-11-01T07:35:00Z",
    "last_success_at": "2026-11-01T06:55:02Z",
    "lag_seconds": 1201,
    "is_behind": True,
    "failures_in_row": 3,
    "counts": _COUNTS,
    "last_error": "airflow.example has an error of its own (503).",
    "last_error_at": "2026-11-01T07:15:04Z",
}
_UNMAPPED = {
    "source": "openlineage",
    "name": "airflow/orders_hourly",
    "count": 12,
    "first_seen_at": "2026-10-31T22:00:04Z",
    "last_seen_at": "2026-11-01T09:00:03Z",
    "last_status": "success",
    "reason": "No active pipeline has this external id.",
    "sample": {"namespace": "airflow", "job": "orders_hourly"},
}
_LINEAGE_EVENT: dict[str, Any] = {
    "eventType": "COMPLETE",
    "eventTime": "2026-11-01T06:04:16Z",
    "run": {
        "runId": "01932f5e-7c3a-7b1d-9a41-3f6c2d8e5b70",
        "facets": {"nominalTime": {"nominalStartTime": "2026-11-01T06:00:00Z"}},
    },
    "job": {
        "namespace": "airflow",
        "name": "orders_daily",
        "facets": {"jobType": {"processingType": "BATCH", "integration": "AIRFLOW", "jobType": "DAG"}},
    },
    "inputs": [{"namespace": "shop", "name": "orders"}],
    "outputs": [
        {"namespace": "warehouse", "name": "orders", "outputFacets": {"outputStatistics": {"rowCount": 48200}}}
    ],
    "producer": "https://github.com/apache/airflow",
}
_DBT_METADATA = {
    "dbt_schema_version": "https://schemas.getdbt.com/dbt/run-results/v6.json",
    "dbt_version": "1.11.16",
    "invocation_id": "3a74fefd-32a4-4b7a-83f1-a14a89a1898a",
    "invocation_started_at": "2026-11-01T06:00:04Z",
    "generated_at": "2026-11-01T06:04:16Z",
}
_DETAIL = {"field": "name", "issue": "There is a client with this name already."}
_ERROR = {"code": "conflict", "message": "The name is taken.", "details": [_DETAIL]}

EXAMPLES: dict[str, dict[str, Any]] = {
    "AlertRule": _STORED_RULE,
    "AlertRuleInput": _RULE,
    "AlertRulePage": {"items": [_STORED_RULE], "next_cursor": None},
    "AlertRulePatch": {"threshold": 5, "window_minutes": 120},
    "BatchRun": {"pipeline_id": _PIPELINE_ID, **_NAMED_RUN},
    "Client": _STORED_CLIENT,
    "ClientInput": _CLIENT,
    "ClientPage": {"items": [_STORED_CLIENT], "next_cursor": _CURSOR},
    "ClientPatch": {"name": "Northwind Foods Ltd"},
    "Counts": _COUNTS,
    "DbtMetadata": _DBT_METADATA,
    "DbtRunResults": {
        "metadata": _DBT_METADATA,
        "results": [
            {
                "unique_id": "model.shop.orders",
                "status": "error",
                "message": "Database Error: relation raw.orders does not exist",
                "adapter_response": {},
            }
        ],
        "elapsed_time": 252.0,
    },
    "Error": {"error": _ERROR},
    "ErrorBody": _ERROR,
    "ErrorDetail": _DETAIL,
    "Job": _JOB,
    "JobDetail": {**_JOB, "rejected_runs": [_REJECTED_RUN], "unread_pipelines": [_UNREAD_PIPELINE]},
    "JobList": {"items": [_JOB], "next_cursor": None},
    "LatestOfPipeline": _LATEST,
    "Source": _SOURCE,
    "SourceList": {"items": [_SOURCE], "next_cursor": None},
    "UnmappedList": {"items": [_UNMAPPED], "next_cursor": None},
    "UnmappedName": _UNMAPPED,
    "LineageEvent": _LINEAGE_EVENT,
    "LineageJob": _LINEAGE_EVENT["job"],
    "LineageResult": {"created": 0, "updated": 1, "unchanged": 0, "unmapped": 0, "ignored": 0, "rejected": []},
    "LineageRun": _LINEAGE_EVENT["run"],
    "ListedPipeline": _LISTED_PIPELINE,
    "ListedPipelinePage": {"items": [_LISTED_PIPELINE], "next_cursor": _CURSOR},
    "Pipeline": _STORED_PIPELINE,
    "PipelineHealth": {
        "pipeline_id": _PIPELINE_ID,
        "health": "failing",
        "since": "2026-11-01T04:04:09Z",
        "failures_in_row": 3,
        "last_error": _REPORT["error_message"],
        "last_failed_run_id": _RUN_ID,
        "last_success_at": "2026-11-01T03:04:12Z",
        "last_finished_at": "2026-11-01T06:04:16Z",
        "late_at": "2026-11-02T09:04:12Z",
        "running_since": "2026-11-01T07:00:02Z",
        "latest_status": "running",
    },
    "PipelineInput": _PIPELINE,
    "PipelinePatch": {"expected_every_minutes": 60},
    "RecordResult": {"created": 12, "updated": 1, "unchanged": 986, "rejected": [_REJECTION]},
    "RejectedRun": _REJECTED_RUN,
    "Run": _RUN,
    "RunBatch": {"runs": [{"pipeline_id": _PIPELINE_ID, **_NAMED_RUN}]},
    "RunInput": _NAMED_RUN,
    "RunPage": {"items": [_RUN], "next_cursor": _CURSOR},
    "RunRejection": _REJECTION,
    "RunReport": _REPORT,
    "RunSummary": {
        "client_id": _CLIENT_ID,
        "since": "2026-10-02T00:00:00Z",
        "until": "2026-11-01T00:00:00Z",
        "status_counts": _STATUS_COUNTS,
        "latest_by_pipeline": [_LATEST],
    },
    "SourceProgress": {"name": "partner", **_PROGRESS},
    "StatusCounts": _STATUS_COUNTS,
    "Sync": _SCOPE,
    "SyncInput": {"client_id": _CLIENT_ID},
    "UnreadPipeline": _UNREAD_PIPELINE,
}
"""By the schema's name in the document."""

# What a change shows of a field that its own example leaves out.
_WHOLES: dict[str, dict[str, Any]] = {
    "AlertRulePatch": _RULE,
    "ClientPatch": _CLIENT,
    "PipelinePatch": _PIPELINE,
    "SyncInput": {"client_id": _CLIENT_ID, "pipeline_id": _PIPELINE_ID, "source": "partner"},
}


def add_examples(document: dict[str, Any]) -> None:
    """Add to each schema the example of the whole, and to each of its plain fields the value there."""
    for name, schema in document["components"]["schemas"].items():
        example = EXAMPLES.get(name)
        if example is None:
            continue
        schema["example"] = example
        for field, described in schema["properties"].items():
            whole = {**_WHOLES.get(name, {}), **example}
            if "$ref" not in described and described.get("type") != "array" and field in whole:
                described.setdefault("example", whole[field])
