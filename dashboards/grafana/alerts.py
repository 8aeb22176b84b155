"""Sample alert rules of Grafana's own, beside CHM's: what fails, what is late, and silence."""

from __future__ import annotations

from typing import Any

from dashboards.grafana.sql import SOURCE, SOURCE_UID, SqlQuery, sql_of

FOLDER = "CHM"


def alert_rules() -> dict[str, Any]:
    """Give the rules as a file that Grafana reads when it starts."""
    failing, late = (
        _counted("health_tally", "pipelines", where=f"health = '{health}'") for health in ("failing", "late")
    )
    silent = _counted("ingestion_now", "runs_1h")
    some, none = {"type": "gt", "params": [0]}, {"type": "lt", "params": [1]}
    rules = [
        _rule("failing", "Pipelines fail", failing, fires=some, summary="{{ $values.B.Value }} pipelines fail."),
        _rule("late", "Pipelines are late", late, fires=some, summary="{{ $values.B.Value }} pipelines are late."),
        _rule("silence", "Nothing comes in", silent, fires=none, summary="No run came in for an hour."),
    ]
    return {
        "apiVersion": 1,
        "groups": [{"orgId": 1, "name": "CHM", "folder": FOLDER, "interval": "1m", "rules": rules}],
    }


def _counted(query: str, column: str, *, where: str | None = None) -> str:
    # Alerts take series alone: a number needs a time.
    return sql_of(query, take=f'CAST($__timeTo() AS timestamptz) AS "time", {column} AS "value"', where=where)


def _rule(name: str, title: str, sql: str, *, fires: dict[str, Any], summary: str) -> dict[str, Any]:
    expression = {"type": "__expr__", "uid": "__expr__"}
    reduced = {"refId": "B", "type": "reduce", "expression": "A", "reducer": "last", "datasource": expression}
    judged = {
        "refId": "C",
        "type": "threshold",
        "expression": "B",
        "conditions": [{"evaluator": fires}],
        "datasource": expression,
    }
    asked = {**SqlQuery(sql, time_series=True).to_json(), "datasource": SOURCE.to_json()}
    return {
        "uid": f"chm-{name}",
        "title": title,
        "condition": "C",
        "data": [
            _step("A", SOURCE_UID, asked, seconds=3600),
            _step("B", "__expr__", reduced),
            _step("C", "__expr__", judged),
        ],
        "for": "5m",
        # No answer is an answer: the data source is what should be looked at.
        "noDataState": "NoData",
        "execErrState": "Error",
        "annotations": {"summary": summary},
        "labels": {"source": "chm"},
        "isPaused": False,
    }


def _step(ref: str, source: str, model: dict[str, Any], *, seconds: int = 0) -> dict[str, Any]:
    return {
        "refId": ref,
        "datasourceUid": source,
        "relativeTimeRange": {"from": seconds, "to": 0},
        "model": model,
    }
