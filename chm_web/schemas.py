"""What comes in and goes out, as marshmallow schemas: one validator for the REST API and the HTML forms."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from flask import current_app
from marshmallow import ValidationError, fields, validate, validates_schema

from chm_web.access.guard import may
from chm_web.access.permissions import Permission
from chm_web.config import Config
from chm_web.json_answers import Schema
from chm_web.models import (
    EXTERNAL_ID_MAX_LENGTH,
    Channel,
    Environment,
    PipelineType,
    Platform,
    RuleType,
    RunStatus,
)
from chm_web.services.destinations import address_issue
from chm_web.services.health import Health
from chm_web.services.redaction import redact_address
from chm_web.services.run_values import MAX_BIGINT, MAX_TIME, MIN_TIME, UNSTORABLE

NAME_MAX_LENGTH = 200
TEXT_MAX_LENGTH = 10_000
# Of a destination, which is indexed: a row of the index holds 2.7 kB, and a character may take four bytes.
DESTINATION_MAX_LENGTH = 500
MAX_BATCH = 1000
_URL = re.compile("https?://", re.IGNORECASE)
MAX_INTEGER = 2**31 - 1


class Text(fields.String):
    """Text that PostgreSQL can store; with ``strip``, without the space around it."""

    def __init__(self, *, strip: bool = False, metadata: dict[str, Any] | None = None, **kwargs: Any) -> None:
        # As far as a pattern can tell it: half a surrogate pair is no character that one could name. Python also takes
        # the separators of ASCII and of Latin-1 for space, which \s does not mean everywhere.
        pattern = r"^[^\u0000]*[^\s\u0000\u001c-\u001f\u0085][^\u0000]*$" if strip else r"^[^\u0000]*$"
        super().__init__(metadata={"pattern": pattern, **(metadata or {})}, **kwargs)
        self._strip = strip

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, *args, **kwargs)
        if UNSTORABLE.search(text):
            raise ValidationError("Must not hold NUL or half of a surrogate pair.")
        if not self._strip:
            return text
        # The document can tell the length of what is sent alone; that of what is kept is looked at afterwards.
        self._validate(text)
        return text.strip()


class UtcTime(fields.AwareDateTime):
    """A time: RFC 3339 with ``Z`` going out; coming in, one without a zone is UTC."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(format="iso", default_timezone=UTC, **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> datetime:
        moment: datetime = super()._deserialize(value, *args, **kwargs)
        if not MIN_TIME <= moment < MAX_TIME:
            raise ValidationError("Must be a time between 1970 and 2199.")
        return moment

    def _serialize(self, value: datetime | None, *args: Any, **kwargs: Any) -> Any:
        return None if value is None else value.astimezone(UTC)


class Flag(fields.Boolean):
    """True or false as JSON has them: no word and no number stands for either."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Number(fields.Float):
    """A number as JSON has them: no text stands for one."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> float:
        if not isinstance(value, int | float):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, *args, **kwargs)


def _name(**kwargs: Any) -> Text:
    return Text(strip=True, validate=validate.Length(1, NAME_MAX_LENGTH), **kwargs)


def _external_id(**kwargs: Any) -> Text:
    return Text(validate=validate.Length(1, EXTERNAL_ID_MAX_LENGTH), **kwargs)


def told(description: str, **more: Any) -> dict[str, Any]:
    """Give what the API's document says of a field or parameter."""
    return {"description": description, **more}


class Timestamps(Schema):
    """When a row was made and last changed, and by whom."""

    created_at = UtcTime(dump_only=True, metadata=told("When it was created."))
    updated_at = UtcTime(dump_only=True, metadata=told("When it was last changed."))
    updated_by = fields.String(
        dump_only=True,
        allow_none=True,
        metadata=told("Who changed it last: a person or a token; null for the platforms' feeds."),
    )


