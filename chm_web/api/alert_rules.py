"""``/alert_rules``."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from marshmallow import fields

from chm_web.access.guard import actor
from chm_web.access.permissions import Permission
from chm_web.api.base import (
    ETAG,
    LOCATION,
    ApiBlueprint,
    ErrorSchema,
    IfMatch,
    NoQuery,
    PageQuery,
    choice,
    created,
    page_schema,
    patch_schema,
    tagged,
)
from chm_web.models import AlertRule
from chm_web.schemas.alert_rules import AlertRuleSchema
from chm_web.schemas.base import told
from chm_web.services import alert_rules
from chm_web.services.paging import Page

blueprint = ApiBlueprint("api_alert_rules", __name__, description="When to tell whom about failures.")


class AlertRuleQuery(PageQuery):
    """The parameters of the list of alert rules."""

    client_id = fields.UUID(
        load_default=None,
        metadata=told("Only rules that watch this client as a whole, not those of its pipelines."),
    )
    pipeline_id = fields.UUID(load_default=None, metadata=told("Only rules of this pipeline."))
    is_enabled = choice("Only enabled (true) or only disabled ones (false).")


@blueprint.route("/alert_rules", methods=["GET"], allow=Permission.READ)
@blueprint.arguments(AlertRuleQuery, location="query")
@blueprint.response(200, page_schema(AlertRuleSchema), description="A page of alert rules.")
def list_alert_rules(query: dict[str, Any]) -> Page[AlertRule]:
    """List alert rules, the oldest first.

    A rule that names a pipeline is a rule of that pipeline, even if it names the client too.
    """
    return alert_rules.list_alert_rules(**query)


@blueprint.route("/alert_rules", methods=["POST"], allow=Permission.OPERATE)
@blueprint.arguments(AlertRuleSchema)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(201, AlertRuleSchema, headers=ETAG | LOCATION, description="The new rule.")
@blueprint.alt_response(409, schema=ErrorSchema, description="There is such an enabled rule already.")
def create_alert_rule(body: dict[str, Any], query: dict[str, Any]) -> tuple[AlertRule, dict[str, str]]:
    """Create an alert rule of a client or of one pipeline.

    `failures_in_window` needs `threshold` and `window_minutes`. What `destination` may be depends on the channel.
    There can be one enabled rule for the same scope, type, channel and destination.
    """
    rule = alert_rules.create_alert_rule(**body, updated_by=actor().name)
    return created(rule, "api_alert_rules.get_alert_rule", alert_rule_id=rule.id)


@blueprint.route("/alert_rules/<uuid:alert_rule_id>", methods=["GET"], allow=Permission.READ)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(200, AlertRuleSchema, headers=ETAG, description="The rule.")
@blueprint.alt_response(304, description="The version that If-None-Match names is still the latest.")
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such rule.")
def get_alert_rule(query: dict[str, Any], alert_rule_id: UUID) -> tuple[AlertRule, dict[str, str]]:
    """Give one alert rule.

    With `If-None-Match` the answer is 304 as long as nothing has changed.
    """
    return tagged(alert_rules.get_alert_rule(rule_id=alert_rule_id))


@blueprint.route("/alert_rules/<uuid:alert_rule_id>", methods=["PATCH"], allow=Permission.OPERATE)
@blueprint.arguments(patch_schema(AlertRuleSchema))
@blueprint.arguments(NoQuery, location="query")
@blueprint.arguments(IfMatch, location="headers")
@blueprint.response(200, AlertRuleSchema, headers=ETAG, description="The rule.")
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such rule.")
@blueprint.alt_response(409, schema=ErrorSchema, description="There is such an enabled rule already.")
@blueprint.alt_response(412, schema=ErrorSchema, description="The rule is not at the version of If-Match any more.")
def update_alert_rule(
    body: dict[str, Any], query: dict[str, Any], seen: dict[str, Any], alert_rule_id: UUID
) -> tuple[AlertRule, dict[str, str]]:
    """Change an alert rule.

    The fields that are sent are changed, and no others; the rule as a whole must stay valid. With `If-Match` the
    change is made only if nobody has changed the rule since it was read.
    """
    return tagged(alert_rules.update_alert_rule(rule_id=alert_rule_id, changes=body, updated_by=actor().name, **seen))


@blueprint.route("/alert_rules/<uuid:alert_rule_id>", methods=["DELETE"], allow=Permission.OPERATE)
@blueprint.arguments(NoQuery, location="query")
@blueprint.response(204, description="The rule is gone.")
@blueprint.alt_response(404, schema=ErrorSchema, description="There is no such rule.")
def delete_alert_rule(query: dict[str, Any], alert_rule_id: UUID) -> None:
    """Delete an alert rule.

    It is gone for good; a PATCH of `is_enabled` silences one for a while.
    """
    alert_rules.delete_alert_rule(rule_id=alert_rule_id, updated_by=actor().name)
