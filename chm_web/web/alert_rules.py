"""Alert rules: who is told of what, and the forms that make and change them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flask import Response, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as BaseResponse

from chm_web.access.guard import actor
from chm_web.access.permissions import Permission
from chm_web.models import AlertRule, Channel, RuleType
from chm_web.schemas.alert_rules import AlertRuleSchema
from chm_web.services import alert_rules, naming
from chm_web.services.alert_rule_lists import ListedRule, list_rules_by_scope
from chm_web.services.exceptions import NotFound
from chm_web.services.pipelines import get_pipeline
from chm_web.services.redaction import redact_address
from chm_web.services.rule_preview import RulePreview, preview_rule
from chm_web.services.versions import version_of
from chm_web.web import asked, forms
from chm_web.web.blueprints import PageBlueprint
from chm_web.web.changing import is_confirmed
from chm_web.web.exports import csv_response
from chm_web.web.formats import words
from chm_web.web.options import Options, client_options, options_of

blueprint = PageBlueprint("alert_rules", __name__, url_prefix="/alert-rules")
blueprint.add_app_template_filter(redact_address)

ROWS = 50
ROWS_A_READ = 500
LOOK = "look"
"""The button that shows what a form stands for without saving it, for browsers without JavaScript."""

_CHANNELS: Options = [(channel, words(channel)) for channel in Channel]
_TELLS = {
    RuleType.ON_FAILURE: "When a pipeline starts failing",
    RuleType.FAILURES_IN_WINDOW: "When a pipeline fails several times within a while",
}
_FILTERS = ("client_id", "enabled", "channel", "type", "q", "cursor")
_CSV_HEAD = (
    *("client", "pipeline", "type", "threshold", "window_minutes", "channel", "destination", "enabled"),
    *("covers", "overridden", "updated_by", "updated_at", "id"),
)


@blueprint.get("", allow=Permission.READ)
def index() -> str:
    """List alert rules by client and pipeline, with what each covers. For everyone who is signed in."""
    wanted = _wanted()
    page = list_rules_by_scope(**wanted, limit=ROWS, cursor=request.args.get("cursor"))
    return render_template(
        "alert_rules/index.html",
        now=datetime.now(UTC),
        rules=page.items,
        next_cursor=page.next_cursor,
        wanted=wanted,
        clients=client_options(),
        channels=_CHANNELS,
        rule_types=[(rule_type, words(rule_type)) for rule_type in RuleType],
    )


@blueprint.get("/export.csv", allow=Permission.READ)
def export() -> Response:
    """Give all rules under the list's filters as a file. For everyone who is signed in."""
    return csv_response("alert-rules", _CSV_HEAD, map(_csv_row, _every_rule(_wanted())))


@blueprint.get("/new", allow=Permission.OPERATE)
def new() -> str:
    """Show the form of a new rule, for a scope or as a copy of another rule. For operators and admins."""
    copied = asked.uuid("clone")
    if copied is not None:
        return _form(_values_of(alert_rules.get_alert_rule(rule_id=copied)))
    client_id, pipeline_id = asked.uuid("client_id"), asked.uuid("pipeline_id")
    if pipeline_id is not None:
        client_id = get_pipeline(pipeline_id=pipeline_id).client_id
    start = {"client_id": client_id, "pipeline_id": pipeline_id, "channel": Channel.SLACK, "is_enabled": True}
    return _form({**start, "rule_type": RuleType.ON_FAILURE})


@blueprint.post("/new", allow=Permission.OPERATE)
def create() -> ResponseReturnValue:
    """Create a rule. For operators and admins."""
    if LOOK in request.form:
        return _form(forms.shown(request.form))
    values, issues = _read()
    if not issues:
        issues = forms.attempt(lambda: alert_rules.create_alert_rule(**values, updated_by=actor().name))
    if issues:
        return _form(forms.shown(request.form), issues), 422
    return _done("The alert rule is created.", values["client_id"])


@blueprint.get("/<uuid:rule_id>/edit", allow=Permission.OPERATE)
def edit(rule_id: UUID) -> str:
    """Show a rule's form. For operators and admins."""
    rule = alert_rules.get_alert_rule(rule_id=rule_id)
    return _form(_values_of(rule), rule=rule)


