"""Alert rules: when to tell whom. Sending is not done here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select

from chm_web.extensions import db
from chm_web.models import AlertRule, Channel, RuleType
from chm_web.services.audit import all_of, log_change
from chm_web.services.clients import get_client
from chm_web.services.conflicts import commit_explained
from chm_web.services.exceptions import FieldIssue, Invalid, NotFound
from chm_web.services.paging import Page, keyset_page
from chm_web.services.pipelines import get_pipeline
from chm_web.services.versions import apply_changes

_DESTINATIONS = {
    Channel.SLACK: (
        re.compile(r"[#@][^\s#@]+|https://hooks\.[^\s/?#@]+/\S+"),
        "For slack, name a #channel, a @user or an https URL of an incoming webhook.",
    ),
    Channel.EMAIL: (
        re.compile(r"[^\s@]+@[^\s@.]+(\.[^\s@.]+)+"),
        "For email, give an address such as ops@example.com.",
    ),
    Channel.WEBHOOK: (
        re.compile(r"https?://(\[[0-9a-f:.]+\]|[^\s/?#@:\[\]]+)(:\d+)?([/?#]\S*)?", re.IGNORECASE),
        "For webhook, give an http or https URL without a user name.",
    ),
}
"""What a channel can deliver to, and how to say it."""


def create_alert_rule(
    *,
    rule_type: RuleType,
    channel: Channel,
    destination: str,
    client_id: UUID | None = None,
    pipeline_id: UUID | None = None,
    threshold: int | None = None,
    window_minutes: int | None = None,
    is_enabled: bool = True,
    updated_by: str | None = None,
) -> AlertRule:
    """Create an alert rule of a client, or of one pipeline (then ``client_id`` only says whose it is).

    Raises:
        Invalid: a value breaks a rule of the data model, or names something that does not exist.
        Conflict: an enabled rule with this scope, type, channel and destination exists.
    """
    rule = AlertRule(
        client_id=client_id,
        pipeline_id=pipeline_id,
        rule_type=rule_type,
        threshold=threshold,
        window_minutes=window_minutes,
        channel=channel,
        destination=destination.strip(),
        is_enabled=is_enabled,
        updated_by=updated_by,
    )
    _check(rule)
    db.session.add(rule)
    commit_explained()
    log_change("create", rule, all_of(rule), updated_by)
    return rule


def get_alert_rule(*, rule_id: UUID) -> AlertRule:
    """Give one alert rule.

    Raises:
        NotFound: there is no such rule.
    """
    rule = db.session.get(AlertRule, rule_id)
    if rule is None:
        raise _no_such_rule(rule_id)
    return rule


def update_alert_rule(
    *, rule_id: UUID, changes: Mapping[str, Any], if_version: str | None = None, updated_by: str | None = None
) -> AlertRule:
    """Change the fields named in ``changes``; the rule as a whole must be valid afterwards.

    Raises:
        NotFound: there is no such rule.
        Stale: the rule is not at ``if_version`` any more.
        Invalid, Conflict: as for a new rule.
    """
    rule = get_alert_rule(rule_id=rule_id)
    changed = apply_changes(rule, changes, if_version=if_version, updated_by=updated_by)
    with db.session.no_autoflush:
        _check(rule)
    commit_explained()
    log_change("update", rule, changed, updated_by)
    return rule


def delete_alert_rule(*, rule_id: UUID, updated_by: str | None = None) -> None:
    """Delete an alert rule.

    Raises:
        NotFound: there is no such rule.
    """
    # One statement: of two who delete a rule at once, the second is told that there is none.
    rule = db.session.scalar(delete(AlertRule).where(AlertRule.id == rule_id).returning(AlertRule))
    if rule is None:
        db.session.commit()
        raise _no_such_rule(rule_id)
    deleted = all_of(rule, is_gone=True)
    db.session.commit()
    log_change("delete", rule, deleted, updated_by)


def list_alert_rules(
    *,
    client_id: UUID | None = None,
    pipeline_id: UUID | None = None,
    is_enabled: bool | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[AlertRule]:
    """List alert rules, the oldest first, a page at a time.

    Args:
        client_id: only rules whose scope is this client; a pipeline's rule is none, whoever's pipeline it is.
        pipeline_id: only rules of this pipeline.
        is_enabled: only enabled (True) or disabled (False) ones.
        limit: rules a page.
        cursor: the ``next_cursor`` of the page before.

    Raises:
        Invalid: the cursor is not one of this list's.
    """
    query = select(AlertRule)
    if client_id is not None:
        query = query.where(AlertRule.client_id == client_id, AlertRule.pipeline_id.is_(None))
    if pipeline_id is not None:
        query = query.where(AlertRule.pipeline_id == pipeline_id)
    if is_enabled is not None:
        query = query.where(AlertRule.is_enabled == is_enabled)
    return keyset_page(query, keys=(AlertRule.id,), types=(UUID,), limit=limit, cursor=cursor, kind="alert_rules")


def value_issues(
    *, rule_type: RuleType, channel: Channel, destination: str, threshold: int | None, window_minutes: int | None
) -> list[FieldIssue]:
    """Give what is wrong with a rule whatever its scope; nothing when all is well."""
    issues = []
    if rule_type is RuleType.FAILURES_IN_WINDOW:
        for name, value in (("threshold", threshold), ("window_minutes", window_minutes)):
            if value is None:
                issues.append(FieldIssue(name, "Required for failures_in_window."))
    pattern, expected = _DESTINATIONS[channel]
    if not pattern.fullmatch(destination):
        issues.append(FieldIssue("destination", expected))
    return issues


def _no_such_rule(rule_id: UUID) -> NotFound:
    return NotFound(f"There is no alert rule {rule_id}.")


def _check(rule: AlertRule) -> None:
    """Say all that is wrong with a rule at once; the database holds the same rules."""
    issues: list[FieldIssue] = []
    if rule.client_id is None and rule.pipeline_id is None:
        issues.append(FieldIssue("client_id", "A rule needs a client or a pipeline."))
    issues += value_issues(
        rule_type=rule.rule_type,
        channel=rule.channel,
        destination=rule.destination,
        threshold=rule.threshold,
        window_minutes=rule.window_minutes,
    )
    issues += _scope_issues(rule)
    if issues:
        db.session.rollback()
        raise Invalid("The alert rule is not valid.", tuple(issues))


def _scope_issues(rule: AlertRule) -> list[FieldIssue]:
    issues = []
    if rule.client_id is not None:
        try:
            get_client(client_id=rule.client_id)
        except NotFound as err:
            issues.append(FieldIssue("client_id", err.message))
    if rule.pipeline_id is not None:
        try:
            pipeline = get_pipeline(pipeline_id=rule.pipeline_id)
        except NotFound as err:
            issues.append(FieldIssue("pipeline_id", err.message))
        else:
            if rule.client_id not in (None, pipeline.client_id):
                issues.append(FieldIssue("pipeline_id", "This pipeline belongs to another client."))
    return issues