class ClientSchema(Timestamps):
    """A client whose pipelines the team runs."""

    id = fields.UUID(dump_only=True, metadata=told("Its id."))
    name = _name(required=True, metadata=told("Unique, ignoring case. Space around it is cut off."))
    is_active = Flag(load_default=True, metadata=told("False once it is disabled; its history stays readable."))


class PipelineSchema(Timestamps):
    """A pipeline of a client."""

    id = fields.UUID(dump_only=True, metadata=told("Its id."))
    client_id = fields.UUID(dump_only=True, metadata=told("The client whose pipeline it is."))
    name = _name(required=True, metadata=told("Unique within the client, ignoring case. Space around it is cut off."))
    platform = fields.Enum(Platform, by_value=True, required=True, metadata=told("Where it runs."))
    external_id = _external_id(
        load_default=None,
        allow_none=True,
        metadata=told(
            "Its id on the platform, unique within client and platform. Without one its runs cannot be asked for."
        ),
    )
    pipeline_type = fields.Enum(PipelineType, by_value=True, required=True, metadata=told("What it does."))
    description = Text(
        load_default=None,
        allow_none=True,
        validate=validate.Length(max=TEXT_MAX_LENGTH),
        metadata=told("Free text for those who look after it."),
    )
    environment = fields.Enum(
        Environment, by_value=True, load_default=Environment.PROD, metadata=told("Where it is deployed.")
    )
    is_active = Flag(
        load_default=True,
        metadata=told("False once it is disabled: out of the active views and of ingestion, never out of history."),
    )
    expected_every_minutes = fields.Integer(
        strict=True,
        load_default=None,
        allow_none=True,
        validate=validate.Range(1, MAX_INTEGER),
        metadata=told(
            "How often a success is expected. After 1.25 times as long without one the pipeline is late.",
            format="int32",
        ),
    )


_HEALTH = "As defined in the description of this API; judged when it was asked for."


class ListedPipelineSchema(PipelineSchema):
    """A pipeline as lists show it: with its health and its latest run, which change without the pipeline changing."""

    health = fields.Enum(Health, by_value=True, dump_only=True, metadata=told(_HEALTH))
    latest_status = fields.Enum(
        RunStatus,
        by_value=True,
        dump_only=True,
        allow_none=True,
        metadata=told("The state of its latest run, finished or not; null without a run."),
    )
    latest_run_at = UtcTime(
        dump_only=True, allow_none=True, metadata=told("The event time of its latest run; null without a run.")
    )

    def get_attribute(self, obj: Any, attr: str, default: Any) -> Any:
        """Read what a list adds from the item, and all else from its pipeline."""
        return super().get_attribute(obj if hasattr(obj, attr) else obj.pipeline, attr, default)


class PipelineHealthSchema(Schema):
    """The health of one pipeline at one moment, with its circumstances."""

    pipeline_id = fields.UUID(metadata=told("The pipeline."))
    health = fields.Enum(Health, by_value=True, metadata=told(_HEALTH))
    since = UtcTime(
        allow_none=True,
        metadata=told("Since when it has been failing (the first failure in a row) or late; null when it is neither."),
    )
    failures_in_row = fields.Integer(metadata=told("Failed runs since the last success; 0 unless it is failing."))
    last_error = fields.String(
        allow_none=True, metadata=told("What the last failure said; null unless the pipeline is failing.")
    )
    last_failed_run_id = fields.UUID(
        allow_none=True, metadata=told("The run that failed last; null unless the pipeline is failing.")
    )
    last_success_at = UtcTime(allow_none=True, metadata=told("The event time of its last success; null without one."))
    last_finished_at = UtcTime(
        allow_none=True, metadata=told("The event time of the last run that succeeded or failed; null without one.")
    )
    late_at = UtcTime(
        allow_none=True,
        metadata=told("When it becomes, or became, late; null when no interval is expected of it."),
    )
    running_since = UtcTime(
        allow_none=True, metadata=told("When the run began that is under way; null when nothing runs.")
    )
    latest_status = fields.Enum(
        RunStatus,
        by_value=True,
        allow_none=True,
        metadata=told("The state of its latest run, finished or not; null without a run."),
    )