@blueprint.post("/<uuid:rule_id>/edit", allow=Permission.OPERATE)
def update(rule_id: UUID) -> ResponseReturnValue:
    """Change a rule. For operators and admins."""
    rule = alert_rules.get_alert_rule(rule_id=rule_id)
    if LOOK in request.form:
        return _form(forms.shown(request.form), rule=rule)
    values, issues = _read()
    if not issues:
        version, by = request.form.get("version"), actor().name
        issues = forms.attempt(
            lambda: alert_rules.update_alert_rule(rule_id=rule_id, changes=values, if_version=version, updated_by=by)
        )
    if issues:
        rule = alert_rules.get_alert_rule(rule_id=rule_id)
        return _form(forms.shown(request.form), issues, rule, _theirs(issues, values, rule)), 422
    return _done("The alert rule is saved.", values["client_id"])


@blueprint.post("/<uuid:rule_id>/enable", allow=Permission.OPERATE)
def enable(rule_id: UUID) -> ResponseReturnValue:
    """Enable a rule. For operators and admins."""
    return _switch(rule_id, is_enabled=True)


@blueprint.post("/<uuid:rule_id>/disable", allow=Permission.OPERATE)
def disable(rule_id: UUID) -> ResponseReturnValue:
    """Disable a rule, which stays in the list. For operators and admins."""
    return _switch(rule_id, is_enabled=False)


@blueprint.post("/<uuid:rule_id>/delete", allow=Permission.OPERATE)
def delete(rule_id: UUID) -> BaseResponse | str:
    """Delete a rule for good, once it is confirmed. For operators and admins."""
    client_id = asked.uuid("client_id")
    if not is_confirmed():
        return render_template(
            "alert_rules/delete.html", rule=alert_rules.get_alert_rule(rule_id=rule_id), client_id=client_id
        )
    alert_rules.delete_alert_rule(rule_id=rule_id, updated_by=actor().name)
    return _done("The alert rule is deleted.", client_id)


@blueprint.get("/scope", allow=Permission.OPERATE)
def scope() -> Response:
    """Show the choice of a client's pipelines alone, for a form whose client was changed. For operators and admins.

    ``pipeline_id`` is the one that is chosen, where it is one of them.
    """
    page = render_template(
        "alert_rules/_pipeline.html",
        values={"pipeline_id": asked.uuid("pipeline_id")},
        issues={},
        pipelines=_pipelines(asked.uuid("client_id")),
    )
    response = make_response(page)
    # What the form stands for is looked at again once it holds the new choice, and no sooner.
    response.headers["HX-Trigger-After-Swap"] = "chm:scoped"
    return response


@blueprint.get("/preview", allow=Permission.OPERATE)
def preview() -> str:
    """Show what a rule would do alone, beside the form that is being filled in. For operators and admins."""
    return render_template("alert_rules/_preview.html", **_preview(request.args, asked.uuid("rule_id")))


def _wanted() -> dict[str, Any]:
    enabled = request.args.get("enabled") and asked.choice("enabled", ("yes", "no"))
    return {
        "client_id": asked.uuid("client_id"),
        "is_enabled": enabled == "yes" if enabled else None,
        "channel": asked.one_of("channel", Channel),
        "rule_type": asked.one_of("type", RuleType),
        "q": asked.text("q"),
    }


def _every_rule(wanted: dict[str, Any]) -> Iterator[ListedRule]:
    cursor = None
    while True:
        page = list_rules_by_scope(**wanted, limit=ROWS_A_READ, cursor=cursor)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


def _csv_row(listed: ListedRule) -> tuple[Any, ...]:
    rule = listed.rule
    return (
        *(listed.client_name, listed.pipeline_name, rule.rule_type, rule.threshold, rule.window_minutes),
        *(rule.channel, redact_address(rule.destination), rule.is_enabled),
        *(listed.coverage.covered, listed.coverage.overridden, rule.updated_by, rule.updated_at, rule.id),
    )


def _read() -> tuple[dict[str, Any], forms.Issues]:
    """Read the form's fields; those of a window are out of sight for a rule that has none."""
    sent = MultiDict(request.form)
    if sent.get("rule_type") == RuleType.ON_FAILURE:
        sent["threshold"] = sent["window_minutes"] = ""
    values, issues = forms.read(AlertRuleSchema(), sent)
    if not (sent.get("client_id") or sent.get("pipeline_id")):
        # The service would say so too, but only once every field can be read.
        issues = {"client_id": "Choose a client.", **issues}
    return values, issues


