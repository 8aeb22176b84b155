"""What Schemathesis must be told of the API beyond its document. It is loaded in Schemathesis's own process.

A document tells rules across fields in words alone, so valid data keeps to them only with help. What is meant to be
invalid is sent as it was generated.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

import requests
import schemathesis
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.openapi.checks import AllowHeaderMismatch, UseAfterFree

_DESTINATIONS = {"slack": "#data-alerts", "email": "ops@example.com", "webhook": "https://hooks.example.com/chm"}
_FIRST_YEAR, _LAST_YEAR = 1970, 2199


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    """Make valid data keep to the rules that the document tells in words."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if case.query:
        _mend_query(case.query, until_now=case.path.endswith("/runs/summary"))
    if case.headers and "If-Match" in case.headers:
        # Any version but this would have to be read first.
        case.headers["If-Match"] = "*"
    if isinstance(case.body, dict):
        if case.path.startswith("/alert_rules"):
            _mend_rule(case.body, is_change=case.method.upper() == "PATCH")
        for run in _runs(case.path, case.body):
            _mend_run(run)
    if case.path.startswith("/lineage"):
        events: list[Any] = case.body if isinstance(case.body, list) else [case.body]
        for event in events:
            _mend_event(event)


@schemathesis.hook
def filter_failure(
    context: schemathesis.HookContext, failure: Failure, case: schemathesis.Case[Any], response: schemathesis.Response
) -> bool:
    """Drop what is said to be a failure and is meant to be as it is."""
    if isinstance(failure, UseAfterFree):
        # Disabling is what DELETE does to a client or a pipeline; what belongs to it stays readable.
        return not failure.free.removeprefix("DELETE ").startswith(("/clients/", "/pipelines/"))
    if isinstance(failure, AllowHeaderMismatch):
        # PUT is documented at {external_run_id}, and a run may be called `latest`.
        return not (case.path.endswith("/runs/latest") and failure.undocumented_methods == ["PUT"])
    if isinstance(failure, AcceptedNegativeData) and case.path in ("/runs/batch", "/lineage/batch", "/lineage"):
        # A bad one never costs its batch: it must be told among those that are rejected. Nor is more looked at of an
        # event than whether it is of a run, where it is not.
        told = response.json()
        return not told["rejected"] and not told.get("ignored")
    return True


def _runs(path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs that a valid body tells of."""
    if path == "/runs/batch":
        runs: list[dict[str, Any]] = body["runs"]
        return runs
    return [body] if path.startswith("/pipelines/") and "/runs" in path else []


def _mend_query(query: dict[str, Any], *, until_now: bool) -> None:
    # Only the API itself can make a cursor.
    query.pop("cursor", None)
    since, until = _in_range(query.get("since")), _in_range(query.get("until"))
    for name, moment in (("since", since), ("until", until)):
        if moment is not None:
            query[name] = moment.isoformat()
    end = until or (datetime.now(UTC) if until_now else None)
    if since is not None and end is not None and since >= end:
        del query["since"]


def _mend_run(run: dict[str, Any]) -> None:
    started, finished = _in_range(run.get("started_at")), _in_range(run.get("finished_at"))
    if run.get("status") == "running" or (started is not None and finished is not None and finished < started):
        finished = None
    for name, moment in (("started_at", started), ("finished_at", finished)):
        if name in run:
            run[name] = None if moment is None else moment.isoformat()


def _mend_event(event: dict[str, Any]) -> None:
    moment = _in_range(event.get("eventTime"))
    if moment is not None:
        event["eventTime"] = moment.isoformat()
    if not isinstance(event.get("job"), dict):
        event["job"] = {"name": "orders_daily"}


def _mend_rule(rule: dict[str, Any], *, is_change: bool) -> None:
    """Make of it a rule of things that exist, complete, with a destination that the channel can deliver to."""
    rule.setdefault("channel", "slack")
    rule["destination"] = _DESTINATIONS[rule["channel"]]
    rule.setdefault("rule_type", "failures_in_window")
    rule["threshold"] = rule.get("threshold") or 3
    rule["window_minutes"] = rule.get("window_minutes") or 60
    if is_change and "pipeline_id" not in rule:
        # The rule may be one of a pipeline, whose client it would no longer be.
        rule.pop("client_id", None)
        return
    pipeline = _a_pipeline()
    if rule.get("pipeline_id") is not None:
        rule["pipeline_id"] = pipeline["id"]
    rule["client_id"] = pipeline["client_id"]


def _in_range(value: Any) -> datetime | None:
    """The time, in the years that the API takes; None where there is none."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        # A leap second, or the edge of the calendar: times of RFC 3339 that Python has no value for.
        return datetime(2026, 11, 1, tzinfo=UTC)
    return moment.replace(day=1, year=min(max(moment.year, _FIRST_YEAR), _LAST_YEAR))


def _a_pipeline() -> dict[str, Any]:
    if not _known:
        headers = {"Authorization": value} if (value := os.environ.get("CHM_TEST_AUTHORIZATION")) else {}
        answer = requests.get(f"{os.environ['CHM_TEST_API']}/pipelines?limit=1", headers=headers, timeout=10)
        _known.update(answer.json()["items"][0])
    return _known


_known: dict[str, Any] = {}
