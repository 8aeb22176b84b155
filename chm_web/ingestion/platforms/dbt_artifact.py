"""dbt Core's ``run_results.json``: what one invocation of dbt has done, as a run.

Its name is the invocation's id and never the file's time: after an error of parsing the file of the invocation before
still stands, and says again what is known already. Schema v4 to v6 of https://schemas.getdbt.com/dbt/run-results/.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from chm_web.ingestion.mapper import (
    Unmappable,
    clamp_finish,
    parse_number,
    parse_text,
    parse_time,
    sum_counts,
)
from chm_web.models import RunStatus
from chm_web.services.run_records import RunRecord
from chm_web.services.run_values import MAX_TIME, MIN_TIME

# What a node's status makes of the invocation; a word that dbt may yet invent does not make it fail.
NODE_STATUS_MAP: Mapping[str, RunStatus] = {
    "error": RunStatus.FAILED,
    "fail": RunStatus.FAILED,
    "runtime error": RunStatus.FAILED,
    "partial success": RunStatus.FAILED,
    "success": RunStatus.SUCCESS,
    "pass": RunStatus.SUCCESS,
    "warn": RunStatus.SUCCESS,
    "no-op": RunStatus.SUCCESS,
    "skipped": RunStatus.SKIPPED,
}

MAX_FAILED_NODES = 20
_SCHEMA = "/dbt/run-results/"


def map_run_results(pipeline_id: UUID, raw: Any) -> RunRecord:
    """Map a whole ``run_results.json`` to the run that it tells of.

    It has failed when any node has; it was skipped when all nodes were; the error text is the failed nodes' messages.

    Raises:
        Unmappable: this is no such file, or cannot be understood.
    """
    metadata, results = _check(raw)
    generated, started = _time(metadata.get("generated_at")), _time(metadata.get("invocation_started_at"))
    if started is None and generated is not None:
        started = _before(generated, raw.get("elapsed_time"))
    finished, skew = clamp_finish(started, generated)
    statuses = [_status_of(node) for node in results]
    failed = [node for node, status in zip(results, statuses, strict=True) if status is RunStatus.FAILED]
    return RunRecord(
        pipeline_id=pipeline_id,
        external_run_id=_invocation_id(metadata),
        status=_overall(statuses),
        started_at=started,
        finished_at=finished,
        rows_processed=_rows(results),
        error_message=_error_text(failed),
        status_reason=skew,
        payload=_payload(raw, metadata, results, failed),
        source_updated_at=generated,
    )


def _check(raw: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    metadata = raw.get("metadata") if isinstance(raw, dict) else None
    results = raw.get("results") if isinstance(raw, dict) else None
    if not isinstance(metadata, dict) or not isinstance(results, list):
        raise Unmappable("run_results", "is not dbt's run_results.json: it has no metadata and results")
    schema = metadata.get("dbt_schema_version")
    if isinstance(schema, str) and _SCHEMA not in schema:
        raise Unmappable("metadata.dbt_schema_version", f"{schema[:100]!r} is another of dbt's files")
    if not all(isinstance(node, dict) for node in results):
        raise Unmappable("results", "every node must be an object")
    return metadata, results


def _invocation_id(metadata: Mapping[str, Any]) -> str:
    value = metadata.get("invocation_id")
    if not isinstance(value, str) or not value:
        raise Unmappable("metadata.invocation_id", "is missing" if not value else "must be text")
    return value


def _time(value: Any) -> datetime | None:
    """Give a time that dbt has written; None for what is none, or cannot be a run's."""
    try:
        moment = parse_time(value, "time") if isinstance(value, str) else None
    except Unmappable:
        return None
    return moment if moment is not None and MIN_TIME <= moment < MAX_TIME else None


def _before(moment: datetime, seconds: Any) -> datetime | None:
    """Give the moment so many seconds before; None for a number that cannot be one."""
    try:
        elapsed = parse_number(seconds, "elapsed_time")
        return None if elapsed is None or elapsed < 0 else moment - timedelta(seconds=elapsed)
    except (Unmappable, OverflowError):
        return None


def _status_of(node: Mapping[str, Any]) -> RunStatus:
    word = node.get("status")
    key = word.strip().lower() if isinstance(word, str) else ""
    return NODE_STATUS_MAP.get(key, RunStatus.SUCCESS)


def _overall(statuses: list[RunStatus]) -> RunStatus:
    if RunStatus.FAILED in statuses:
        return RunStatus.FAILED
    return RunStatus.SKIPPED if statuses and set(statuses) == {RunStatus.SKIPPED} else RunStatus.SUCCESS


def _rows(results: list[dict[str, Any]]) -> int | None:
    """Add up what the adapters say of the rows they have written; not all of them do."""
    responses = (node.get("adapter_response") for node in results)
    return sum_counts(response.get("rows_affected") for response in responses if isinstance(response, dict))


def _error_text(failed: list[dict[str, Any]]) -> str | None:
    if not failed:
        return None
    texts = [
        f"{node.get('unique_id', 'a node')}: {parse_text(node.get('message')) or node.get('status')}"
        for node in failed[:MAX_FAILED_NODES]
    ]
    more = len(failed) - len(texts)
    shown = "\n\n".join(texts)
    return f"{shown}\n\n... and {more} more" if more > 0 else shown


def _payload(
    raw: Mapping[str, Any], metadata: Mapping[str, Any], results: list[dict[str, Any]], failed: list[dict[str, Any]]
) -> dict[str, Any]:
    arguments = raw.get("args")
    return {
        "dbt_version": metadata.get("dbt_version"),
        "command": arguments.get("which") if isinstance(arguments, dict) else None,
        "nodes": dict(Counter(str(node.get("status")) for node in results)),
        "failed_nodes": [node.get("unique_id") for node in failed[:MAX_FAILED_NODES]],
        "elapsed_seconds": raw.get("elapsed_time"),
    }