def _values_of(rule: AlertRule) -> dict[str, Any]:
    names = ("pipeline_id", "rule_type", "threshold", "window_minutes", "channel", "destination", "is_enabled")
    client_id = rule.client_id
    if client_id is None and rule.pipeline_id is not None:
        client_id = get_pipeline(pipeline_id=rule.pipeline_id).client_id
    return {"client_id": client_id, **{name: getattr(rule, name) for name in names}}


def _theirs(issues: forms.Issues, values: dict[str, Any], rule: AlertRule) -> dict[str, forms.Theirs]:
    """Give what somebody else has made of a rule meanwhile, its client and pipeline by name.

    A pipeline can be chosen among its client's alone: where the client differs, the two are told of and taken together.
    """
    now = _values_of(rule)
    client_names = naming.name_clients(client_ids={now["client_id"]} - {None})
    pipeline_names = naming.name_pipelines(pipeline_ids={now["pipeline_id"]} - {None})
    theirs = forms.differences(issues, values, now, {**client_names, **pipeline_names, **_TELLS})
    pipeline = theirs.pop("pipeline_id", None)
    covered = pipeline_names.get(now["pipeline_id"], "all pipelines of the client")
    if "client_id" in theirs:
        client = theirs["client_id"]
        theirs["client_id"] = replace(client, words=f"{client.words}: {covered}")
    elif pipeline:
        theirs["pipeline_id"] = replace(pipeline, words=covered)
    return theirs


def _form(
    values: dict[str, Any],
    issues: forms.Issues | None = None,
    rule: AlertRule | None = None,
    theirs: dict[str, forms.Theirs] | None = None,
) -> str:
    """Show the form with ``values``, of a rule that is there or of a new one."""
    issues = issues or {}
    return render_template(
        "alert_rules/form.html",
        values=values,
        issues=issues,
        theirs=theirs or {},
        rule=rule,
        version=forms.version_to_show(request.form.get("version"), version_of(rule), issues) if rule else None,
        clients=client_options(),
        pipelines=_pipelines(_as_uuid(values.get("client_id"))),
        channels=_CHANNELS,
        tells=list(_TELLS.items()),
        look=LOOK,
        **_preview(values, rule.id if rule else None),
    )


def _pipelines(client_id: UUID | None) -> Options:
    return options_of(naming.list_pipeline_names(client_id=client_id)) if client_id else []


def _preview(values: Any, rule_id: UUID | None) -> dict[str, Any]:
    """Say what a half-filled form would do: as much of it as can be told."""
    now = datetime.now(UTC)
    rule_type = values.get("rule_type")
    found: RulePreview | None = None
    with contextlib.suppress(NotFound):  # no client is chosen yet
        found = preview_rule(
            rule_type=RuleType(rule_type) if rule_type in list(RuleType) else RuleType.ON_FAILURE,
            now=now,
            client_id=_as_uuid(values.get("client_id")),
            pipeline_id=_as_uuid(values.get("pipeline_id")),
            threshold=_as_count(values.get("threshold")),
            window_minutes=_as_count(values.get("window_minutes")),
            rule_id=rule_id,
        )
    return {"preview": found, "now": now}


def _as_uuid(value: Any) -> UUID | None:
    try:
        return UUID(str(value)) if value else None
    except ValueError:
        return None


def _as_count(value: Any) -> int | None:
    """Give a number as the rule would take it; None for what it would refuse."""
    values, issues = forms.read(AlertRuleSchema(only=("threshold",)), MultiDict({"threshold": str(value or "")}))
    return None if issues else values["threshold"]


def _switch(rule_id: UUID, *, is_enabled: bool) -> ResponseReturnValue:
    changes = {"is_enabled": is_enabled}
    issues = forms.attempt(
        lambda: alert_rules.update_alert_rule(rule_id=rule_id, changes=changes, updated_by=actor().name)
    )
    if issues:
        rule = alert_rules.get_alert_rule(rule_id=rule_id)
        return _form({**_values_of(rule), **changes}, issues, rule), 422
    return redirect(_back(f"The alert rule is {'enabled' if is_enabled else 'disabled'}."), code=303)


def _done(message: str, client_id: UUID | None) -> BaseResponse:
    flash(message)
    return redirect(url_for("alert_rules.index", client_id=client_id), code=303)


def _back(message: str) -> str:
    """Give the address of the list as it was when the button in it was pressed."""
    flash(message)
    kept: dict[str, Any] = {name: request.args[name] for name in _FILTERS if name in request.args}
    return url_for("alert_rules.index", **kept)
