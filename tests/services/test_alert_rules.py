"""Alert rules. What is refused is tested through the API."""

from __future__ import annotations

from uuid import uuid4

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session, scoped_session

from chm_web.models import AlertRule, Channel, RuleType
from chm_web.services.alert_rules import (
    create_alert_rule,
    delete_alert_rule,
    update_alert_rule,
)
from chm_web.services.exceptions import Conflict, Invalid, NotFound, Stale
from chm_web.services.versions import version_of
from tests.factories import make_alert_rule, make_client


def test_create_is_committed_and_strips_the_destination(session: scoped_session[Session]) -> None:
    client = make_client()
    create_alert_rule(
        client_id=client.id, rule_type=RuleType.ON_FAILURE, channel=Channel.EMAIL, destination=" a@example.com "
    )
    session.rollback()

    assert session.scalars(sa.select(AlertRule)).one().destination == "a@example.com"


def test_refused_change_leaves_nothing_in_the_session(session: scoped_session[Session]) -> None:
    rule = make_alert_rule(client_id=make_client().id)

    with pytest.raises(Invalid):
        update_alert_rule(rule_id=rule.id, changes={"client_id": None})
    session.commit()

    assert session.scalars(sa.select(AlertRule.client_id)).one() is not None


def test_session_works_on_after_a_conflict(app: Flask) -> None:
    client = make_client()
    make_alert_rule(client_id=client.id)
    twin = make_alert_rule(client_id=client.id, is_enabled=False)
    with pytest.raises(Conflict):
        update_alert_rule(rule_id=twin.id, changes={"is_enabled": True})

    assert update_alert_rule(rule_id=twin.id, changes={"destination": "#b"}).is_enabled is False


def test_change_of_another_version_is_stale(app: Flask) -> None:
    rule = make_alert_rule(client_id=make_client().id)

    with pytest.raises(Stale):
        update_alert_rule(rule_id=rule.id, changes={"is_enabled": False}, if_version="another")

    changed = update_alert_rule(rule_id=rule.id, changes={"is_enabled": False}, if_version=version_of(rule))
    assert changed.is_enabled is False


def test_rule_that_somebody_deletes_meanwhile_is_not_found(session: scoped_session[Session]) -> None:
    rule = make_alert_rule(client_id=make_client().id)
    assert rule.destination == "#data-alerts"
    # Behind the session's back, which still knows the rule.
    session.execute(sa.text("DELETE FROM alert_rules"))

    with pytest.raises(NotFound):
        update_alert_rule(rule_id=rule.id, changes={"is_enabled": False})


def test_delete_of_an_unknown_rule_is_not_found(app: Flask) -> None:
    with pytest.raises(NotFound):
        delete_alert_rule(rule_id=uuid4())
