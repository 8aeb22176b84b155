"""OpenLineage events (spec 2-0-2), as their producers push them: each is of a pipeline's run, or is ignored.

Pure: what arrives as JSON becomes values. Unknown fields and facets are no errors, since the spec evolves; a facet that
is not what it should be is passed over, for the run that it stands with counts more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from chm_web.ingestion.mapper import Unmappable, clamp_finish, parse_text, parse_time, sum_counts
from chm_web.models import Platform, RunStatus
from chm_web.services.run_records import RunRecord
from chm_web.services.run_values import UNSTORABLE, BadValue, clean_external_id

# What an event's type says of its run. Every other type (OTHER, none, one of a later spec) says nothing of its state:
# such an event brings metadata alone.
EVENT_STATUS: Mapping[str, RunStatus] = {
    "START": RunStatus.RUNNING,
    "RUNNING": RunStatus.RUNNING,
    "COMPLETE": RunStatus.SUCCESS,
    "FAIL": RunStatus.FAILED,
    "ABORT": RunStatus.CANCELED,
}

# Jobs that are pipelines even where something else started them; all others are so only without a parent.
_PIPELINE_JOB_TYPES = frozenset({"DAG", "JOB"})
_PLATFORMS = {"AIRFLOW": Platform.AIRFLOW, "DBT": Platform.DBT}

_RUN_FACETS = ("nominalTime", "processing_engine", "parent", "airflowState", "dbt_run", "externalQuery")
_JOB_FACETS = ("jobType", "documentation", "sourceCodeLocation", "ownership")
_KEPT_OF_DATASET = ("namespace", "name", "rowCount", "size", "fileCount")
_MAX_DATASETS = 50
_MAX_TRACE_LENGTH = 8_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    """An event of a run of what may be a pipeline. ``type`` is in capitals, empty when there is none."""

    namespace: str
    job: str
    run_id: str
    type: str
    at: datetime
    run_facets: dict[str, Any]
    job_facets: dict[str, Any]
    raw: dict[str, Any]

    @property
    def status(self) -> RunStatus | None:
        """What the event says of the run's state; None for one that brings metadata alone."""
        return EVENT_STATUS.get(self.type)

    @property
    def external_ids(self) -> tuple[str, ...]:
        """The external ids under which the pipeline may be known, the better one first."""
        return (f"{self.namespace}/{self.job}", self.job) if self.namespace else (self.job,)

    @property
    def platform(self) -> Platform | None:
        """Where the run runs, as far as the event says."""
        if "airflowDagRun" in self.run_facets:
            return Platform.AIRFLOW
        return _PLATFORMS.get(_word(self.job_facets, "integration"))

    @property
    def job_type(self) -> str:
        """What kind of job it is, in capitals; empty when the event does not say."""
        return _word(self.job_facets, "jobType")


@dataclass(frozen=True, slots=True)
class TaskFailure:
    """A part of a run has failed: the better error text of that run, should it fail too."""

    parent_run_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """An event that is accepted and says nothing of a pipeline's run."""

    because: str


def read_event(raw: Any) -> RunEvent | TaskFailure | Ignored:
    """Tell what an event is about.

    Raises:
        Unmappable: it is no OpenLineage event.
    """
    if not isinstance(raw, dict):
        raise Unmappable("event", "must be an object")
    if raw.get("run") is None and (isinstance(raw.get("job"), dict) or isinstance(raw.get("dataset"), dict)):
        return Ignored("It is of a job or a dataset, not of a run.")
    run, job = _member(raw, "run"), _member(raw, "job")
    event = RunEvent(
        namespace=_optional_text(job.get("namespace"), "job.namespace"),
        job=_text(job.get("name"), "job.name", required=True),
        run_id=_run_id(run.get("runId"), "run.runId"),
        type=_optional_text(raw.get("eventType"), "eventType").upper(),
        at=_required_time(raw.get("eventTime")),
        run_facets=_object(run.get("facets")),
        job_facets=_object(job.get("facets")),
        raw=raw,
    )
    parent = _object(event.run_facets.get("parent"))
    if not parent or event.job_type in _PIPELINE_JOB_TYPES:
        return event
    if event.status is not RunStatus.FAILED:
        return Ignored("It is of a part of a run.")
    return _read_failure(event, parent)