class RunSchema(Timestamps):
    """One run of a pipeline."""

    id = fields.UUID(dump_only=True, metadata=told("Its id."))
    pipeline_id = fields.UUID(dump_only=True, metadata=told("The pipeline that ran."))
    external_run_id = _external_id(
        load_default=None,
        metadata=told("The platform's id of the run, unique within the pipeline; made when it is left out."),
    )
    status = fields.Enum(RunStatus, by_value=True, required=True, metadata=told("The state of the run."))
    started_at = UtcTime(
        load_default=None, allow_none=True, metadata=told("When it began, between 1970 and 2199; null: not known.")
    )
    finished_at = UtcTime(
        load_default=None,
        allow_none=True,
        metadata=told(
            "When it ended, between 1970 and 2199; null: not known. Not before started_at, and not with `running`."
        ),
    )
    duration_seconds = Number(
        load_default=None,
        allow_none=True,
        validate=validate.Range(min=0),
        metadata=told("How long it took. Derived from the two times where both are known.", format="double"),
    )
    rows_processed = fields.Integer(
        strict=True,
        load_default=None,
        allow_none=True,
        validate=validate.Range(0, MAX_BIGINT),
        metadata=told("How many rows it handled; null: not known.", format="int64"),
    )
    error_message = Text(load_default=None, allow_none=True, metadata=told("What went wrong, in the source's words."))
    status_reason = Text(
        load_default=None,
        allow_none=True,
        metadata=told("Why it is in this state, such as the source's own word for it."),
    )
    payload = fields.Dict(
        load_default=None,
        allow_none=True,
        metadata=told("What else the source says of it, as a JSON object. Stored without secrets, and only so much."),
    )
    ingested_at = UtcTime(dump_only=True, metadata=told("The last write that changed the run."))

    @validates_schema
    def check_times(self, data: dict[str, Any], **_: Any) -> None:
        """A running run has not finished, and no run finishes before it starts."""
        started, finished = data.get("started_at"), data.get("finished_at")
        if finished is not None and data["status"] is RunStatus.RUNNING:
            raise ValidationError("A running run has no finished_at.", "finished_at")
        if started is not None and finished is not None and finished < started:
            raise ValidationError("Must not be before started_at.", "finished_at")


class RunReportSchema(RunSchema):
    """What is reported of a run that the address names."""

    class Meta:
        """All of a run but its name."""

        exclude = ("external_run_id",)


class BatchRunSchema(RunSchema):
    """One run of a batch, of any pipeline."""

    pipeline_id = fields.UUID(required=True, metadata=told("The pipeline that ran."))
    external_run_id = _external_id(
        required=True, metadata=told("The platform's id of the run, unique within the pipeline.")
    )