def map_run(pipeline_id: UUID, event: RunEvent) -> RunRecord:
    """Map an event of a run of this pipeline.

    The platform's own id of the run is taken where there is one (Airflow's run id, dbt's invocation id), so that what
    is pushed and what is read of it elsewhere are one run: one that Airflow has cleared keeps that id and gets a new
    one of OpenLineage's.
    """
    status = event.status
    dag_run = _object(_object(event.run_facets.get("airflowDagRun")).get("dagRun"))
    attempt_at = _time(dag_run.get("start_date"))
    started = attempt_at or (event.at if event.type == "START" else None)
    finished = None
    if status is not None and status is not RunStatus.RUNNING:
        finished = _time(dag_run.get("end_date")) or event.at
    finished, skew = clamp_finish(started, finished)
    error = parse_text(_object(event.run_facets.get("errorMessage")).get("message"))
    # Of a failed run Airflow and dbt themselves say only that it failed; why, their tasks say.
    error, reason = (None, error) if event.platform is not None else (error, None)
    own_id = dag_run.get("run_id") or _object(event.run_facets.get("dbt_run")).get("invocation_id")
    return RunRecord(
        pipeline_id=pipeline_id,
        external_run_id=own_id if isinstance(own_id, str) and own_id else event.run_id,
        # Without a time of its own, "running" yields to every report of the run's state.
        status=status or RunStatus.RUNNING,
        started_at=started,
        finished_at=finished,
        rows_processed=_sum_rows(event.raw.get("outputs")),
        error_message=error,
        status_reason=reason or skew,
        payload=_payload(event, dag_run),
        # By Airflow's own clock: what it has cleared begins anew when the next attempt's events come.
        attempt_at=attempt_at if status is not None else None,
        source_updated_at=event.at if status is not None else None,
    )


def run_id_of(raw: Any) -> str | None:
    """The id by which to name an event that could not be mapped."""
    run = raw.get("run") if isinstance(raw, dict) else None
    value = run.get("runId") if isinstance(run, dict) else None
    return value[:200] if isinstance(value, str) else None


def _read_failure(event: RunEvent, parent: dict[str, Any]) -> TaskFailure | Ignored:
    try:
        parent_run_id = _run_id(_object(parent.get("run")).get("runId"), "parent")
    except Unmappable:
        return Ignored("It is of a part of a run, and does not say of which.")
    message = parse_text(_object(event.run_facets.get("errorMessage")).get("message"))
    parent_job = parse_text(_object(parent.get("job")).get("name")) or ""
    name = event.job.removeprefix(f"{parent_job}.")
    return TaskFailure(parent_run_id, f"{name}: {message}" if message else f"{name} failed")


def _payload(event: RunEvent, dag_run: dict[str, Any]) -> dict[str, Any]:
    """What helps to find the run again and to judge it; not the whole event, which may be huge."""
    facets = {name: event.run_facets.get(name) for name in _RUN_FACETS}
    facets |= {name: event.job_facets.get(name) for name in _JOB_FACETS}
    facets["airflowDagRun"] = dag_run
    trace = parse_text(_object(event.run_facets.get("errorMessage")).get("stackTrace"))
    members: dict[str, Any] = {
        "openlineage_run_id": event.run_id,
        "namespace": event.namespace,
        "job": event.job,
        "producer": parse_text(event.raw.get("producer")),
        "inputs": _datasets(event.raw.get("inputs")),
        "outputs": _datasets(event.raw.get("outputs")),
        "facets": {name: _plain(facet) for name, facet in facets.items() if _object(facet)},
        "stack_trace": trace[-_MAX_TRACE_LENGTH:] if trace else None,
    }
    return {name: value for name, value in members.items() if value}


def _plain(facet: Any) -> dict[str, Any]:
    """A facet without what every facet says of its own schema."""
    return {name: value for name, value in _object(facet).items() if not str(name).startswith("_")}


def _datasets(value: Any) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in {**each, **_statistics(each)}.items() if name in _KEPT_OF_DATASET}
        for each in map(_object, _list(value)[:_MAX_DATASETS])
    ]


def _statistics(output: dict[str, Any]) -> dict[str, Any]:
    return _object(_object(output.get("outputFacets")).get("outputStatistics"))


def _sum_rows(outputs: Any) -> int | None:
    """The rows of all outputs together; None when none of them says how many."""
    return sum_counts(_statistics(_object(output)).get("rowCount") for output in _list(outputs))


def _time(value: Any) -> datetime | None:
    try:
        return parse_time(value, "time")
    except Unmappable:
        return None


def _required_time(value: Any) -> datetime:
    if value is not None and not isinstance(value, str):
        raise Unmappable("eventTime", "must be text")
    moment = parse_time(value, "eventTime")
    if moment is None:
        raise Unmappable("eventTime", "is missing")
    return moment


def _run_id(value: Any, field: str) -> str:
    try:
        return clean_external_id(value, field)
    except BadValue as err:
        raise Unmappable(err.field, err.issue) from None


def _text(value: Any, field: str, *, required: bool = False) -> str:
    if not isinstance(value, str):
        raise Unmappable(field, "is missing" if value is None else "must be text")
    if required and not value:
        raise Unmappable(field, "is missing")
    return UNSTORABLE.sub("\ufffd", value)


def _optional_text(value: Any, field: str) -> str:
    return "" if value is None else _text(value, field)


def _member(raw: dict[str, Any], name: str) -> dict[str, Any]:
    value = raw.get(name)
    if not isinstance(value, dict):
        raise Unmappable(name, "is missing" if value is None else "must be an object")
    return value


def _word(job_facets: dict[str, Any], name: str) -> str:
    word = _object(job_facets.get("jobType")).get(name)
    return word.upper() if isinstance(word, str) else ""


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