class _Unchecked(fields.Nested):
    """Described as what it nests, but taken as it comes: each one is checked by itself later."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return value


class RunBatchSchema(Schema):
    """Runs of any pipelines. A bad one is rejected by itself and never costs the others."""

    runs = fields.List(
        _Unchecked(BatchRunSchema),
        required=True,
        validate=validate.Length(max=MAX_BATCH),
        metadata=told(f"Up to {MAX_BATCH:,} runs. One may stand in it several times."),
    )


class RunRejectionSchema(Schema):
    """Why one run of a batch was not taken."""

    index = fields.Integer(metadata=told("Its place in the batch, from 0."))
    external_run_id = fields.String(
        allow_none=True, metadata=told("The id that was given, cut to 200 characters; null when there was none.")
    )
    field = fields.String(metadata=told("The field that is wrong; `body` for the item as a whole."))
    issue = fields.String(metadata=told("What is wrong with it."))


class RecordResultSchema(Schema):
    """What became of a batch."""

    created = fields.Integer(metadata=told("Runs that are new."))
    updated = fields.Integer(metadata=told("Runs that were known and have changed."))
    unchanged = fields.Integer(metadata=told("Runs of which everything was known already; nothing was written."))
    rejected = fields.List(
        fields.Nested(RunRejectionSchema), metadata=told("What was not taken and why, in the order of the batch.")
    )


class LatestOfPipelineSchema(Schema):
    """The latest run of a pipeline, in short."""

    pipeline_id = fields.UUID(metadata=told("The pipeline."))
    pipeline_name = fields.String(metadata=told("Its name."))
    platform = fields.Enum(Platform, by_value=True, metadata=told("Where it runs."))
    latest_status = fields.Enum(
        RunStatus, by_value=True, allow_none=True, metadata=told("The state of its latest run; null without a run.")
    )
    latest_run_at = UtcTime(allow_none=True, metadata=told("The event time of that run; null without a run."))


class StatusCountsSchema(Schema):
    """How many runs are in each state, all five named."""

    running = fields.Integer(metadata=told("Runs under way."))
    skipped = fields.Integer(metadata=told("Runs that were left out."))
    canceled = fields.Integer(metadata=told("Runs that were stopped."))
    success = fields.Integer(metadata=told("Runs that succeeded."))
    failed = fields.Integer(metadata=told("Runs that failed."))


class RunSummarySchema(Schema):
    """A client's runs in a window of event time, and the latest run of each of its pipelines."""

    client_id = fields.UUID(metadata=told("The client."))
    since = UtcTime(metadata=told("The start of the window, inclusive."))
    until = UtcTime(metadata=told("Its end, exclusive."))
    status_counts = fields.Nested(StatusCountsSchema, metadata=told("The runs of the window by their state."))
    latest_by_pipeline = fields.List(
        fields.Nested(LatestOfPipelineSchema),
        metadata=told("The latest run of each pipeline, whenever it was, by the pipelines' names."),
    )


def _window_number(description: str) -> fields.Integer:
    return fields.Integer(
        strict=True,
        load_default=None,
        allow_none=True,
        validate=validate.Range(1, MAX_INTEGER),
        metadata=told(f"{description} Required for failures_in_window.", format="int32"),
    )


class Destination(Text):
    """Who is told. Whoever has a webhook's address may post there, so it is not told to all who may look."""

    def _serialize(self, value: str | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return value if value is None or may(Permission.OPERATE) else redact_address(value)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        config: Config = current_app.config["CHM"]
        if _URL.match(text) and (issue := address_issue(text, policy=config.outgoing)):
            raise ValidationError(issue)
        return text


class AlertRuleSchema(Timestamps):
    """When to tell whom. The scope is the pipeline when there is one, else the client."""

    id = fields.UUID(dump_only=True, metadata=told("Its id."))
    client_id = fields.UUID(
        load_default=None,
        allow_none=True,
        metadata=told("The client watched; beside a pipeline it only says whose that is. A rule needs one of the two."),
    )
    pipeline_id = fields.UUID(load_default=None, allow_none=True, metadata=told("The pipeline watched."))
    rule_type = fields.Enum(
        RuleType,
        by_value=True,
        required=True,
        metadata=told(
            "What makes it fire. on_failure: a pipeline turns from not failing to failing; failures_in_window: so many "
            "of its runs have failed within so many minutes."
        ),
    )
    threshold = _window_number("How many failures.")
    window_minutes = _window_number("Within how many minutes.")
    channel = fields.Enum(Channel, by_value=True, required=True, metadata=told("How it is told."))
    destination = Destination(
        strip=True,
        required=True,
        validate=validate.Length(1, DESTINATION_MAX_LENGTH),
        metadata=told(
            "Who is told, as the channel asks. slack: `#channel`, `@user` or an incoming webhook's URL; "
            "email: an address; webhook: an http or https URL without a user name. A URL must lead to a public "
            "address, not into CHM's own network. Of a URL, those who may not change rules are told the host alone."
        ),
    )
    is_enabled = Flag(load_default=True, metadata=told("A disabled rule tells nobody anything."))
